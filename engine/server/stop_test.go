package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/internal/faketime"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// stubborn is a login provider that does not come back before it is released, whatever its context.
type stubborn struct{ asked, release chan struct{} }

func (p stubborn) Login(context.Context, login.Request) (login.Identity, error) {
	p.asked <- struct{}{}
	<-p.release
	return login.Identity{}, nil
}

// wantNoGoroutines wants all to end that were started since there were so many. gnet's goroutine
// pool keeps up to three.
func wantNoGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if runtime.NumGoroutine() <= before+3 {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, before it was %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

// Stop ends within its context whatever does not end; what was left behind ends when it can, and
// a later Stop waits for it.
func TestStopWithinContext(t *testing.T) {
	before := runtime.NumGoroutine()
	release := make(chan struct{})
	in := make(chan struct{}, 1)
	block := func() {
		until := release // the next case has another
		in <- struct{}{}
		<-until
	}
	provider := stubborn{make(chan struct{}, 1), release}
	for _, tc := range []struct {
		name   string
		config Config
		handle bool
		token  string
		want   string // in the error
	}{
		{"handler", Config{}, true, "ann", "a handler or a hook has not returned"},
		{"on connect", Config{OnConnect: func(ClientInfo) { block() }}, false, "ann", "a handler or a hook has not returned"},
		{"provider", Config{Gateway: GatewayConfig{Login: provider}}, false, "ann", "login provider"},
		{"admission", Config{Engine: engine.Config{Admit: func(netip.Addr) (engine.Reason, bool) {
			block()
			return 0, true
		}}}, false, "ann", "accepting"},
	} {
		for _, deadline := range []bool{true, false} {
			t.Run(tc.name, func(t *testing.T) {
				release = make(chan struct{})
				provider.release = release
				config := tc.config
				if config.Gateway.Login != nil {
					config.Gateway.Login = provider
				} else {
					config.Gateway.Login = openLogin
				}
				config.Listen = []string{"tcp://127.0.0.1:0"}
				config.WorkerListen, config.Admin.Address = "tcp://127.0.0.1:0", "127.0.0.1:0"
				s, err := New(config)
				if err != nil {
					t.Fatal(err)
				}
				if tc.handle {
					if err := s.Handle("block", func(*Request) { block() }); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Start(); err != nil {
					t.Fatal(err)
				}
				addr := strings.TrimPrefix(s.Addrs()[0], "tcp://")
				worker, err := net.Dial("tcp", strings.TrimPrefix(s.WorkerAddr(), "tcp://"))
				if err != nil {
					t.Fatal(err)
				}
				c := connectGOSOC(t, addr, tc.token)
				switch {
				case config.Gateway.Login != openLogin:
					receive(t, provider.asked)
				case tc.handle:
					c.ask("block", "")
					fallthrough
				default:
					receive(t, in)
				}
				var ctx context.Context
				var cancel context.CancelFunc
				const within = 300 * time.Millisecond
				if deadline {
					ctx, cancel = context.WithTimeout(t.Context(), within)
				} else {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(within, cancel)
				}
				defer cancel()
				begun := time.Now()
				err = s.Stop(ctx)
				if d := time.Since(begun); d > patience {
					t.Errorf("Stop took %v of %v", d, within)
				}
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("Stop: %v, want %q in it", err, tc.want)
				}
				if blamed := strings.Contains(fmt.Sprint(err), "provider"); blamed != (tc.name == "provider") {
					t.Errorf("Stop blames the login provider: %v", err)
				}
				if err := s.Stop(ctx); !errors.Is(err, ctx.Err()) || err == nil {
					t.Errorf("a second Stop with a context that is done: %v", err)
				}
				if deadline { // behind the moment that the loops have to end by force
					longer, cancel := context.WithTimeout(t.Context(), within)
					defer cancel()
					if err := s.Stop(longer); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("a second Stop while something has not ended: %v", err)
					}
				}
				close(release)
				if err := s.Stop(t.Context()); err != nil {
					t.Errorf("a later Stop: %v", err)
				}
				c.Close()
				worker.Close()
			})
		}
	}
	wantNoGoroutines(t, before)
}

