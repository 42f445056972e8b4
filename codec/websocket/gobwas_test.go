package websocket

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"
)

// TestGobwas has gobwas/ws write what we read and read what we write.
func TestGobwas(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, 7, 124, 125, 126, 127, 1000, 65535, 65536, 100000} {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		key := [4]byte{byte(rnd.Uint32()), 2, 3, byte(rnd.Uint32())}

		var theirs bytes.Buffer
		cut := size / 3
		ws.WriteFrame(&theirs, ws.MaskFrameWith(ws.NewFrame(ws.OpBinary, false, payload[:cut]), key))
		ws.WriteFrame(&theirs, ws.MaskFrameWith(ws.NewPingFrame([]byte("ping")), key))
		ws.WriteFrame(&theirs, ws.MaskFrameWith(ws.NewFrame(ws.OpContinuation, true, payload[cut:]), key))
		ws.WriteFrame(&theirs, ws.MaskFrameWith(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "bye")), key))
		var r Reader
		stream, at := theirs.Bytes(), 0
		next := func() Event {
			ev, n, err := r.Next(stream[at:], nil)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			at += n
			return ev
		}
		if ev := next(); ev.Kind != EventPing || string(ev.Payload) != "ping" {
			t.Errorf("%d bytes: %+v", size, ev)
		}
		if ev := next(); ev.Kind != EventMessage || !bytes.Equal(ev.Payload, payload) {
			t.Errorf("%d bytes: %d came", size, len(ev.Payload))
		}
		if ev := next(); ev.Kind != EventClose || ev.Code != CloseGoingAway || string(ev.Payload) != "bye" {
			t.Errorf("%d bytes: %+v", size, ev)
		}

		ours := AppendFrame(nil, OpText, payload)
		ours = AppendMaskedFrame(ours, OpBinary, key, payload)
		ours = AppendClose(ours, ClosePolicyViolation, "reason")
		in := bytes.NewReader(ours)
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			frame, err := ws.ReadFrame(in)
			if err != nil {
				t.Fatal(err)
			}
			if frame.Header.Masked {
				frame = ws.UnmaskFrame(frame)
			}
			if frame.Header.OpCode != op || !frame.Header.Fin || !bytes.Equal(frame.Payload, payload) {
				t.Errorf("%d bytes: %+v", size, frame.Header)
			}
		}
		frame, err := ws.ReadFrame(in)
		code, reason := ws.ParseCloseFrameData(frame.Payload)
		if err != nil || code != ws.StatusPolicyViolation || reason != "reason" || in.Len() != 0 {
			t.Errorf("%d %q, %v", code, reason, err)
		}
	}
}

// TestGobwasUpgrade has gobwas/ws answer our request, which it does to a stream.
func TestGobwasUpgrade(t *testing.T) {
	conn := struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(AppendUpgradeRequest(nil, "h", "/a?b=c", sampleKey, Header{"Sec-WebSocket-Protocol", "x, y"})), new(bytes.Buffer)}
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "y" }}
	if _, err := u.Upgrade(conn); err != nil {
		t.Fatal(err)
	}
	resp, _, err := ParseUpgradeResponse(conn.Writer.(*bytes.Buffer).Bytes(), Limits{})
	if err != nil || resp.Check(sampleKey) != nil || string(resp.Protocol) != "y" {
		t.Errorf("%+v, %v, %v", resp, err, resp.Check(sampleKey))
	}
}
