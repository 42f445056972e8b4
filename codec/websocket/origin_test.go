package websocket

import "testing"

func TestOriginAllowed(t *testing.T) {
	list := []string{"good.example", "other.example:8080", "https://third.example", "127.0.0.1", "[::1]"}
	for _, v := range []struct {
		origin string
		want   bool
	}{
		{"http://good.example", true},
		{"https://good.example:8443", true},
		{"https://GOOD.Example", true},
		{"https://good.example.", true},
		{"https://www.good.example", true},
		{"https://a.b.good.example", true},
		{"https://other.example", true},
		{"https://other.example:1", true},
		{"https://x.third.example", true},
		{"http://127.0.0.1:3000", true},
		{"http://[::1]:3000", true},
		{"http://[::1]", true},
		{"app://good.example", true},

		{"https://good.example.evil.test", false},
		{"https://evilgood.example", false},
		{"https://good.example@evil.test", false},
		{"https://evil.test/good.example", false},
		{"https://evil.test/.good.example", false},
		{"https://evil.test?.good.example", false},
		{"https://evil.test#.good.example", false},
		{"https://evil.test\\.good.example", false},
		{"https://evil.test:80.good.example", false},
		{"https://good.example:80@evil.test", false},
		{"https://example", false},
		{"https://ood.example", false},
		{"https://", false},
		{"https://.", false},
		{"https://:80", false},
		{"good.example", false},
		{"null", false},
		{"", false},
		{"http://[::2]", false},
		{"http://[::1", false},
		{"http://[::1]x", false},
		{"http://[good.example]", false},
		{"http://x.[::1]", false},
	} {
		if got := OriginAllowed([]byte(v.origin), list); got != v.want {
			t.Errorf("%q: %v", v.origin, got)
		}
		if !OriginAllowed([]byte(v.origin), nil) {
			t.Errorf("%q refused without a list", v.origin)
		}
	}
	if OriginAllowed(nil, list) {
		t.Error("no origin, and a list")
	}
	if OriginAllowed([]byte("http://a"), []string{""}) {
		t.Error("an empty entry allows everything")
	}
}
