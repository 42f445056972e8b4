package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A judge is a login provider that decides when it is told to. The user is what the token says
// before its slash.
type judge struct {
	mu      sync.Mutex
	asked   map[string]chan struct{} // by token: closed when it may be decided
	arrived chan string
	gone    chan string // tokens whose client does not wait any more
}

func newJudge() *judge {
	return &judge{asked: make(map[string]chan struct{}), arrived: make(chan string, 100), gone: make(chan string, 100)}
}

func (j *judge) gate(token string) chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.asked[token] == nil {
		j.asked[token] = make(chan struct{})
	}
	return j.asked[token]
}

func (j *judge) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	user, _, _ := strings.Cut(r.Token, "/")
	gate := j.gate(r.Token)
	j.arrived <- r.Token
	select {
	case <-gate:
		return login.Identity{User: user}, nil
	case <-ctx.Done():
		j.gone <- r.Token
		return login.Identity{User: user}, nil // as if it had decided a moment before
	}
}

// ask sends a login and waits until the provider has it.
func (j *judge) ask(t *testing.T, s *server.Server, token string) *phone {
	t.Helper()
	p := dial(t, s)
	p.connect(token, `,"session":true`)
	select {
	case got := <-j.arrived:
		if got != token {
			t.Fatalf("the provider was asked about %q, not %q", got, token)
		}
	case <-time.After(patience):
		t.Fatal("the provider was not asked")
	}
	return p
}

// Of a user's two connections the one that asked last stays, whatever order the verdicts come in.
func TestTheLaterLoginStays(t *testing.T) {
	for range 4 { // the connections meet on one loop, or on two
		for _, laterFirst := range []bool{true, false} {
			j := newJudge()
			s := start(t, func(c *server.Config) { c.Gateway.Login = j })
			older, newer := j.ask(t, s, "ann/1"), j.ask(t, s, "ann/2")
			if laterFirst {
				close(j.gate("ann/2"))
				newer.wantCode(0)
				close(j.gate("ann/1"))
				older.wantCode(0) // as if it had been in before
				older.wantKickedOut()
			} else {
				close(j.gate("ann/1"))
				older.wantCode(0)
				if _, _, err := older.next(); err != nil { // the session
					t.Fatal(err)
				}
				close(j.gate("ann/2"))
				newer.wantCode(0)
				older.wantKickedOut()
			}
			older.wantEnd()
			if _, _, err := newer.next(); err != nil { // the session
				t.Fatal(err)
			}
			newer.write(request(7, "sluice.Echo", `"x"`))
			newer.wantReply(7)
			if st := s.Gateway().Stats(); st.Clients != 1 || st.Users != 1 || st.Sessions.Attached != 1 {
				t.Errorf("%d clients, %d users, %+v", st.Clients, st.Users, st.Sessions)
			}
		}
	}
}

// Nothing comes of a login whose client has gone: no session, and the user's other connection stays.
// The provider is told.
func TestLoginOfAClientThatHasGone(t *testing.T) {
	j := newJudge()
	s := start(t, func(c *server.Config) { c.Gateway.Login = j })
	stays := j.ask(t, s, "ann/1")
	close(j.gate("ann/1"))
	stays.wantCode(0)
	goes := j.ask(t, s, "ann/2")
	_ = goes.conn.(interface{ SetLinger(int) error }).SetLinger(0)
	_ = goes.conn.Close() // a reset
	select {
	case token := <-j.gone:
		if token != "ann/2" {
			t.Errorf("%q was given up", token)
		}
	case <-time.After(patience):
		t.Fatal("the provider was not told")
	}
	await(t, "the end", func() bool { return s.Engine().Connections() == 1 })
	last := j.ask(t, s, "ben/3") // its verdict comes after that of the one that has gone
	close(j.gate("ben/3"))
	last.wantCode(0)
	if _, _, err := stays.next(); err != nil { // the session
		t.Fatal(err)
	}
	stays.write(request(7, "sluice.Echo", `"x"`))
	stays.wantReply(7)
	if st := s.Gateway().Stats(); st.Logins != 2 || st.Sessions.Attached != 2 || st.Sessions.Detached != 0 {
		t.Errorf("%d logins, %+v", st.Logins, st.Sessions)
	}
}

// stuck is a provider that never returns before it is let go, whatever its context says.
type stuck chan struct{}

func (s stuck) Login(context.Context, login.Request) (login.Identity, error) {
	<-s
	return login.Identity{}, login.ErrRefused
}

func TestStopDoesNotWaitForTheProvider(t *testing.T) {
	provider := make(stuck)
	defer close(provider)
	config := server.Config{Listen: []string{"tcp://127.0.0.1:0"}}
	config.Gateway.Login = provider
	s, err := server.New(config)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := dial(t, s)
	p.connect("ann", "")
	time.Sleep(20 * time.Millisecond) // for the login to be on its way
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err = s.Stop(ctx)
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("took %v", d)
	}
	if err == nil {
		t.Error("nobody was left behind")
	}
	p.wantCode(1)
	p.wantEnd()
}

// quitter is a provider that ends its goroutine for some.
type quitter struct{}

func (quitter) Login(_ context.Context, r login.Request) (login.Identity, error) {
	switch r.Token {
	case "goexit":
		runtime.Goexit()
	case "panic":
		panic("no")
	}
	return login.Identity{User: r.Token}, nil
}

// A provider that ends its goroutine costs a login, and not one of those that may be under way.
func TestProviderThatEndsItsGoroutine(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.Login = quitter{} })
	for i := range 600 {
		p := dial(t, s)
		p.connect([]string{"goexit", "panic"}[i%2], "")
		p.wantCode(1) // unavailable
		p.wantEnd()
		_ = p.conn.Close()
	}
	online(t, s, "ann")
	if st := s.Gateway().Stats(); st.Refused["unavailable"] != 600 || st.Logins != 1 {
		t.Errorf("%v, %d logins", st.Refused, st.Logins)
	}
}

// A troubled is a provider that has no verdict on "out", and refuses everybody else.
type troubled struct{}

func (troubled) Login(_ context.Context, r login.Request) (login.Identity, error) {
	if r.Token == "out" {
		return login.Identity{}, fmt.Errorf("%w: connection refused", login.ErrUnavailable)
	}
	return login.Identity{}, login.ErrRefused
}

// Why a provider had no verdict is in the log of an operator who has not asked for more; that a
// client was refused by it is the client's affair.
func TestTroubleOfTheProviderIsLogged(t *testing.T) {
	for token, logged := range map[string]bool{"out": true, "bad": false} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			var text syncBuffer
			log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))
			_, addr := startLineWith(t, gateway.Config{Login: troubled{}, Logger: log}, false)
			lineLogin(t, addr, token)
			got := text.String()
			if !logged && got != "" {
				t.Errorf("log %q, want none", got)
			}
			if logged && (!strings.Contains(got, "outcome=unavailable") || !strings.Contains(got, "connection refused")) {
				t.Errorf("log %q, want the outcome and the cause", got)
			}
		})
	}
}

// A syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
