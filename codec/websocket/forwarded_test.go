package websocket

import (
	"net/netip"
	"strings"
	"testing"
)

// trusting is 10.0.0.0/8 and fd00::/8.
func trusting(a netip.Addr) bool {
	return netip.MustParsePrefix("10.0.0.0/8").Contains(a) || netip.MustParsePrefix("fd00::/8").Contains(a)
}

func client(t *testing.T, header ForwardedHeader, lines ...string) (string, error) {
	t.Helper()
	head := "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	req, n, err := ParseUpgrade([]byte(head), Limits{})
	if err != nil || n != len(head) {
		t.Fatalf("%q: %d, %v", head, n, err)
	}
	a, err := req.Client(header, trusting)
	if !a.IsValid() {
		return "", err
	}
	return a.String(), err
}

func TestClient(t *testing.T) {
	const xff, fwd = "X-Forwarded-For: ", "Forwarded: "
	for _, tt := range []struct {
		name  string
		lines []string
		want  string // "": whoever it came from
	}{
		{"nothing", nil, ""},
		{"one", []string{xff + "192.0.2.1"}, "192.0.2.1:0"},
		{"the last one that is not trusted", []string{xff + "198.51.100.9, 192.0.2.1, 10.0.0.2"}, "192.0.2.1:0"},
		{"a spoofed trusted one", []string{xff + "10.0.0.7,192.0.2.1"}, "192.0.2.1:0"},
		{"an untrusted hop hides those before it", []string{xff + "192.0.2.1, 10.0.0.3, 203.0.113.5, 10.0.0.2"}, "203.0.113.5:0"},
		{"all trusted: the first", []string{xff + "10.0.0.9, fd00::1, 10.0.0.2"}, "10.0.0.9:0"},
		{"lines in order", []string{xff + "198.51.100.9", "Cookie: x", xff + "192.0.2.1, 10.0.0.2"}, "192.0.2.1:0"},
		{"lines in order, the first too", []string{xff + "192.0.2.1", xff + "10.0.0.3", xff + "10.0.0.2"}, "192.0.2.1:0"},
		{"a port", []string{xff + "192.0.2.1:4711"}, "192.0.2.1:4711"},
		{"IPv6", []string{xff + "2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv6 in brackets", []string{xff + "[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"IPv6 with a port", []string{xff + "[2001:db8::1]:4711"}, "[2001:db8::1]:4711"},
		{"IPv4-mapped", []string{xff + "::ffff:192.0.2.1"}, "192.0.2.1:0"},
		{"IPv4-mapped and trusted", []string{xff + "192.0.2.1, ::ffff:10.0.0.2"}, "192.0.2.1:0"},
		{"unknown", []string{xff + "192.0.2.1, unknown"}, ""},
		{"unknown before a trusted one", []string{xff + "192.0.2.1, unknown, 10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"unknown before an untrusted one", []string{xff + "unknown, 192.0.2.1"}, "192.0.2.1:0"},
		{"rubbish", []string{xff + "192.0.2.1, localhost"}, ""},
		{"rubbish before", []string{xff + "<script>, \"x\",,, 192.0.2.1"}, "192.0.2.1:0"},
		{"an empty one at the end", []string{xff + "192.0.2.1, "}, ""},
		{"empty", []string{"X-Forwarded-For:"}, ""},
		{"a zone", []string{xff + "fe80::1%eth0"}, ""},
		{"a bad port", []string{xff + "192.0.2.1:65536"}, ""},
		{"no port behind a colon", []string{xff + "192.0.2.1:"}, ""},
		{"IPv4 in brackets", []string{xff + "[192.0.2.1]:5"}, ""},
		{"many hops", []string{xff + strings.Repeat("1.1.1.1,", 1000) + "192.0.2.1"}, "192.0.2.1:0"},

		{"Forwarded", []string{fwd + "for=192.0.2.1"}, "192.0.2.1:0"},
		{"Forwarded, RFC 7239 4", []string{fwd + `For="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:4711"},
		{"Forwarded, RFC 7239 4, pairs", []string{fwd + "for=192.0.2.60;proto=http;by=203.0.113.43"}, "192.0.2.60:0"},
		{"Forwarded, RFC 7239 4, hops", []string{fwd + "for=192.0.2.43, for=198.51.100.17"}, "198.51.100.17:0"},
		{"Forwarded, hidden", []string{fwd + "for=192.0.2.43, for=_hidden"}, ""},
		{"Forwarded, hidden and a port", []string{fwd + `for="_SEVKISEK:4711"`}, ""},
		{"Forwarded, unknown", []string{fwd + "for=unknown"}, ""},
		{"Forwarded, a hidden port", []string{fwd + `for="192.0.2.1:_x"`}, "192.0.2.1:0"},
		{"Forwarded, several lines", []string{fwd + "for=198.51.100.9", fwd + "for=192.0.2.1;proto=https", fwd + "for=10.0.0.2"}, "192.0.2.1:0"},
		{"Forwarded, no for", []string{fwd + "for=192.0.2.1, proto=https"}, ""},
		{"Forwarded, spaces", []string{fwd + "  proto=http ; for=192.0.2.1 ;  , for=10.0.0.2 "}, "192.0.2.1:0"},
		{"Forwarded, a comma in quotes", []string{fwd + `host="a,for=10.0.0.1";for=192.0.2.1`}, "192.0.2.1:0"},
		{"Forwarded, a quote in quotes", []string{fwd + `host="a\",for=10.0.0.1";for="192.0.2.\1"`}, "192.0.2.1:0"},
		{"Forwarded, a port unquoted", []string{fwd + "for=192.0.2.1:4711"}, "192.0.2.1:4711"},
		{"Forwarded, IPv6 unquoted", []string{fwd + "for=[2001:db8::1]"}, "[2001:db8::1]:0"},

		{"both: X-Forwarded-For", []string{fwd + "for=198.51.100.9", xff + "192.0.2.1"}, "192.0.2.1:0"},
		{"both, the other malformed", []string{fwd + `for="`, xff + "192.0.2.1"}, "192.0.2.1:0"},
	} {
		if got, err := client(t, AnyForwarded, tt.lines...); got != tt.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	both := []string{fwd + "for=198.51.100.9", xff + "192.0.2.1"}
	for header, want := range map[ForwardedHeader]string{ForwardedOnly: "198.51.100.9:0", XForwardedForOnly: "192.0.2.1:0"} {
		if got, err := client(t, header, both...); got != want || err != nil {
			t.Errorf("%v: %q, %v; want %q", header, got, err, want)
		}
	}
	if got, _ := client(t, XForwardedForOnly, fwd+"for=192.0.2.1"); got != "" {
		t.Errorf("Forwarded is read: %q", got)
	}
	if got, _ := client(t, ForwardedOnly, xff+"192.0.2.1"); got != "" {
		t.Errorf("X-Forwarded-For is read: %q", got)
	}
}

func TestForwardedMalformed(t *testing.T) {
	for _, value := range []string{
		`for="192.0.2.1`, `for="192.0.2.1\"`, `for=`, `for`, `=x`, `for=192.0.2.1;for=192.0.2.2`, `for="a"b`, `for="a" b`,
		`fo r=a`, `for=a"b`, `for=", for=192.0.2.1`, `for=evil, for=", for="[2001:db8::1]"`, `for="\`,
	} {
		if got, err := client(t, AnyForwarded, "Forwarded: "+value); err != error(ErrForwarded) || got != "" {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
}

// What a client puts before what a trusted proxy adds never becomes the client.
func FuzzClient(f *testing.F) {
	for _, s := range []string{"", "1.1.1.1", "10.0.0.1, unknown", `for="`, `for=1.1.1.1;host="`, `for="\`, "for=10.0.0.1,", ";", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		if strings.ContainsFunc(sent, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return
		}
		real := netip.MustParseAddrPort("192.0.2.1:0")
		req := Request{XForwardedFor: []byte(sent + ", 192.0.2.1, 10.0.0.2")}
		if got, err := req.Client(AnyForwarded, trusting); got != real || err != nil {
			t.Fatalf("%q: %v, %v", sent, got, err)
		}
		for _, added := range []string{"for=192.0.2.1", `for="192.0.2.1:0";proto=https`, `by="[fd00::1]";for=192.0.2.1`} {
			req = Request{Forwarded: []byte(sent + ", " + added + ", for=10.0.0.2")}
			if got, err := req.Client(AnyForwarded, trusting); err == nil && got != real {
				t.Fatalf("%q and %q: %v", sent, added, got)
			}
		}
	})
}
