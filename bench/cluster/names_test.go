package clustertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/worker"
)

// loginAs connects a client of a user, by his token, and returns the code of the answer.
func (g *gateway) loginAs(token string) (*client, gosoc.ReturnCode) {
	g.t.Helper()
	c, code, err := dialAs(g.t, g.addr, token)
	if err != nil {
		g.t.Fatal(err)
	}
	return c, code
}

func dialAs(t *testing.T, address, token string) (*client, gosoc.ReturnCode, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, 0, err
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t: t, conn: conn}
	payload, _ := json.Marshal(map[string]string{"token": token})
	b, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: payload})
	if err != nil {
		return nil, 0, err
	}
	if _, err := conn.Write(b); err != nil {
		return nil, 0, err
	}
	h, body, err := c.packet(patience)
	if err != nil {
		return nil, 0, err
	}
	if h.Type != gosoc.TypeConnAck || len(body) != 2 {
		return nil, 0, fmt.Errorf("a packet of type %d in place of ConnAck: %x", h.Type, body)
	}
	return c, gosoc.ReturnCode(body[1]), nil
}

// online reports whether a client is served.
func (c *client) online() bool {
	if c.send("sluice.Echo", `"x"`) != nil {
		return false
	}
	h, _, err := c.packet(patience)
	return err == nil && h.Type == gosoc.TypeSendResp
}

// A user who logs in on another gateway is kicked out on the first.
func TestKickOut(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	a, code := list[0].loginAs("ann")
	if code != gosoc.Accepted {
		t.Fatalf("code %d", code)
	}
	other, _ := list[0].loginAs("ben")
	b, code := list[1].loginAs("ann")
	if code != gosoc.Accepted {
		t.Fatalf("code %d", code)
	}
	h, _, err := a.packet(patience)
	if err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older connection got %d, %v, want Disconnect", h.Type, err)
	}
	if _, _, err := a.packet(patience); err != io.EOF {
		t.Errorf("the older connection: %v, want its end", err)
	}
	if !b.online() || !other.online() {
		t.Error("another connection has ended, too")
	}
	// And back, with the first gateway's connection gone for long.
	a, code = list[0].loginAs("ann")
	if code != gosoc.Accepted || !a.online() {
		t.Errorf("back again: code %d", code)
	}
	if _, _, err := b.packet(patience); err != nil {
		t.Errorf("the second connection: %v, want Disconnect", err)
	}
}

// Of many logins of one user at once, on all gateways, exactly one stays.
func TestRacingLogins(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	for round := range 10 {
		var mu sync.Mutex
		var all []*client
		var racers sync.WaitGroup
		for i := range 12 {
			racers.Go(func() {
				c, code, err := dialAs(t, list[i%3].addr, "ann")
				if err != nil {
					t.Error(err)
					return
				}
				if code == gosoc.Accepted {
					mu.Lock()
					all = append(all, c)
					mu.Unlock()
				}
			})
		}
		racers.Wait()
		await(t, "one connection of the user", func() bool { return online(list) == 1 })
		stay := 0
		for _, c := range all {
			if c.online() {
				stay++
			}
			c.conn.Close()
		}
		if stay != 1 {
			t.Errorf("round %d: %d connections stay", round, stay)
		}
		await(t, "no connection of the user", func() bool { return online(list) == 0 })
	}
}

// online is how many clients are logged in.
func online(list []*gateway) (n int) {
	for _, g := range list {
		n += int(g.metric(`sluice_clients{protocol="gosoc"}`))
	}
	return n
}

