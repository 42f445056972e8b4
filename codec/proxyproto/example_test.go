package proxyproto_test

import (
	"fmt"
	"net/netip"

	"github.com/sluicenet/sluice/codec/proxyproto"
)

// A proxy says whose connection it relays, and the server reads it.
func Example() {
	wire, err := proxyproto.Append(nil, &proxyproto.Header{
		Version:     2,
		Command:     proxyproto.Proxy,
		Family:      proxyproto.Inet,
		Transport:   proxyproto.Stream,
		Source:      netip.MustParseAddrPort("192.0.2.1:56324"),
		Destination: netip.MustParseAddrPort("198.51.100.1:7000"),
		TLVs:        proxyproto.AppendTLV(nil, proxyproto.TypeCRC32C, make([]byte, 4)),
	})
	if err != nil {
		panic(err)
	}
	wire = append(wire, "hello"...)

	length, _ := proxyproto.Length(wire[:16]) // its fixed part says how long it is
	h, n, err := proxyproto.Decode(wire)
	fmt.Println(length, n, err)
	fmt.Println(h.Names(), h.Source)
	fmt.Printf("%s\n", wire[n:])
	// Output:
	// 35 35 <nil>
	// true 192.0.2.1:56324
	// hello
}
