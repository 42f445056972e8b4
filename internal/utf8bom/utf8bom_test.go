package utf8bom

import "testing"

func TestTrim(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"\ufeff", ""},
		{"\ufefftext", "text"},
		{"\ufeff\ufefftext", "\ufefftext"},
		{"text\ufeff", "text\ufeff"},
		{"\xef\xbb", "\xef\xbb"},
	} {
		if got := Trim(tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
		if got := Trim([]byte(tt.text)); string(got) != tt.want {
			t.Errorf("the bytes of %q: %q, want %q", tt.text, got, tt.want)
		}
	}
}