// A user of a gateway that was killed, or stands still, can log in elsewhere at once; one that
// stood still ends its own connection when it runs again.
func TestKickOutOfAGatewayThatIsAway(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	a, _ := list[0].loginAs("ann")
	if _, code := list[2].loginAs("ben"); code != gosoc.Accepted {
		t.Fatal("no login")
	}
	list[0].signal(syscall.SIGSTOP)
	list[2].kill()
	for _, user := range []string{"ann", "ben"} {
		begun := time.Now()
		if _, code := list[1].loginAs(user); code != gosoc.Accepted || time.Since(begun) > patience {
			t.Errorf("%s elsewhere: code %d after %v", user, code, time.Since(begun))
		}
	}
	list[0].signal(syscall.SIGCONT)
	h, _, err := a.packet(patience)
	if err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older connection got %d, %v, want Disconnect", h.Type, err)
	}
}

// While NATS is away each gateway goes by its own rules; when it is back the later login stays.
func TestKickOutWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	a, _ := list[0].loginAs("ann")
	s.stop()
	b, code := list[1].loginAs("ann")
	if code != gosoc.Accepted || !a.online() || !b.online() {
		t.Fatalf("code %d", code)
	}
	if list[1].metric("sluice_cluster_names_away") != 1 {
		t.Error("the metric does not say so")
	}
	s.start()
	h, _, err := a.packet(patience)
	if err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older connection got %d, %v, want Disconnect", h.Type, err)
	}
	if !b.online() {
		t.Error("the later one has ended, too")
	}
	await(t, "the metric", func() bool { return list[1].metric("sluice_cluster_names_away") == 0 })
}

// longbridge logs a client in, and returns the status of the answer.
func (g *gateway) longbridge(user string) (net.Conn, byte) {
	g.t.Helper()
	conn, err := net.DialTimeout("tcp", g.addr, patience)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	body := append([]byte{0x0a, byte(len(user))}, user...)
	b := append([]byte("\x11\x09\x01\x02\x00\x00\x00\x01\x00\x00"), 0, 0, byte(len(body)))
	if _, err := conn.Write(append(b, body...)); err != nil {
		g.t.Fatal(err)
	}
	head := make([]byte, 10)
	if _, err := io.ReadFull(conn, head); err != nil {
		g.t.Fatal(err)
	}
	return conn, head[6]
}

// The limit of a user's connections counts over the gateways.
func TestUserLimit(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--user-limit", "2")
	first, status := list[0].longbridge("ann")
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	if _, status := list[1].longbridge("ann"); status != 0 {
		t.Fatalf("status %d", status)
	}
	for _, g := range list {
		if _, status := g.longbridge("ann"); status != 6 {
			t.Errorf("gateway %d: status %d, want 6", g.id, status)
		}
	}
	if _, status := list[2].longbridge("ben"); status != 0 {
		t.Errorf("another user: status %d", status)
	}
	first.Close()
	await(t, "the place of a connection that has ended", func() bool {
		_, status := list[2].longbridge("ann")
		return status == 0
	})
}

// Of many logins at once, on all gateways, exactly as many stay as a user may have.
func TestRacingUserLimit(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--user-limit", "3")
	for round := range 5 {
		conns, status := make([]net.Conn, 12), make([]byte, 12)
		var racers sync.WaitGroup
		for i := range conns {
			racers.Go(func() { conns[i], status[i] = list[i%3].longbridge("ann") })
		}
		racers.Wait()
		in := 0
		for _, s := range status {
			if s == 0 {
				in++
			}
		}
		if in != 3 {
			t.Errorf("round %d: %d connections of a user are let in, want 3: %v", round, in, status)
		}
		for _, c := range conns {
			c.Close()
		}
		await(t, "no connection of the user", func() bool {
			n := 0.0
			for _, g := range list {
				n += g.sum("sluice_cluster_names") + g.sum("sluice_cluster_names_queued")
			}
			return n == 0
		})
	}
}

