package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

func echo(_ context.Context, r *Request) ([]byte, error) { return r.Payload, nil }

func TestRegistration(t *testing.T) {
	tests := []struct {
		name     string
		setup    func(*Worker)
		want     bool // that it registers
		requests bool
		local    bool
	}{
		{"requests", func(w *Worker) { w.Handle("*", echo) }, true, true, false},
		{"commands", func(w *Worker) { w.HandleCmd(1, 2, echo) }, true, true, true},
		{"events", func(w *Worker) { w.OnClose(func(context.Context, *Close) {}) }, true, false, false},
		{"nothing to handle", nil, false, false, false},
		{"nothing to handle, of one gateway", nil, false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				g := newFake(t)
				g.serverID = 0x2A
				var registered, left, widened atomic.Int32
				g.script = func(l *fakeLink, r received) bool {
					switch r.cmd {
					case netsvr.CmdRegister:
						var m netsvrpb.RegisterReq
						l.decode(r, r.cmd, &m)
						if m.GetClusterScope() {
							widened.Add(1)
						}
						if m.GetWorkerId() == 0 { // which a gateway without a cluster does not know
							l.send(r.cmd, &netsvrpb.RegisterResp{Code: netsvrpb.RegisterResp_WorkerIdOverflow})
							return true
						}
						registered.Add(1)
						if m.GetWorkerId() != 12 || m.GetServerId() != 0x2A || m.GetAcceptsRequests() != tt.requests {
							t.Errorf("got %v", &m)
						}
					case netsvr.CmdUnregister:
						left.Add(1)
						var m netsvrpb.UnRegisterReq
						l.decode(r, r.cmd, &m)
						if m.GetWorkerId() != 12 || m.GetRegisterId() != "r1" {
							t.Errorf("got %v", &m)
						}
					}
					return false
				}
				w := run(t, Config{WorkerID: 12, Links: 3, Dial: g.dial, Local: tt.local}, tt.setup)
				w.ready()
				if n := widened.Load(); n != 3 && !tt.local || n != 0 && tt.local {
					t.Errorf("%d links have asked for the cluster", n)
				}
				if id, known := w.Gateways()[0].ServerID(); id != 0x2A || !known {
					t.Errorf("server id %d %v", id, known)
				}
				w.halt()
				want := int32(0)
				if tt.want {
					want = 1 // however many links
				}
				if registered, left := registered.Load(), left.Load(); registered != want || left != want {
					t.Errorf("registered %d times, unregistered %d; want %d", registered, left, want)
				}
			})
		})
	}
}

func TestRegistrationRefused(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		g.refuse = netsvrpb.RegisterResp_ServerIdInconsistent
		w := run(t, Config{Dial: g.dial}, func(w *Worker) { w.Handle("*", echo) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := w.Ready(ctx)
		var refused *RegisterError
		if !errors.As(err, &refused) || refused.Code != 3 || refused.Message != "ServerIdInconsistent" ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready: %v", err)
		}
		if n := len(g.links); n < 2 || n > 6 {
			t.Errorf("%d attempts within a second", n)
		}
		w.halt()
	})
}

// A gateway that wants a token answers a worker without one in the words of a registration, which it did
// not ask for yet.
func TestNoTokenIsNamed(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		g.script = func(l *fakeLink, r received) bool {
			if r.cmd == netsvr.CmdUniqIDCount {
				l.send(netsvr.CmdRegister, &netsvrpb.RegisterResp{Code: netsvrpb.RegisterResp_TokenMissing, Message: "TokenMissing"})
				l.nc.Close()
				return true
			}
			return false
		}
		w := run(t, Config{Dial: g.dial}, func(w *Worker) { w.Handle("*", echo) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := w.Ready(ctx)
		if refused, ok := errors.AsType[*RegisterError](err); !ok || refused.Code != 100 || refused.Message != "TokenMissing" {
			t.Errorf("Ready: %v", err)
		}
		w.halt()
	})
}

