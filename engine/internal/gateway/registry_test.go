package gateway_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A clerk is a Registry that decides when, and as, it is told to.
type clerk struct {
	entered chan entering
	tokens  map[string]string
	away    atomic.Bool

	mu   sync.Mutex
	left []engine.Ref
}

type entering struct {
	gateway.Registration
	done func(gateway.Outcome, int)
}

func (k *clerk) Enter(r gateway.Registration, done func(gateway.Outcome, int)) {
	k.entered <- entering{r, done}
}

func (k *clerk) Leave(ref engine.Ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = append(k.left, ref)
}

func (k *clerk) hasLeft(ref engine.Ref) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.left, ref)
}

func (k *clerk) Name(string, engine.Ref, []byte) {}
func (k *clerk) Unname(string, engine.Ref)       {}

func (k *clerk) Redeem(_ gateway.TokenKind, token string, _ time.Time, done func(string, error)) {
	switch user, ok := k.tokens[token]; {
	case k.away.Load():
		go done("", login.ErrUnavailable)
	case ok:
		go done(user, nil)
	default:
		go done("", login.ErrUnknown)
	}
}

func (k *clerk) next(t *testing.T) entering {
	t.Helper()
	select {
	case e := <-k.entered:
		return e
	case <-time.After(patience):
		t.Fatal("the registry was not asked")
		panic("not reached")
	}
}

// startWith starts a server whose gateway has a Registry.
func startWith(t *testing.T, k *clerk, change func(*server.Config)) *server.Server {
	t.Helper()
	k.entered = make(chan entering, 100)
	config := server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true, Engine: engine.Config{Loops: 2, Linger: patience},
		Gateway: gateway.Config{Login: login.Open{}, LoginTimeout: never, RequestTimeout: never, LoginFailures: -1, ServerID: 1},
	}
	if change != nil {
		change(&config)
	}
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	gateway.Join(s.Gateway(), k)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(t.Context()) })
	return s
}

// Logins of users wait for the registry, which may refuse them; others do not.
func TestRegistryDecides(t *testing.T) {
	k := new(clerk)
	s := startWith(t, k, nil)
	guest := dial(t, s)
	guest.connect("", "")
	guest.wantCode(0)
	for _, test := range []struct {
		outcome gateway.Outcome
		code    int
	}{{gateway.LoginOK, 0}, {gateway.LoginConcurrent, 0}, {gateway.LoginUnavailable, 1}} {
		p := dial(t, s)
		p.connect("ann", "")
		p.write(request(7, "sluice.Echo", `"x"`)) // it waits with the login
		e := k.next(t)
		if e.User != "ann" || !e.Exclusive || e.Limit != 0 || e.Since.IsZero() || !e.Deadline.After(e.Since) {
			t.Errorf("registered: %+v", e.Registration)
		}
		if n := s.Gateway().Stats().Clients; n != 1 {
			t.Errorf("%d clients before the decision", n)
		}
		e.done(test.outcome, 1)
		p.wantCode(test.code)
		switch test.outcome {
		case gateway.LoginOK:
			p.wantReply(7)
			p.conn.Close()
		case gateway.LoginConcurrent:
			p.wantKickedOut()
		}
		await(t, "the end", func() bool { return k.hasLeft(e.Ref) })
	}
}

// A client that goes before the decision leaves nothing behind, whatever the decision is.
func TestRegistryDecidesForNobody(t *testing.T) {
	k := new(clerk)
	s := startWith(t, k, nil)
	p := dial(t, s)
	p.connect("ann", "")
	e := k.next(t)
	_ = p.conn.(interface{ SetLinger(int) error }).SetLinger(0)
	p.conn.Close()
	await(t, "the end", func() bool { return k.hasLeft(e.Ref) })
	e.done(gateway.LoginOK, 1)
	p = dial(t, s)
	p.connect("ann", "")
	k.next(t).done(gateway.LoginOK, 1)
	p.wantCode(0)
	if n := s.Gateway().Stats().Users; n != 1 {
		t.Errorf("%d users", n)
	}
}

// A connection whose user logs in elsewhere is kicked out, also while its own login is decided.
func TestKick(t *testing.T) {
	k := new(clerk)
	s := startWith(t, k, nil)
	for _, early := range []bool{false, true} {
		p := dial(t, s)
		p.connect("ann", "")
		e := k.next(t)
		if !early {
			e.done(gateway.LoginOK, 1)
			p.wantCode(0)
		}
		ended := make(chan struct{})
		gateway.Kick(s.Gateway(), e.Ref, func() {
			if !k.hasLeft(e.Ref) {
				t.Error("it has not ended yet")
			}
			close(ended)
		})
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("nothing was said of the end")
		}
		if early {
			e.done(gateway.LoginOK, 1)
			p.wantCode(0)
		}
		p.wantKickedOut()
		p.wantEnd()
	}
	gone := make(chan struct{})
	gateway.Kick(s.Gateway(), 12345, func() { close(gone) })
	<-gone
}

// One-time tokens of other gateways are shown to them, those of this one are not.
func TestTokensOfOtherGateways(t *testing.T) {
	otp, err := login.NewOTP(login.OTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	k := &clerk{tokens: map[string]string{"02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": "ben"}}
	s := startWith(t, k, func(c *server.Config) { c.Gateway.Login = otp })
	own, err := otp.Issue(time.Now(), "ann")
	if err != nil || own[:2] != "01" {
		t.Fatalf("a token of gateway 1: %q, %v", own, err)
	}
	if user, ok := gateway.TakeLoginToken(s.Gateway(), own); !ok || user != "ann" {
		t.Errorf("taken from elsewhere: %q, %v", user, ok)
	}
	for _, test := range []struct {
		token string
		away  bool
		code  int
	}{
		{own, false, 6}, // it was used
		{"02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, 0},
		{"02bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", false, 6},
		{"02AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false, 6},
		{"nonsense", false, 6},
		{"02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true, 1},
	} {
		k.away.Store(test.away)
		p := dial(t, s)
		p.connect(test.token, "")
		if test.code == 0 {
			e := k.next(t)
			if e.User != "ben" {
				t.Errorf("%q logs %q in", test.token, e.User)
			}
			e.done(gateway.LoginOK, 1)
		}
		p.wantCode(test.code)
		p.conn.Close()
	}
}
