package interop

import (
	"errors"
	"strings"
	"testing"
	"time"

	protocol "github.com/longportapp/openapi-protocol/go"
	"github.com/longportapp/openapi-protocol/go/client"
)

// Dial, Auth, requests with and without compression, pushes, in every form the client knows.
func TestRequestsAndPushes(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	for i, h := range handshakes {
		t.Run(h.name, func(t *testing.T) {
			v := connect(t, g, i, newLine(t, g.addr).addr())
			info := v.client.AuthInfo()
			if left := time.Until(time.UnixMilli(info.Expires)); info.Limit != 10 || info.Online != 1 || left < 29*time.Minute || left > 31*time.Minute {
				t.Errorf("Auth: %v", info)
			}
			for _, size := range []int{0, 10, 1023, 1024, 5000, 300_000} { // from 1024 bytes on it compresses
				v.wantEcho(strings.Repeat("x", size))
			}

			_, err := v.do(99, "")
			var no *protocol.LBError
			if !errors.As(err, &no) || no.Status != protocol.StatusBadRequest || no.Code == 0 || no.Code == 500 || no.Message == "" {
				t.Errorf("an unknown command: %v", err)
			}

			if _, err := v.do(204, "push me"); err != nil {
				t.Fatal(err)
			}
			select {
			case body := <-v.pushes:
				if !strings.Contains(string(body), "push me") {
					t.Errorf("push %q", body)
				}
			case <-time.After(patience):
				t.Error("no push")
			}
		})
	}
}

// The client's heartbeats are answered, ours are seen and answered, and either keeps a connection
// alive for longer than the time-out.
func TestKeepalive(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--heartbeat-timeout", "6s")
	const long = 13 * time.Second
	eachTransport(t, func(t *testing.T, transport int) {
		t.Run("the client's", func(t *testing.T) {
			t.Parallel()
			v := connect(t, g, transport, newLine(t, g.addr).addr(), client.Keepalive(500*time.Millisecond), client.KeepaliveTimeout(time.Minute))
			v.staysAlive(long)
			await(t, "pongs", func() bool { return v.pongs.Load() >= 13 })
		})
		t.Run("ours", func(t *testing.T) {
			t.Parallel()
			v := connect(t, g, transport, newLine(t, g.addr).addr(), client.Keepalive(time.Hour))
			v.staysAlive(long)
			await(t, "heartbeats of ours", func() bool { return v.pings.Load() >= 4 })
		})
	})
}

// staysAlive wants the connection to last for a time in which the test does nothing.
func (v *vendor) staysAlive(d time.Duration) {
	v.tb.Helper()
	session := v.session()
	time.Sleep(d)
	if v.session() != session || len(v.back) > 0 {
		v.tb.Fatal("the connection was lost meanwhile")
	}
	v.wantEcho("still here")
}

func TestAuthRefused(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--no-longbridge-close-notice", "--login-failures", "0")
	eachTransport(t, func(t *testing.T, transport int) {
		v := newVendor(t, "ann")
		v.bad.Store(true)
		// Without an answer to its Auth the client connects again by itself, for ever: Close it.
		err := v.dial(transport, newLine(t, g.addr).addr(), func() *gateway { return g })
		v.closeAfter(t)
		var no *protocol.LBError
		if !errors.As(err, &no) || no.Status != protocol.StatusUnauthenticated || no.Code != 401 {
			t.Errorf("Auth with a bad token: %v", err)
		}
	})
}

func TestUserLimit(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--user-limit", "1", "--no-longbridge-close-notice")
	eachTransport(t, func(t *testing.T, transport int) {
		first := connect(t, g, transport, newLine(t, g.addr).addr())
		second := newVendor(t, first.user)
		err := second.dial(transport, newLine(t, g.addr).addr(), func() *gateway { return g })
		second.closeAfter(t)
		var no *protocol.LBError
		if !errors.As(err, &no) || no.Status != 6 || no.Code != 403 || no.Message != "connections limitation is hit" {
			t.Errorf("a second connection: %v", err)
		}
		first.wantEcho("not disturbed")
	})
}

// Over the limit of connections a login is answered over TCP: the client waits 10 s for it otherwise.
func TestFull(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--max-connections", "1")
	first := connect(t, g, 0, g.addr)
	second := newVendor(t, "ben")
	err := second.dial(0, g.addr, func() *gateway { return g })
	second.closeAfter(t)
	var no *protocol.LBError
	if !errors.As(err, &no) || no.Status != 7 || no.Code != 503 || no.Message != "too-many-clients" {
		t.Errorf("a second connection: %v", err)
	}
	first.wantEcho("not disturbed")
}

// A one-time token is good once.
func TestTokenTwice(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--no-longbridge-close-notice")
	token, err := g.token("ann")
	if err != nil {
		t.Fatal(err)
	}
	login := func() error {
		v := newVendor(t, "ann")
		err := v.dial(0, newLine(t, g.addr).addr(), func() *gateway { return g }, client.WithAuthTokenGetter(func() (string, error) { return token, nil }))
		v.closeAfter(t)
		return err
	}
	if err := login(); err != nil {
		t.Errorf("the first time: %v", err)
	}
	if err := login(); err == nil {
		t.Error("the second time it was good, too")
	}
}
