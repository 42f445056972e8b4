package gosoc_test

import (
	"fmt"
	"log"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/gzip"
)

// A client writes a Connect; the server learns the form from its first byte.
func Example() {
	wire, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{
		Version:   gosoc.Version,
		Gzip:      true,
		KeepAlive: 60,
		Payload:   gzip.Deflate(nil, []byte(`{"token":"abc"}`)),
	})
	if err != nil {
		log.Fatal(err)
	}

	form, ok := gosoc.Sniff(wire[0])
	if !ok {
		log.Fatal("not GOSOC")
	}
	h, err := form.ParseHeader(wire)
	if err != nil {
		log.Fatal(err)
	}
	if h.Size == 0 || len(wire) < h.Len() {
		return // wait for more, if h.Remaining is within what may come before login
	}
	c, err := form.DecodeConnect(h, wire[h.Size:h.Len()])
	if err != nil {
		log.Fatal(err)
	}
	login, _, _, err := gosoc.InflatePayload(nil, c.Payload, 64<<10, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v %v, version %d, keep-alive %d s: %s\n", form, h.Type, c.Version, c.KeepAlive, login)
	// Output: compact Connect, version 1, keep-alive 60 s: {"token":"abc"}
}