func TestRedial(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		var attempts []time.Time
		g.down = func() error {
			attempts = append(attempts, time.Now())
			return errors.New("connection refused")
		}
		config := Config{RedialMin: 100 * time.Millisecond, RedialMax: time.Second, Dial: g.dial}
		w := run(t, config, func(w *Worker) { w.Handle("*", echo) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		limit := 100 * time.Millisecond
		for i := 1; i < len(attempts); i++ {
			if pause := attempts[i].Sub(attempts[i-1]); pause < limit/2 || pause > limit {
				t.Errorf("pause %d: %v, want %v to %v", i, pause, limit/2, limit)
			}
			limit = min(2*limit, time.Second)
		}
		if n := len(attempts); n < 10 || n > 25 {
			t.Errorf("%d attempts in 10 s", n)
		}
		g.setDown(nil)
		w.ready()
		l := <-g.links
		l.request("u", "r", 1, "x")
		l.reply()

		time.Sleep(2 * time.Second) // a link that lasted: the next pause is short again
		l.nc.Close()
		lost := time.Now()
		synctest.Wait()
		if w.Gateways()[0].Connected() {
			t.Error("still connected")
		}
		if err := w.Broadcast(t.Context(), []byte("x")); !errors.Is(err, ErrNotConnected) {
			t.Errorf("command on a lost link: %v", err)
		}
		w.ready()
		if d := time.Since(lost); d > 100*time.Millisecond {
			t.Errorf("back after %v", d)
		}
		l = <-g.links
		l.request("u", "r", 2, "x")
		l.reply()
		w.halt()
		if s := w.Stats(); s.Lost != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		var pings atomic.Int32
		var silent atomic.Bool
		g.script = func(l *fakeLink, r received) bool {
			if r.cmd == netsvr.CmdPing {
				pings.Add(1)
				return silent.Load()
			}
			return false
		}
		w := run(t, Config{Dial: g.dial}, nil)
		w.ready()
		l := <-g.links
		time.Sleep(251 * time.Second)
		if n := pings.Load(); n != 10 {
			t.Errorf("%d heartbeats in 251 s, want 10", n)
		}
		if len(g.links) > 0 {
			t.Error("the link was dialled again")
		}
		silent.Store(true)
		time.Sleep(76 * time.Second)
		if _, open := <-l.inbox; open || len(g.links) != 1 {
			t.Error("a gateway that does not answer is kept")
		}
		w.halt()
	})
}

func TestBrokenProtocol(t *testing.T) {
	frames := map[string][]byte{
		"answer to no question": {0, 0, 0, 4, 0x35, 0xa4, 0xf4, 0xbc},
		"unknown command":       {0, 0, 0, 4, 0, 0, 0, 1},
		"too short":             {0, 0, 0, 3, 1, 2, 3},
		"too long":              {0x7f, 0, 0, 0},
		"worker's own command":  {0, 0, 0, 4, 0x35, 0xa4, 0xf0, 0xd3},
	}
	for name, frame := range frames {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
				go l.write(frame) // a pipe's write lasts until all is read
				if r, open := <-l.inbox; open {
					t.Errorf("got %v, want the link closed", r.cmd)
				}
				synctest.Wait()
				l2 := w.Gateways()[0].Link
				l2.mu.Lock()
				err := l2.err
				l2.mu.Unlock()
				if !errors.Is(err, ErrProtocol) {
					t.Errorf("the link went for another reason: %v", err)
				}
			})
		})
	}
}

func TestGracefulStop(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		g.script = func(l *fakeLink, r received) bool {
			if r.cmd == netsvr.CmdUnregister { // these were on their way
				l.request("u1", "r", 2, "b")
				l.request("u2", "r", 3, "c")
			}
			return false
		}
		w := run(t, Config{Dial: g.dial}, func(w *Worker) {
			w.Handle("*", func(ctx context.Context, r *Request) ([]byte, error) {
				time.Sleep(3 * time.Second)
				if _, err := w.UniqIDCount(ctx); err != nil { // links serve handlers to the end
					t.Error(err)
				}
				return r.Payload, ctx.Err()
			})
		})
		w.ready()
		l := <-g.links
		l.request("u1", "r", 1, "a")
		start := time.Now()
		w.halt()
		if d := time.Since(start); d != 6*time.Second && d != 9*time.Second {
			t.Errorf("stopped after %v; one client's requests take 6 s, all take 9 s in one lane", d)
		}
		var got int
		for r := range l.inbox {
			var m netsvrpb.Reply
			l.decode(r, netsvr.CmdReply, &m)
			if m.GetStatus() == 0 {
				got++
			}
		}
		if got != 3 {
			t.Errorf("%d replies, want 3", got)
		}
		if err := w.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("second Run: %v", err)
		}
	})
}

func TestDrainTimeout(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		for _, obeys := range []bool{true, false} {
			g := newFake(t)
			release := make(chan struct{})
			w := run(t, Config{Dial: g.dial, DrainTimeout: 2 * time.Second}, func(w *Worker) {
				w.Handle("*", func(ctx context.Context, r *Request) ([]byte, error) {
					if obeys {
						<-ctx.Done()
					} else {
						<-release
					}
					return nil, ctx.Err()
				})
			})
			w.ready()
			l := <-g.links
			l.request("u", "r", 1, "")
			synctest.Wait()
			start := time.Now()
			w.stop()
			err := <-w.done
			close(release)
			if obeys && err != nil || !obeys && !errors.Is(err, ErrDrainTimeout) {
				t.Errorf("obeys=%v: Run: %v", obeys, err)
			}
			if d := time.Since(start); d < 2*time.Second || d > 3*time.Second {
				t.Errorf("obeys=%v: stopped after %v", obeys, d)
			}
			if r, open := <-l.inbox; open != obeys {
				t.Errorf("obeys=%v: reply: %v", obeys, r)
			}
		}
	})
}

