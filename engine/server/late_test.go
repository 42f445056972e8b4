package server

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

//go:noinline
func waitsOnALoop(release <-chan struct{}) { <-release }

// A handler of requests and a hook that block their loop are found by name while they do, and counted.
func TestWhoBlocksALoopIsNamed(t *testing.T) {
	for _, who := range []string{"handler", "hook"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			var log syncbuf.Buffer
			release := make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			defer free()
			config := Config{Admin: AdminConfig{Address: "127.0.0.1:0"}, Dev: true}
			config.Gateway.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if who == "hook" {
				config.OnConnect = func(ClientInfo) { waitsOnALoop(release) }
			}
			s, addr := begin(t, config, func(s *Server) {
				if err := s.Handle("block", func(r *Request) { waitsOnALoop(release); r.Reply([]byte("1")) }); err != nil {
					t.Fatal(err)
				}
			})
			c := connectGOSOC(t, addr, "ann")
			c.ask("block", "1")
			waitUntil(t, "the line", func() bool { return strings.Contains(log.String(), "a loop is late") })
			if !strings.Contains(log.String(), "server.waitsOnALoop") {
				t.Error("the line does not say who it was")
			}
			if _, page := s.get(t, "/metrics"); strings.Contains(page, "\nsluice_loop_late_total 0\n") {
				t.Error("not counted")
			}
			free()
			c.next() // ConnAck
			c.wantReply("1")
		})
	}
}
