package oracle

import (
	"bufio"
	"bytes"
	"errors"
	"math"
	"net"
	"net/netip"
	"testing"

	pires "github.com/pires/go-proxyproto"

	"github.com/sluicenet/sluice/codec/proxyproto"
)

func init() { pires.MaxV2HeaderSize = math.MaxUint16 }

// What the codec and go-proxyproto do differently on purpose. The codec does what HAProxy does.
var stricter = []error{
	proxyproto.ErrLineEnd,  // go-proxyproto ignores a lone CR in an UNKNOWN line
	proxyproto.ErrChecksum, // which go-proxyproto does not look at
	proxyproto.ErrUniqueID, // nor at this
	proxyproto.ErrTLV,      // it reads TLVs when it is asked for them
}

// lenient reports whether the codec takes a header that go-proxyproto refuses: one whose family, or
// whose pair of family and transport, says that the addresses are to be ignored.
func lenient(src []byte) bool {
	if len(src) < 14 || src[0] != '\r' {
		return false
	}
	local, family, transport := src[12]&0xf == 0, src[13]>>4, src[13]&0xf
	return local || family == 0 || transport == 0
}

// FuzzProxyproto has go-proxyproto read what the codec reads.
func FuzzProxyproto(f *testing.F) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("[2001:db8::1]:1000")
	tlvs := proxyproto.AppendTLV(nil, proxyproto.TypeAuthority, []byte("example.com"))
	tlvs = proxyproto.AppendTLV(tlvs, proxyproto.TypeCRC32C, make([]byte, 4))
	for _, h := range []proxyproto.Header{
		{Version: 1, Command: proxyproto.Proxy, Family: proxyproto.Inet, Transport: proxyproto.Stream, Source: v4, Destination: v4},
		{Version: 1, Command: proxyproto.Proxy, Family: proxyproto.Inet6, Transport: proxyproto.Stream, Source: v6, Destination: v6},
		{Version: 1, Command: proxyproto.Proxy},
		{Version: 2, Command: proxyproto.Proxy, Family: proxyproto.Inet, Transport: proxyproto.Stream, Source: v4, Destination: v4, TLVs: tlvs},
		{Version: 2, Command: proxyproto.Proxy, Family: proxyproto.Inet6, Transport: proxyproto.Datagram, Source: v6, Destination: v6},
		{Version: 2, Command: proxyproto.Proxy, Family: proxyproto.Unix, Transport: proxyproto.Stream, SourcePath: []byte("/run/a")},
		{Version: 2, Command: proxyproto.Proxy, TLVs: tlvs},
		{Version: 2, TLVs: tlvs},
	} {
		src, err := proxyproto.Append(nil, &h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
		f.Add(append(src, "hello"...))
		f.Add(src[:len(src)-1])
	}
	for _, line := range []string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "PROXY TCP6 192.0.2.1 ::1 1 2\r\n", "PROXY UNKNOWN\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "PROXY UNKNOWN ::1 \x00\r\n", "PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
		"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		h, n, err := proxyproto.Decode(src)
		rest := bufio.NewReaderSize(bytes.NewReader(src), 1<<17)
		want, wantErr := pires.Read(rest)
		switch {
		case n == 0 && err == nil:
			if wantErr == nil {
				t.Fatalf("%q: the codec waits for more, go-proxyproto reads %+v", src, want)
			}
			return
		case err != nil && wantErr == nil:
			for _, is := range stricter {
				if errors.Is(err, is) {
					return
				}
			}
			t.Fatalf("%q: %v, go-proxyproto reads %+v", src, err, want)
		case err == nil && wantErr != nil:
			if !lenient(src) {
				t.Fatalf("%q: read as %+v, go-proxyproto says %v", src, h, wantErr)
			}
			return
		case err != nil:
			return
		}
		left, _ := rest.Peek(rest.Buffered())
		if !bytes.Equal(left, src[n:]) {
			t.Fatalf("%q: %d bytes, go-proxyproto leaves %q", src, n, left)
		}
		// go-proxyproto calls an UNKNOWN line LOCAL.
		if unknown := h.Version == 1 && h.Family == proxyproto.Unspec; want.Version != h.Version ||
			want.Command.IsLocal() != (h.Command == proxyproto.Local || unknown) {
			t.Fatalf("%q: %+v, go-proxyproto reads %+v", src, h, want)
		}
		if want.Command.IsLocal() {
			return
		}
		switch h.Family {
		case proxyproto.Inet, proxyproto.Inet6:
			if !equal(want.SourceAddr, h.Source) || !equal(want.DestinationAddr, h.Destination) {
				t.Fatalf("%q: %+v, go-proxyproto reads %v, %v", src, h, want.SourceAddr, want.DestinationAddr)
			}
		case proxyproto.Unix:
			// go-proxyproto ends a path at its first zero, so that abstract ones are empty.
			path, _, _ := bytes.Cut(h.SourcePath, []byte{0})
			if want.SourceAddr.String() != string(path) {
				t.Fatalf("%q: %+v, go-proxyproto reads %v", src, h, want.SourceAddr)
			}
		}
		list, err := want.TLVs()
		if err != nil {
			if h.Family == proxyproto.Unspec {
				return
			}
			t.Fatalf("%q: TLVs: %v", src, err)
		}
		i := 0
		for typ, value := range h.Values() {
			if typ == proxyproto.TypeNoop {
				value = nil // go-proxyproto leaves padding out
			}
			if i == len(list) || byte(list[i].Type) != byte(typ) || !bytes.Equal(list[i].Value, value) {
				t.Fatalf("%q: TLV %d is %v %q, go-proxyproto has %v", src, i, typ, value, list)
			}
			i++
		}
		if i != len(list) {
			t.Fatalf("%q: %d TLVs, go-proxyproto has %v", src, i, list)
		}
	})
}

func equal(a net.Addr, b netip.AddrPort) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.Equal(net.IP(b.Addr().AsSlice())) && a.Port == int(b.Port())
	case *net.UDPAddr:
		return a.IP.Equal(net.IP(b.Addr().AsSlice())) && a.Port == int(b.Port())
	}
	return false
}