// A gateway that does not answer to Unregister, or is not there, delays the end by no more than
// the query's time-out.
func TestStopWithoutGateway(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		g.script = func(l *fakeLink, r received) bool { return r.cmd == netsvr.CmdUnregister }
		w := run(t, Config{Dial: g.dial, QueryTimeout: time.Second}, func(w *Worker) { w.Handle("*", echo) })
		w.ready()
		start := time.Now()
		w.halt()
		if d := time.Since(start); d != time.Second {
			t.Errorf("stopped after %v", d)
		}
		g.setDown(errors.New("down"))
		w = run(t, Config{Dial: g.dial}, nil)
		time.Sleep(time.Minute)
		start = time.Now()
		w.halt()
		if d := time.Since(start); d != 0 {
			t.Errorf("stopped after %v", d)
		}
	})
}

// Requests that a lost link brought are not handled: the gateway has told their clients. Whoever
// left must still be heard of.
func TestLostLinkEvents(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		var requests, closes atomic.Int32
		w := run(t, Config{Dial: g.dial, Concurrency: 1}, func(w *Worker) {
			w.Handle("*", func(ctx context.Context, r *Request) ([]byte, error) {
				requests.Add(1)
				time.Sleep(time.Second)
				return nil, nil
			})
			w.OnClose(func(context.Context, *Close) { closes.Add(1) })
		})
		w.ready()
		l := <-g.links
		l.request("u", "r", 1, "")
		l.request("u", "r", 2, "")
		l.send(netsvr.CmdConnClose, &netsvrpb.ConnClose{UniqId: "u"})
		synctest.Wait()
		l.nc.Close()
		time.Sleep(2 * time.Second)
		w.ready()
		w.halt()
		nRequests, nCloses := requests.Load(), closes.Load()
		if s := w.Stats(); nRequests != 1 || nCloses != 1 || s.Unsent != 1 || s.Skipped != 1 {
			t.Errorf("%d requests, %d closes handled, want 1 and 1; stats %+v", nRequests, nCloses, s)
		}
	})
}

// A worker with a token shows it on every link before anything else, in a registration of no worker;
// a gateway that knows no tokens serves it all the same.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("\ufeff# old\n\n  a token \nanother\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		config Config
		code   netsvrpb.RegisterResp_Code
		fails  string
	}{
		{"taken", Config{Token: "a token"}, netsvrpb.RegisterResp_Success, ""},
		{"of a file", Config{TokenFile: file}, netsvrpb.RegisterResp_Success, ""},
		{"not known there", Config{Token: "a token"}, netsvrpb.RegisterResp_WorkerIdOverflow, ""},
		{"wrong", Config{Token: "a token"}, netsvrpb.RegisterResp_TokenWrong, "code 101 (TokenWrong)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				g := newFake(t)
				var shown, asked atomic.Int32
				g.script = func(l *fakeLink, r received) bool {
					if r.cmd != netsvr.CmdRegister {
						asked.Add(1)
						return false
					}
					var m netsvrpb.RegisterReq
					l.decode(r, r.cmd, &m)
					if m.GetWorkerId() != 0 {
						return false
					}
					if m.GetToken() != "a token" {
						t.Errorf("shows %q", m.GetToken())
					}
					shown.Add(1)
					l.send(r.cmd, &netsvrpb.RegisterResp{Code: tt.code, Message: tt.code.String()})
					return true
				}
				tt.config.Links, tt.config.Dial = 2, g.dial
				w := run(t, tt.config, func(w *Worker) { w.Handle("*", echo) })
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				err := w.Ready(ctx)
				if tt.fails == "" {
					if err != nil || shown.Load() != 2 {
						t.Errorf("%v, shown %d times", err, shown.Load())
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tt.fails) || asked.Load() != 0 {
					t.Errorf("%v, %d commands", err, asked.Load())
				}
			})
		})
	}
	for name, config := range map[string]Config{
		"both":    {Token: "x", TokenFile: file},
		"no file": {TokenFile: file + "x"},
		"no line": {TokenFile: os.DevNull},
	} {
		if _, err := New(config); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const token = "a-token-in-place-of-its-file"
	if _, err := New(Config{TokenFile: token}); err == nil || strings.Contains(err.Error(), token) ||
		!strings.Contains(err.Error(), "Config.TokenFile: the file that is named cannot be read: no such file or directory") {
		t.Errorf("a token for a file's name: %v", err)
	}
	if _, err := New(Config{TokenFile: file + "x"}); err == nil || !strings.Contains(err.Error(), "Config.TokenFile: open "+file+"x: ") {
		t.Errorf("no file: %v", err)
	}
}
