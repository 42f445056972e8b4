package proxyproto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

const (
	sig = `0d0a0d0a 000d0a51 5549540a`
	// noop is a TLV of 3 zeros.
	noop = `04 0003 000000`
)

// paths are those of a unix header: "/a" and the abstract "\0b".
var paths = `2f61` + strings.Repeat("00", 106) + `0062` + strings.Repeat("00", 106)

// The specimens; those "of haproxy" are what version 2.6 has sent.
var vectors = []struct {
	name string
	text string // version 1
	wire string // version 2, in hex
	want Header
	// lossy: encoding what was decoded gives other bytes.
	lossy bool
}{
	{name: "v1 of haproxy, IPv4", text: "PROXY TCP4 127.0.0.1 127.0.0.1 41646 28101\r\n",
		want: tcp(1, "127.0.0.1:41646", "127.0.0.1:28101")},
	{name: "v1 of haproxy, IPv6", text: "PROXY TCP6 ::1 ::1 45836 28101\r\n",
		want: tcp(1, "[::1]:45836", "[::1]:28101")},
	{name: "v1 of haproxy, unix", text: "PROXY UNKNOWN\r\n", want: Header{Version: 1, Command: Proxy}},
	{name: "v1, the longest IPv4", text: "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
		want: tcp(1, "255.255.255.255:65535", "255.255.255.255:65535")},
	{name: "v1, the longest IPv6",
		text: "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		want: tcp(1, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")},
	{name: "v1, the longest of all",
		text: "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		want: Header{Version: 1, Command: Proxy}, lossy: true},
	{name: "v1, unknown with anything", text: "PROXY UNKNOWN  \x00 what?\r\n", want: Header{Version: 1, Command: Proxy}, lossy: true},
	{name: "v1, port 0", text: "PROXY TCP4 192.0.2.1 192.0.2.2 0 1\r\n", want: tcp(1, "192.0.2.1:0", "192.0.2.2:1")},
	{name: "v1, IPv4-mapped", text: "PROXY TCP6 ::ffff:192.0.2.1 ::FFFF:c000:0202 1 2\r\n",
		want: tcp(1, "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"), lossy: true},

	{name: "v2 of haproxy, IPv4",
		//            PROXY, TCP over IPv4, 12 bytes: 127.0.0.1, 127.0.0.1, 56332, 28102
		wire: sig + `21 11 000c 7f000001 7f000001 dc0c 6dc6`,
		want: tcp(2, "127.0.0.1:56332", "127.0.0.1:28102")},
	{name: "v2 of haproxy, IPv6",
		wire: sig + `21 21 0024 00000000000000000000000000000001 00000000000000000000000000000001 ece2 6dc6`,
		want: tcp(2, "[::1]:60642", "[::1]:28102")},
	{name: "v2 of haproxy, with checksum and unique id",
		//                                                        CRC32C             unique id "7F000001:BC1E"
		wire: sig + `21 11 0023 7f000001 7f000001 bc1e 6dc7 03 0004 5bb70103 05 000d 37463030303030313a42433145`,
		want: with(tcp(2, "127.0.0.1:48158", "127.0.0.1:28103"), `03 0004 5bb70103 05 000d 37463030303030313a42433145`)},
	{name: "v2 of haproxy, a health check",
		//            LOCAL, nothing, 7 bytes
		wire: sig + `20 00 0007 03 0004 a9b87e8f`,
		want: with(Header{Version: 2, Command: Local}, `03 0004 a9b87e8f`)},
	{name: "v2 local", wire: sig + `20 00 0000`, want: Header{Version: 2}},
	{name: "v2 local with addresses", wire: sig + `20 11 000c 7f000001 7f000001 dc0c 6dc6`, want: Header{Version: 2}, lossy: true},
	{name: "v2 local, too short for its family", wire: sig + `20 11 0001 ff`, want: Header{Version: 2}, lossy: true},
	{name: "v2 local of no family there is", wire: sig + `20 ff 0001 ff`, want: Header{Version: 2}, lossy: true},
	{name: "v2 of no family", wire: sig + `21 00 0000`, want: Header{Version: 2, Command: Proxy}},
	{name: "v2 of no family, with addresses", wire: sig + `21 00 0005 ffffffffff`, want: Header{Version: 2, Command: Proxy}, lossy: true},
	{name: "v2 of no family, with a TLV", wire: sig + `21 00 0006` + noop, want: with(Header{Version: 2, Command: Proxy}, noop)},
	{name: "v2, IPv4 and no transport", wire: sig + `21 10 000c c0000201 c0000202 0001 0002`,
		want: over(tcp(2, "192.0.2.1:1", "192.0.2.2:2"), UnspecTransport)},
	{name: "v2, UDP over IPv4", wire: sig + `21 12 000c c0000201 c0000202 0001 0002`,
		want: over(tcp(2, "192.0.2.1:1", "192.0.2.2:2"), Datagram)},
	{name: "v2, UDP over IPv6", wire: sig + `21 22 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 0001 0002`,
		want: over(tcp(2, "[2001:db8::1]:1", "[2001:db8::2]:2"), Datagram)},
	{name: "v2, unix stream", wire: sig + `21 31 00d8` + paths,
		want: Header{Version: 2, Command: Proxy, Family: Unix, Transport: Stream, SourcePath: []byte("/a"), DestinationPath: []byte("\x00b")}},
	{name: "v2, unix datagram, and a TLV", wire: sig + `21 32 00de` + paths + noop,
		want: with(Header{Version: 2, Command: Proxy, Family: Unix, Transport: Datagram, SourcePath: []byte("/a"), DestinationPath: []byte("\x00b")}, noop)},
	{name: "v2, TLVs of all kinds",
		//                                                   ALPN "h2"   authority "a.b"   SSL, of 5 bytes  application's, empty
		wire: sig + `21 11 0022 c0000201 c0000202 0001 0002 01 0002 6832 02 0003 612e62 20 0005 0100000000 e0 0000`,
		want: with(tcp(2, "192.0.2.1:1", "192.0.2.2:2"), `01 0002 6832 02 0003 612e62 20 0005 0100000000 e0 0000`)},
}

