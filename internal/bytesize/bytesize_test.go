package bytesize

import "testing"

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		n, count int64
		unit     string
	}{
		{0, 0, ""}, {1, 1, ""}, {1023, 1023, ""}, {1 << 10, 1, "KiB"}, {1536, 1536, ""}, {1536 << 10, 1536, "KiB"},
		{1 << 20, 1, "MiB"}, {35 << 20, 35, "MiB"}, {1 << 30, 1, "GiB"}, {1<<30 + 1, 1<<30 + 1, ""}, {-1 << 10, -1 << 10, ""},
	} {
		if count, unit := Units(c.n); count != c.count || unit != c.unit {
			t.Errorf("Units(%d) is %d, %q, want %d, %q", c.n, count, unit, c.count, c.unit)
		}
	}
}
