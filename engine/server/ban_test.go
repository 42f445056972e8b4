package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/login"
)

// refusing is a provider of tokens that can be guessed: all but those that begin with bad are good.
type refusing struct{ login.Provider }

func (refusing) Login(_ context.Context, r login.Request) (login.Identity, error) {
	if len(r.Token) > 2 && r.Token[:3] == "bad" {
		return login.Identity{}, fmt.Errorf("%w: bad", login.ErrRefused)
	}
	return login.Identity{User: r.Token}, nil
}

// signed is the same with tokens that prove themselves.
type signed struct{ refusing }

func (signed) Unguessable() bool { return true }

// login logs in on a connection that is there already, and returns ConnAck's code.
func (c gosocPeer) login(info string) gosoc.ReturnCode {
	c.t.Helper()
	c.write(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: []byte(info)}))
	h, body := c.next()
	if h.Type != gosoc.TypeConnAck {
		c.t.Fatalf("%v %x, want a ConnAck", h.Type, body)
	}
	return gosoc.ReturnCode(body[1])
}

// ticket reads the push that tells of it.
func (c gosocPeer) ticket() string {
	c.t.Helper()
	h, body := c.next()
	m, err := gosoc.Compact.DecodeSendReq(h, body)
	var session struct {
		SessionID string `json:"session_id"`
	}
	if err != nil || json.Unmarshal(m.Payload, &session) != nil || session.SessionID == "" {
		c.t.Fatalf("%v %q, %v, want a ticket", h.Type, body, err)
	}
	return session.SessionID
}

// While an address is banned its logins are refused, those of connections that were there before too,
// but for those that prove themselves.
func TestBannedAddress(t *testing.T) {
	s, addr := begin(t, Config{Gateway: GatewayConfig{LoginFailures: 3, LoginFailuresPer: long, Login: refusing{}}})
	dialGOSOC(t, addr, "ann")
	dan := gosocPeer{dial(t, addr)}
	if code := dan.login(`{"token":"dan","session":true}`); code != gosoc.Accepted {
		t.Fatal(code)
	}
	ticket := dan.ticket()
	dan.Close()
	before := gosocPeer{dial(t, addr)}
	for i := range 3 {
		if code := (gosocPeer{dial(t, addr)}).login(fmt.Sprintf(`{"token":"bad%d"}`, i)); code != gosoc.BadToken {
			t.Fatalf("a bad token: %v", code)
		}
	}
	for _, tc := range []struct {
		what, info string
		want       gosoc.ReturnCode
	}{
		{"a bad token", `{"token":"bad"}`, gosoc.ServerUnavailable},
		{"a token that was never seen", `{"token":"ben"}`, gosoc.ServerUnavailable},
		{"a token that was good before", `{"token":"ann"}`, gosoc.Accepted},
		{"a forged ticket", `{"session_id":"x` + ticket + `","token":"ben"}`, gosoc.ServerUnavailable},
		{"a ticket", `{"session_id":"` + ticket + `"}`, gosoc.Accepted},
	} {
		if code := (gosocPeer{dial(t, addr)}).login(tc.info); code != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, code, tc.want)
		}
	}
	if code := before.login(`{"token":"ben"}`); code != gosoc.ServerUnavailable {
		t.Errorf("a connection from before the ban: %v", code)
	}
	before.wantEnd()
	if n := s.Gateway().Stats().Refused[LoginBanned.String()]; n != 4 {
		t.Errorf("%d refused as banned, want 4", n)
	}
}

// A token that is no guess is looked at all the same.
func TestBannedAddressProofs(t *testing.T) {
	_, addr := begin(t, Config{Gateway: GatewayConfig{LoginFailures: 1, LoginFailuresPer: long, Login: signed{}}})
	for _, tc := range []struct {
		token string
		want  gosoc.ReturnCode
	}{{"bad", gosoc.BadToken}, {"bad", gosoc.BadToken}, {"ben", gosoc.Accepted}} {
		if code := (gosocPeer{dial(t, addr)}).login(`{"token":"` + tc.token + `"}`); code != tc.want {
			t.Errorf("%s: %v, want %v", tc.token, code, tc.want)
		}
	}
}

// guessed says whose login it refuses: tokens are USER:PASSWORD, and each user's password is right.
type guessed struct{ login.Provider }

func (guessed) Login(_ context.Context, r login.Request) (login.Identity, error) {
	user, password, _ := strings.Cut(r.Token, ":")
	if password != "right" {
		return login.Identity{}, &login.UserError{User: user, Err: login.ErrRefused}
	}
	return login.Identity{User: user}, nil
}

// Guesses at a user from many addresses have each address banned at its first, and the user gets in.
func TestUserGuesses(t *testing.T) {
	s, addr := begin(t, Config{Gateway: GatewayConfig{UserFailures: 5, UserFailuresPer: long, Login: guessed{}}})
	from := func(i int) gosocPeer {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			t.Skip("no other addresses here: ", err)
		}
		t.Cleanup(func() { conn.Close() })
		return gosocPeer{&peer{t, conn, bufio.NewReader(conn)}}
	}
	for i := range 10 {
		if code := from(1 + i).login(`{"token":"ann:guess"}`); code != gosoc.BadToken {
			t.Fatalf("guess %d: %v", i, code)
		}
	}
	for i := range 10 {
		want := gosoc.BadToken
		if i >= 4 {
			want = gosoc.ServerUnavailable // banned
		}
		if code := from(1 + i).login(`{"token":"ben:guess"}`); code != want {
			t.Errorf("address %d: %v, want %v", i, code, want)
		}
	}
	if code := from(100).login(`{"token":"ann:right"}`); code != gosoc.Accepted {
		t.Errorf("the user: %v", code)
	}
	if n := s.Gateway().Stats().Bans; n != 6 {
		t.Errorf("%d bans, want 6", n)
	}
}