func tcp(version uint8, source, destination string) Header {
	h := Header{Version: version, Command: Proxy, Family: Inet, Transport: Stream,
		Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
	if h.Source.Addr().Is6() {
		h.Family = Inet6
	}
	return h
}

func over(h Header, t Transport) Header {
	h.Transport = t
	return h
}

func with(h Header, tlvs string) Header {
	h.TLVs = unhex(tlvs)
	return h
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func raw(text, wire string) []byte {
	if text != "" {
		return []byte(text)
	}
	return unhex(wire)
}

// same compares with nil and empty slices alike.
func same(a, b Header) bool {
	for _, h := range []*Header{&a, &b} {
		for _, p := range []*[]byte{&h.TLVs, &h.SourcePath, &h.DestinationPath} {
			if len(*p) == 0 {
				*p = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

func TestDecode(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			src := raw(tt.text, tt.wire)
			h, n, err := Decode(append(src[:len(src):len(src)], "PROXY TCP4 and the first packet"...))
			if err != nil || n != len(src) {
				t.Fatalf("%d of %d bytes: %v", n, len(src), err)
			}
			if !same(h, tt.want) {
				t.Errorf("got  %+v\nwant %+v", h, tt.want)
			}
			for i := range src { // no prefix fails, and none asks for more than there will be
				if _, n, err := Decode(src[:i]); n != 0 || err != nil {
					t.Errorf("prefix of %d bytes: n=%d err=%v", i, n, err)
				}
				if n, err := Length(src[:i]); err != nil || n != 0 && n != len(src) {
					t.Errorf("prefix of %d bytes: Length says %d, %v", i, n, err)
				}
			}
		})
	}
}

func TestAppend(t *testing.T) {
	for _, tt := range vectors {
		if tt.lossy {
			continue
		}
		got, err := Append([]byte("before"), &tt.want)
		if want := append([]byte("before"), raw(tt.text, tt.wire)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\ngot  %x\nwant %x", tt.name, err, got, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	long := strings.Repeat("x", 107)
	inet := `c0000201 c0000202 0001 0002`
	for _, tt := range []struct {
		name, text, wire string
		want             error
		offset           int
	}{
		{"another protocol", "GET / HTTP/1.1\r\n", "", ErrNoHeader, 0},
		{"a GOSOC Connect", "\x10\x05", "", ErrNoHeader, 0},
		{"POST", "POST ", "", ErrNoHeader, 1},
		{"no space", "PROXYTCP4 ", "", ErrNoHeader, 5},
		{"lower case", "proxy TCP4", "", ErrNoHeader, 0},
		{"two spaces", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "", ErrProtocol, 6},
		{"no protocol", "PROXY \r\n", "", ErrProtocol, 6},
		{"another transport", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "", ErrProtocol, 6},
		{"no space behind unknown", "PROXY UNKNOWN0\r\n", "", ErrProtocol, 6},
		{"nothing behind", "PROXY TCP4\r\n", "", ErrAddress, 11},
		{"one address", "PROXY TCP4 192.0.2.1\r\n", "", ErrAddress, 21},
		{"no ports", "PROXY TCP4 192.0.2.1 192.0.2.2\r\n", "", ErrPort, 31},
		{"one port", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "", ErrPort, 33},
		{"an empty port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", "", ErrPort, 33},
		{"a space too many", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "", ErrFields, 35},
		{"a field too many", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "", ErrFields, 35},
		{"two spaces between", "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", "", ErrAddress, 21},
		{"a name", "PROXY TCP4 localhost 192.0.2.2 1 2\r\n", "", ErrAddress, 11},
		{"leading zeros", "PROXY TCP4 192.000.002.001 192.0.2.2 1 2\r\n", "", ErrAddress, 11},
		{"256", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "", ErrAddress, 11},
		{"IPv6 on TCP4", "PROXY TCP4 ::1 ::1 1 2\r\n", "", ErrAddress, 11},
		{"IPv4-mapped on TCP4", "PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n", "", ErrAddress, 11},
		{"IPv4 on TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "", ErrAddress, 11},
		{"families mixed", "PROXY TCP6 ::1 192.0.2.2 1 2\r\n", "", ErrAddress, 15},
		{"a zone", "PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n", "", ErrAddress, 11},
		{"brackets", "PROXY TCP6 [::1] [::1] 1 2\r\n", "", ErrAddress, 11},
		{"port 65536", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "", ErrPort, 31},
		{"negative port", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "", ErrPort, 31},
		{"port +1", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "", ErrPort, 31},
		{"port 01", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "", ErrPort, 31},
		{"LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "", ErrLineEnd, 34},
		{"CR alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX", "", ErrLineEnd, 34},
		{"LF in unknown", "PROXY UNKNOWN\n", "", ErrLineEnd, 13},
		{"108 bytes", "PROXY UNKNOWN " + long[:92] + "\r\n", "", ErrLineTooLong, 107},
		{"107 bytes without an end", "PROXY UNKNOWN " + long[:93], "", ErrLineTooLong, 107},
		{"CR as the 107th", "PROXY UNKNOWN " + long[:92] + "\r", "", ErrLineTooLong, 107},

		{"signature, one off", "", `0d0a0d0a 000d0a51 5549540b`, ErrNoHeader, 11},
		{"a blank line", "\r\n\r\nGET ", "", ErrNoHeader, 4},
		{"version 1, binary", "", sig + `11`, ErrVersion, 12},
		{"version 3", "", sig + `31`, ErrVersion, 12},
		{"command 2", "", sig + `22`, ErrCommand, 12},
		{"family 4", "", sig + `21 41`, ErrFamily, 13},
		{"transport 3", "", sig + `21 13`, ErrTransport, 13},
		{"IPv4 of 11 bytes", "", sig + `21 11 000b`, ErrTooShort, 14},
		{"IPv6 of 35 bytes", "", sig + `21 21 0023`, ErrTooShort, 14},
		{"unix of 215 bytes", "", sig + `21 31 00d7`, ErrTooShort, 14},
		{"a TLV's type alone", "", sig + `21 11 000d` + inet + `04`, ErrTLV, 28},
		{"a TLV's head cut", "", sig + `21 11 000e` + inet + `0400`, ErrTLV, 28},
		{"a TLV that runs over", "", sig + `21 11 0010` + inet + `04 0002 00`, ErrTLV, 28},
		{"the second TLV runs over", "", sig + `21 11 0016` + inet + noop + `04 ffff 00`, ErrTLV, 34},
		{"wrong checksum", "", sig + `21 11 0013` + inet + `03 0004 01020304`, ErrChecksum, 31},
		{"wrong checksum of a health check", "", sig + `20 00 0007 03 0004 a9b87e8e`, ErrChecksum, 19},
		{"checksum of 3 bytes", "", sig + `21 11 0012` + inet + `03 0003 010203`, ErrChecksum, 28},
		{"two checksums", "", sig + `20 00 000e 03 0004 00000000 03 0004 00000000`, ErrChecksum, 23},
		{"unique id of 129 bytes", "", sig + `20 00 0084 05 0081` + strings.Repeat("61", 129), ErrUniqueID, 16},
	} {
		src := raw(tt.text, tt.wire)
		h, n, err := Decode(src)
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Err != tt.want || pe.Offset != tt.offset || n != 0 || !same(h, Header{}) {
			t.Errorf("%s: %+v, %d bytes, %v; want byte %d: %v", tt.name, h, n, err, tt.offset, tt.want)
		}
	}
}

// A checksum is over every byte: any bit that changes makes it wrong, or the header another error.
func TestChecksumHoldsEveryBit(t *testing.T) {
	h := tcp(2, "192.0.2.1:1", "192.0.2.2:2")
	h.TLVs = AppendTLV(nil, TypeAuthority, []byte("example.com"))
	h.TLVs = AppendTLV(h.TLVs, TypeCRC32C, make([]byte, 4))
	h.TLVs = AppendTLV(h.TLVs, TypeNoop, nil)
	wire, err := Append(nil, &h)
	if err != nil {
		t.Fatal(err)
	}
	if _, n, err := Decode(wire); n != len(wire) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for bit := range 8 * len(wire) {
		bad := bytes.Clone(wire)
		bad[bit/8] ^= 1 << (bit % 8)
		switch _, n, err := Decode(bad); {
		case err != nil:
		case bit/8 == 14 || bit/8 == 15: // a longer header is waited for
			if n != 0 {
				t.Errorf("bit %d: %d bytes", bit, n)
			}
		case bit/8 == 13, bit/8 == 12: // LOCAL, or no family: what is there may not be TLVs
		case bit/8 == 42: // the checksum's type: it is a TLV of some other kind
		default:
			t.Errorf("bit %d: accepted", bit)
		}
	}
}

func TestValues(t *testing.T) {
	h := Header{TLVs: unhex(`02 0003 612e62 04 0000 e0 0001 07 04 0009 00`)} // the last one runs over
	var got []string
	for typ, value := range h.Values() {
		got = append(got, hex.EncodeToString(append([]byte{byte(typ)}, value...)))
	}
	if want := []string{"02612e62", "04", "e007"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range h.Values() {
		break
	}
}

func TestAppendRefuses(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:1")
	for _, tt := range []struct {
		name string
		h    Header
		want error
	}{
		{"version 0", Header{}, ErrNoSuchForm},
		{"LOCAL as a line", Header{Version: 1}, ErrNoSuchForm},
		{"TLVs in a line", Header{Version: 1, Command: Proxy, TLVs: []byte{4, 0, 0}}, ErrNoSuchForm},
		{"unix as a line", Header{Version: 1, Command: Proxy, Family: Unix, Transport: Stream}, ErrNoSuchForm},
		{"UDP as a line", Header{Version: 1, Command: Proxy, Family: Inet, Transport: Datagram, Source: v4, Destination: v4}, ErrNoSuchForm},
		{"no address in a line", Header{Version: 1, Command: Proxy, Family: Inet, Transport: Stream, Source: v4}, ErrNoAddress},
		{"no address", Header{Version: 2, Command: Proxy, Family: Inet, Transport: Stream, Source: v4}, ErrNoAddress},
		{"IPv6 as IPv4", Header{Version: 2, Command: Proxy, Family: Inet, Source: v4, Destination: v6}, ErrNoAddress},
		{"IPv4 as IPv6", Header{Version: 2, Command: Proxy, Family: Inet6, Source: v4, Destination: v6}, ErrNoAddress},
		{"family 4", Header{Version: 2, Family: 4}, ErrNoSuchForm},
		{"transport 3", Header{Version: 2, Transport: 3}, ErrNoSuchForm},
		{"command 2", Header{Version: 2, Command: 2}, ErrNoSuchForm},
		{"a long path", Header{Version: 2, Family: Unix, SourcePath: make([]byte, 109)}, ErrPathTooLong},
		{"too many TLVs", Header{Version: 2, TLVs: make([]byte, 1<<16)}, ErrTooLong},
	} {
		if b, err := Append(nil, &tt.h); err != tt.want || len(b) != 0 {
			t.Errorf("%s: %x, %v; want %v", tt.name, b, err, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range vectors {
		want := tt.want.Source.IsValid() && tt.want.Transport != UnspecTransport || tt.want.Family == Unix
		if got := tt.want.Names(); got != want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestBinaryAllocatesNothing(t *testing.T) {
	for _, tt := range vectors {
		if tt.text != "" {
			continue // netip reads addresses from strings
		}
		src := raw(tt.text, tt.wire)
		if n := testing.AllocsPerRun(100, func() {
			if _, n, err := Decode(src); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// FuzzDecode: what is decoded is what was encoded, and Length never changes its mind.
func FuzzDecode(f *testing.F) {
	for _, tt := range vectors {
		f.Add(raw(tt.text, tt.wire))
	}
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"))
	f.Add(unhex(sig + `21 11 0013 c0000201 c0000202 0001 0002 03 0004 01020304`))
	f.Fuzz(func(t *testing.T, src []byte) {
		h, n, err := Decode(src)
		length, lengthErr := Length(src)
		if err == nil && (lengthErr != nil || n != 0 && n != length || n == 0 && length != 0 && length <= len(src)) {
			t.Fatalf("Decode %d, %v; Length %d, %v", n, err, length, lengthErr)
		}
		if err != nil || n == 0 {
			if n != 0 || !same(h, Header{}) {
				t.Fatalf("%+v, %d, %v", h, n, err)
			}
			return
		}
		for i := range min(n, 256) {
			if early, err := Length(src[:i]); err != nil || early != 0 && early != n {
				t.Fatalf("%d bytes: %d, %v", i, early, err)
			}
		}
		wire, err := Append(nil, &h)
		if err != nil {
			t.Fatalf("%+v: %v", h, err)
		}
		again, _, err := Decode(wire)
		if h.Command == Local || h.Family == Unspec { // TLVs may be where addresses were
			again.TLVs, h.TLVs = nil, nil
			if err != nil {
				return
			}
		}
		if err != nil || !same(again, h) {
			t.Fatalf("%+v came back as %+v, %v", h, again, err)
		}
	})
}
