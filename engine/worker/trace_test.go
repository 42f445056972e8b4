package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// TestTraceparent: a handler is told of which trace its request is a part, and so is who reads the log when it
// fails.
func TestTraceparent(t *testing.T) {
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var log bytes.Buffer
	setup := func(w *Worker) {
		w.Handle("*", func(_ context.Context, r *Request) ([]byte, error) {
			if r.Route == "fails" {
				return nil, errors.New("broken")
			}
			return []byte(r.Traceparent), nil
		})
	}
	bubble(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, setup, func(t *testing.T, w *running, l *fakeLink) {
		for _, want := range []string{traceparent, ""} {
			for _, route := range []string{"told", "fails"} {
				m := netsvr.Request{UniqID: []byte("u"), Route: []byte(route), ID: 5, WantsReply: true, Traceparent: []byte(want)}
				frame, err := netsvr.V2.AppendFrame(nil, netsvr.CmdRequest, m.Append(nil), 0)
				if err != nil {
					t.Fatal(err)
				}
				l.write(frame)
				if r := l.reply(); route == "told" && string(r.GetPayload()) != want {
					t.Errorf("the handler is told %q, want %q", r.GetPayload(), want)
				}
			}
		}
		if text := log.String(); strings.Count(text, "request failed") != 2 || strings.Count(text, "traceparent="+traceparent) != 1 || strings.Count(text, "traceparent=") != 1 {
			t.Errorf("%s", text)
		}
	})
}
