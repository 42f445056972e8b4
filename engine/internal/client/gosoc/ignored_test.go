package gosoc_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/login"
)

// Requests of levels that there are not do nothing, are not answered, and are counted; those of level 0,
// which want no reply, are not among them.
func TestUnknownLevels(t *testing.T) {
	for _, form := range []gosoc.Form{gosoc.Compact, gosoc.Fixed6} {
		s := start(t, login.Open{})
		wire, err := form.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: []byte(`{"token":"ann"}`)})
		for level := range gosoc.Level(4) {
			if err == nil {
				wire, err = form.AppendSendReq(wire, gosoc.SendReq{Level: level, ID: uint16(level), Route: []byte("sluice.Echo"), Payload: []byte("1")})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		conn := dial(t, s)
		if _, err := conn.Write(form.AppendPingReq(wire)); err != nil {
			t.Fatal(err)
		}
		want := form.AppendConnAck(nil, gosoc.ConnAck{})
		if want, err = form.AppendSendResp(want, gosoc.SendResp{ID: 1, Payload: []byte(`{"status":0,"data":1}`)}); err != nil {
			t.Fatal(err)
		}
		want = form.AppendPingResp(want)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		if n := s.Gateway().Stats().Ignored["level"]; n != 2 {
			t.Errorf("%d are counted, want 2", n)
		}
	}
}
