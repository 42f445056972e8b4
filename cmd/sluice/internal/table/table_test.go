package table

import (
	"strings"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"plain, 张伟 é 🙂", "plain, 张伟 é 🙂"},
		{"a\nb\tc\x00", `a\nb\tc\x00`},
		{"\x1b[31mred", `\x1b[31mred`},
		{"\u202eright to left", `\u202eright to left`},
		{"\u009b1m", `\u009b1m`},
		{"\xff\xfe", `\xff\xfe`},
		{"\ufffd", "\ufffd"},
		{"", ""},
	} {
		if got := Text(tc.in); got != tc.want {
			t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536: "1.5KiB", 10 << 10: "10KiB", 1<<20 - 1: "1.0MiB",
		1 << 20: "1.0MiB", 1023 << 10: "1023KiB", 5 << 30: "5.0GiB", 1<<64 - 1: "16EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 42 * time.Microsecond: "42µs", 350 * time.Millisecond: "350ms", 999600 * time.Microsecond: "1.0s",
		4200 * time.Millisecond: "4.2s", 42 * time.Second: "42s", 59600 * time.Millisecond: "1m00s", 425 * time.Second: "7m05s",
		3*time.Hour + 7*time.Minute: "3h07m", 292 * time.Hour: "12d04h", -time.Second: "-1.0s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %s, want %s", d, got, want)
		}
	}
	if got := Seconds(.25); got != "250ms" {
		t.Errorf("Seconds(.25) = %s", got)
	}
}

func TestTable(t *testing.T) {
	var tab Table
	tab.Columns("NAME", ">SIZE", "NOTE")
	tab.Row("a", "1", "")
	tab.Row("张伟", "1000", "x")
	tab.Row("e\u0301vil\n", "22")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `NAME    SIZE  NOTE
a          1  -
张伟    1000  x
` + "e\u0301vil\\n    22  -\n"
	if b.String() != want {
		t.Errorf("the table is\n%swant\n%s", b.String(), want)
	}
}

func TestList(t *testing.T) {
	var l List
	l.Add("a", "1")
	l.Add("left out", "")
	l.Add("longer", "2\r")
	var b strings.Builder
	if err := l.Write(&b); err != nil || b.String() != "a       1\nlonger  2\\r\n" || l.Len() != 2 {
		t.Errorf("%v, %d lines:\n%s", err, l.Len(), b.String())
	}
}

func TestRateAndCut(t *testing.T) {
	for n, want := range map[float64]string{0: "0", .4: "0.4", 1: "1", 87.2: "87", 999: "999", 999.6: "1.0k", 12345: "12.3k", 123456: "123k", 4.5e6: "4.5M", 3e9: "3.0G", -1: "0"} {
		if got := Rate(n); got != want {
			t.Errorf("Rate(%v) = %s, want %s", n, got, want)
		}
	}
	for _, tc := range []struct {
		s       string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"张伟x", 4, "张伟"}, {"张伟x", 3, "张"}, {"", 0, ""}} {
		if got := Cut(tc.s, tc.columns); got != tc.want {
			t.Errorf("Cut(%q, %d) = %q", tc.s, tc.columns, got)
		}
	}
}