// A one-time token is good once, on whatever gateway.
func TestOneTimeToken(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	var list []*gateway // serveAll logs in without a token
	for i := range 3 {
		list = append(list, serve(t, i+1, "--cluster", s.url(), "--login", "otp"))
	}
	for _, g := range list {
		g.knows(len(list))
	}
	for round := range 5 {
		_, body := list[0].get("/v1/socket/token?user=ann")
		var answer struct{ Data struct{ OTP string } }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Data.OTP == "" {
			t.Fatalf("no token: %q", body)
		}
		var mu sync.Mutex
		good := 0
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				_, code, err := dialAs(t, list[(i+1)%3].addr, answer.Data.OTP)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && code == gosoc.Accepted {
					good++
				}
			})
		}
		all.Wait()
		if good != 1 {
			t.Errorf("round %d: a token was good %d times", round, good)
		}
		if _, code := list[1].loginAs(answer.Data.OTP); code != gosoc.BadToken {
			t.Errorf("once more: code %d", code)
		}
	}
}

// A token of a gateway that stands still: the login elsewhere has no verdict, which is not that of
// a bad token, and the token is good for nobody when the gateway wakes.
func TestOneTimeTokenOfStopped(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	var list []*gateway
	for i := range 2 {
		list = append(list, serve(t, i+1, "--cluster", s.url(), "--login", "otp"))
	}
	for _, g := range list {
		g.knows(len(list))
	}
	_, body := list[0].get("/v1/socket/token?user=ann")
	var answer struct{ Data struct{ OTP string } }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Data.OTP == "" {
		t.Fatalf("no token: %q", body)
	}
	list[0].signal(syscall.SIGSTOP)
	begun := time.Now()
	_, code := list[1].loginAs(answer.Data.OTP)
	if code != gosoc.ServerUnavailable {
		t.Errorf("code %d, want %d", code, gosoc.ServerUnavailable)
	}
	if d := time.Since(begun); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	list[0].signal(syscall.SIGCONT)
	await(t, "the token to be used up", func() bool {
		return list[0].metric("sluice_tokens") == 0
	})
	for _, g := range list {
		if _, code := g.loginAs(answer.Data.OTP); code != gosoc.BadToken {
			t.Errorf("gateway %d: code %d, want %d", g.id, code, gosoc.BadToken)
		}
	}
}

// customer opens a netsvr connection, and returns the status of the answer.
func (g *gateway) customer(query string) (net.Conn, int) {
	g.t.Helper()
	conn, err := net.DialTimeout("tcp", g.addr, patience)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = fmt.Fprintf(conn, "GET /netsvr?%s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	return conn, resp.StatusCode
}

// wantEnd waits until the connection ends.
func wantEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("a connection that is to end: %v", err)
	}
}

// A customer may choose its uniqId on a gateway with a token of another, once; who has the uniqId
// elsewhere loses it, also when a worker gives it to another.
func TestCustomIDs(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url(), "--custom-id-key", "id")
	w, err := worker.New(worker.Config{Gateways: []string{list[0].worker}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	defer func() {
		cancel()
		<-ran
	}()
	token := func() (text string) {
		t.Helper()
		await(t, "a token", func() bool {
			_, text, err = w.Gateways()[0].ConnOpenCustomUniqIDToken(ctx)
			return err == nil
		})
		return text
	}
	first := token()
	a, status := list[1].customer("id=me&token=" + first)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("a token of another gateway: status %d", status)
	}
	for _, g := range list {
		if _, status := g.customer("id=me&token=" + first); status != http.StatusBadRequest {
			t.Errorf("once more: status %d", status)
		}
	}
	b, status := list[0].customer("id=me&token=" + token())
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	wantEnd(t, a)
	c, status := list[1].customer("id=me&token=" + token())
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	wantEnd(t, b)
	if _, status = list[0].customer("id=other&token=" + token()); status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	err = w.Gateways()[0].ConnInfoUpdate(ctx, worker.ConnInfoUpdate{
		UniqID: "other", NewUniqID: "me", DataAsNewUniqIDExisted: []byte("farewell"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if last, err := io.ReadAll(c); err != nil || !strings.Contains(string(last), "farewell") {
		t.Errorf("who loses its id to one that a worker has renamed: %q, %v", last, err)
	}
}
