package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// An embedded gateway runs in the test's own process, where its goroutines can be counted.
type embedded struct {
	*server.Server
	process // for its way to dial
}

// embed starts a gateway and checks at the test's end that it leaves nothing behind. The test must
// be alone: what others leave for the moment would count.
func embed(t *testing.T, config server.Config) *embedded {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	descriptors := countDescriptors(t, "self")
	t.Cleanup(func() { wantNoTrace(t, leaks, descriptors) }) // behind the gateway's end
	return embedBeside(t, config)
}

// embedBeside is embed for a test that runs beside others.
func embedBeside(t *testing.T, config server.Config) *embedded {
	t.Helper()
	config.Listen = []string{"tcp://127.0.0.1:0"}
	if config.Gateway.Login == nil {
		config.Gateway.Login = login.Open{}
	}
	if config.Gateway.LoginTimeout == 0 {
		config.Gateway.LoginTimeout = 3 * time.Minute // see calm
	}
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	e := &embedded{Server: s, process: process{tb: t}}
	t.Cleanup(func() {
		e.closeClients()
		e.shut(t)
	})
	return e
}

// wantNoTrace wants all goroutines to end but those in leaks, and all descriptors to be closed but so
// many.
func wantNoTrace(t *testing.T, leaks goleak.Option, descriptors int) {
	t.Helper()
	err, now := error(nil), 0
	for deadline := time.Now().Add(patience); ; { // goleak waits, too, but a second at most
		err, now = goleak.Find(leaks, ants), countDescriptors(t, "self")
		if err == nil && now <= descriptors {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Errorf("%d descriptors, %d before; %v", now, descriptors, err)
}

// ants is a pool that a dependency of gnet starts with the program and never ends.
var ants = goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers")

func (e *embedded) start(t *testing.T) {
	t.Helper()
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(e.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	e.addr = u.Host
}

func (e *embedded) shut(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestEmbedded(t *testing.T) {
	e := embed(t, server.Config{})
	if err := e.Handle("greet.*", func(r *server.Request) {
		r.Reply(fmt.Appendf(nil, `{"status":0,"data":"hello %s, %s"}`, r.User(), r.Payload))
	}); err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("listen.In", func(r *server.Request) {
		r.Subscribe(r.Payload)
		r.Reply(nil)
	}); err != nil {
		t.Fatal(err)
	}
	e.start(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := e.login(t, m, token("ann"))
		c.wantAnswer("greet.Me", "now", `{"status":0,"data":"hello ann, now"}`)
		c.wantStatus("unknown.Route", "{}", 5)
		c.ask("listen.In", "embedded")
		if err := e.Publish(t.Context(), "embedded", []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		c.wantPush("push", `{"n":1}`)
		c.hangUp()
	})
}

// Stopping with clients of all kinds on board leaves nothing behind.
func TestEmbeddedStop(t *testing.T) {
	for range 5 {
		t.Run("", func(t *testing.T) {
			e := embed(t, server.Config{Dev: true, Engine: engine.Config{Loops: 3}})
			e.start(t)
			var in []*client
			for i := range 30 {
				c := e.login(t, modes[i%4], token(fmt.Sprint("user", i)))
				c.subscribe("t")
				in = append(in, c)
				if i%3 == 0 {
					e.dial(t, modes[0]).write([]byte{0x10})
				}
			}
			in[0].wantOK("sluice.Unsubscribe", `{"topics":["t"]}`)
			go func() {
				for _, c := range in {
					_, _ = c.next()
				}
				e.closeClients()
			}()
			e.shut(t)
			e.shut(t) // once more does no harm
			if err := e.Publish(t.Context(), "t", []byte("1")); !errors.Is(err, engine.ErrStopped) {
				t.Errorf("publish after the stop: %v", err)
			}
		})
	}
}

// Many starts and stops in one process.
func TestEmbeddedRestarts(t *testing.T) {
	for i := range 20 {
		e := embed(t, server.Config{Dev: true})
		e.start(t)
		c := e.login(t, modes[i%4], "")
		c.wantEcho("1")
		c.hangUp()
		e.shut(t)
	}
}

// A gateway that was made and never started needs no stop.
func TestEmbeddedNeverStarted(t *testing.T) {
	embed(t, server.Config{Dev: true})
}

// A start that fails leaves nothing running.
func TestEmbeddedStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	leaks := goleak.IgnoreCurrent()
	descriptors := countDescriptors(t, "self")
	s, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0", "tcp://" + taken.Addr().String()},
		Gateway: server.GatewayConfig{Login: login.Open{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil {
		t.Error("it listens at an address that is taken")
	}
	wantNoTrace(t, leaks, descriptors)
}

// A handler that panics, or ends its goroutine as a test's FailNow does, costs its client the
// connection, and nobody else anything.
func TestEmbeddedPanic(t *testing.T) {
	e := embed(t, server.Config{Dev: true})
	for route, f := range map[string]func(*server.Request){
		"bad.Idea": func(*server.Request) { panic("a handler's panic") },
		"bad.Exit": func(*server.Request) { runtime.Goexit() },
	} {
		if err := e.Handle(route, f); err != nil {
			t.Fatal(err)
		}
	}
	e.start(t)
	witness := e.login(t, modes[0], "")
	for i := range 20 {
		c := e.login(t, modes[0], "")
		c.write(c.mode.ask(1, []string{"bad.Idea", "bad.Exit"}[i%2], "1"))
		c.wantOver()
		witness.wantEcho("1")
	}
}

// slowLogin decides after some time, on a goroutine of its own.
type slowLogin struct{ pause time.Duration }

func (s slowLogin) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	select {
	case <-time.After(s.pause):
	case <-ctx.Done():
		return login.Identity{}, ctx.Err()
	}
	switch r.Token {
	case "refuse":
		return login.Identity{}, login.ErrRefused
	case "panic":
		panic("a provider's panic")
	}
	return login.Identity{User: r.Token, Topics: []string{"given"}}, nil
}

// A login that takes its time: what comes behind it waits, and is served or discarded with it.
func TestEmbeddedSlowLogin(t *testing.T) {
	e := embed(t, server.Config{Dev: true, Gateway: server.GatewayConfig{Login: slowLogin{50 * time.Millisecond}, LoginTimeout: 2 * patience}})
	e.start(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := e.dial(t, m)
		c.write(append(m.connect(0, token("ann")), m.ask(1, "sluice.Echo", "1")...))
		c.wantConnAck(accepted)
		c.wantReply(1, `{"status":0,"data":1}`)
		if got := c.whoami(); got.User != "ann" || len(got.Topics) != 1 {
			t.Errorf("%+v, want ann with the topic given", got)
		}
		c = e.dial(t, m)
		c.write(append(m.connect(0, token("refuse")), m.ask(1, "sluice.Echo", "1")...))
		c.wantConnAck(badToken)
		c.wantEOF()
		c = e.dial(t, m)
		c.write(m.connect(0, token("panic")))
		c.wantConnAck(1)
		c.wantEOF()
		// A second Connect while the first is being decided.
		c = e.dial(t, m)
		c.write(append(m.connect(0, token("bob")), m.connect(0, token("bob"))...))
		c.wantConnAck(accepted)
		c.wantConnAck(alreadyConnected)
		c.wantEOF()
		// More than 64 KiB behind it is too much.
		c = e.dial(t, m)
		_ = c.send(m.connect(0, token("carl")))
		start := time.Now()
		for range 20_000 {
			if c.send(m.ask(1, "sluice.Echo", "1")) != nil {
				break
			}
			if time.Since(start) > 40*time.Millisecond {
				break
			}
		}
		c.hangUp()
		// Gone before the verdict.
		c = e.dial(t, m)
		c.write(m.connect(0, token("dave")))
		c.reset()
	})
}

// A client that half-closes while its login is decided gets the verdict, and its answers.
func TestEmbeddedHalfCloseDuringLogin(t *testing.T) {
	e := embed(t, server.Config{Dev: true, Gateway: server.GatewayConfig{Login: slowLogin{50 * time.Millisecond}, LoginTimeout: 2 * patience}})
	e.start(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := e.dial(t, m)
		c.write(append(m.connect(0, token("eve")), m.ask(1, "sluice.Echo", "1")...))
		_ = c.conn.CloseWrite()
		c.wantConnAck(accepted)
		c.wantReply(1, `{"status":0,"data":1}`)
		c.wantEOF()
	})
}

// A stop in the middle of logins.
func TestEmbeddedStopDuringLogins(t *testing.T) {
	e := embed(t, server.Config{Gateway: server.GatewayConfig{Login: slowLogin{time.Hour}, LoginTimeout: time.Hour}})
	e.start(t)
	for i := range 20 {
		c := e.dial(t, modes[i%4])
		c.write(c.mode.connect(0, token("x")))
	}
	time.Sleep(20 * time.Millisecond)
	go func() {
		time.Sleep(50 * time.Millisecond)
		e.closeClients()
	}()
	e.shut(t)
}
