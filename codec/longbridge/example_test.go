package longbridge_test

import (
	"fmt"

	"github.com/sluicenet/sluice/codec/longbridge"
)

// A server reads the handshake and an auth request that came in one segment,
// and answers.
func Example() {
	src := []byte("\x11\x09" + "\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x09\x0a\x07otp-123")

	hs, n, err := longbridge.ParseHandshake(src)
	if err != nil || n == 0 {
		return // goodbye, or wait for more
	}
	src = src[n:]

	h, err := longbridge.ParseHeader(src, hs.Version)
	if err != nil {
		return // goodbye
	}
	if h.BodyLen > 4096 {
		return // goodbye: refused before it is there
	}
	if h.Size == 0 || len(src) < h.Total() {
		return // wait for more
	}
	_, body := h.Split(src)
	if body, _, err = h.Inflate(nil, body, 4096, 0); err != nil {
		return // goodbye
	}

	var auth longbridge.AuthRequest
	if err := hs.Codec.Unmarshal(body, &auth); err != nil {
		return // goodbye
	}
	fmt.Printf("%v %d on %v, token %s\n", h.Type, h.RequestID, hs.Platform, auth.Token)

	answer, err := longbridge.AppendControl(nil, hs,
		longbridge.Header{Type: longbridge.Response, Cmd: h.Cmd, RequestID: h.RequestID},
		&longbridge.AuthResponse{SessionID: "sess-1", Expires: 1700000000000, Limit: 10, Online: 1})
	fmt.Printf("%x %v\n", answer, err)

	// Output:
	// request 1 on OpenAPI, token otp-123
	// 020200000001000000130a06736573732d311080d095ffbc31180a2001 <nil>
}

func ExampleNextMetadata() {
	metadata, _ := longbridge.AppendMetadata(nil, "Trace-ID", "abc")
	metadata, _ = longbridge.AppendMetadata(metadata, "accept-language", "en")

	var key, value []byte
	var err error
	for rest := metadata; len(rest) > 0; {
		if key, value, rest, err = longbridge.NextMetadata(rest); err != nil {
			return // goodbye
		}
		fmt.Printf("%s = %s\n", key, value)
	}
	// Output:
	// trace-id = abc
	// accept-language = en
}