func TestStopBeforeStart(t *testing.T) {
	before := runtime.NumGoroutine()
	given := listenTCP(t)
	s, err := New(Config{Gateway: GatewayConfig{Login: openLogin}, Listeners: []Listener{{Listener: given}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.Start(); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("Start after Stop: %v", err)
	}
	if _, err := given.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	wantNoGoroutines(t, before)
}

func TestStartTwice(t *testing.T) {
	s, _ := begin(t, Config{})
	if err := s.Start(); err == nil || errors.Is(err, engine.ErrStopped) {
		t.Errorf("a second Start: %v", err)
	}
	end(t, s)
	if err := s.Start(); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("Start after Stop: %v", err)
	}
}

// Whichever of Start and Stop comes first, and with how many of each: nothing runs afterwards, and
// Start says so unless it had come to its end.
func TestStopWhileStart(t *testing.T) {
	before := runtime.NumGoroutine()
	for i := range 40 {
		s, err := New(Config{
			Listen:       []string{"tcp://127.0.0.1:0", "tcp://127.0.0.1:0"},
			WorkerListen: "tcp://127.0.0.1:0",
			Gateway:      GatewayConfig{Login: openLogin},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Start(); err != nil && !errors.Is(err, engine.ErrStopped) {
				t.Error(err)
			}
		})
		for range 2 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Microsecond)
				if err := s.Stop(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := s.Start(); !errors.Is(err, engine.ErrStopped) {
			t.Errorf("Start after all: %v", err)
		}
	}
	wantNoGoroutines(t, before)
}

// A Start that fails leaves nothing open of what it was given.
func TestStartFails(t *testing.T) {
	before := runtime.NumGoroutine()
	taken := listenTCP(t)
	given := []net.Listener{listenTCP(t), listenTCP(t), listenTCP(t)}
	s, err := New(Config{
		Listen:         []string{"tcp://" + taken.Addr().String()},
		Listeners:      []Listener{{Listener: given[0]}},
		WorkerListener: given[1],
		Admin:          AdminConfig{Listener: given[2]},
		Gateway:        GatewayConfig{Login: openLogin},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil {
		t.Error("two listen at one address")
	}
	for i, ln := range given {
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listener %d is open: %v", i, err)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	wantNoGoroutines(t, before)
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A step that begins when the time is up, because those before it have used it, is blamed only if it
// has not ended a moment later.
func TestStepBehindTheTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration
		after time.Duration
		want  bool // an error
	}{
		{"at once", 0, 0, false},
		{"in a moment", lateTime - 1, lateTime - 1, false},
		{"never", time.Hour, lateTime, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				td := newTeardown(ctx)
				defer td.cancel()
				<-td.hard.Done()
				begun := time.Now()
				td.step("it has not ended", func() error {
					time.Sleep(tt.takes)
					return nil
				})
				if took := time.Since(begun); took != tt.after {
					t.Errorf("it took %v, want %v", took, tt.after)
				}
				if blamed := td.err != nil; blamed != tt.want {
					t.Errorf("the error is %v", td.err)
				}
				if tt.takes < lateTime {
					return
				}
				begun = time.Now()
				td.step("", func() error {
					time.Sleep(tt.takes)
					return nil
				})
				if took := time.Since(begun); took != stepTime || strings.Count(td.err.Error(), "server") != 1 {
					t.Errorf("the next takes %v, and the error is %v", took, td.err)
				}
				td.steps.Wait()
			})
		})
	}
}

// Clients that were not told are one fact, however often it is found and how many are left each time, and
// blame no step.
func TestUntoldOnce(t *testing.T) {
	var log syncbuf.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	td := newTeardown(ctx)
	defer td.cancel()
	td.log = slog.New(slog.NewTextHandler(&log, nil))
	<-td.hard.Done()
	other := errors.New("something else")
	for _, err := range []error{
		nil, &engine.UntoldError{Connections: 3, Err: context.Canceled}, &engine.UntoldError{Connections: 2, Err: context.Canceled}, other,
	} {
		td.ended("a handler has not returned", err)
	}
	const want = "engine: 3 connections left: context canceled; server: a handler has not returned: something else"
	if td.err.Error() != want || !errors.Is(td.err, other) || !errors.Is(td.err, context.Canceled) {
		t.Errorf("%v, want %s", td.err, want)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines, want 2: %s", lines, log.String())
	}
}
