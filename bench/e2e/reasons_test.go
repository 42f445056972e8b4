package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A reasonsWorld is a gateway that can be brought to end connections for many reasons.
type reasonsWorld struct {
	*process
	t                         *testing.T
	plain, secure, proxied    string // addresses of its listeners
	cert                      *tls.Config
	dir, config, tokens, logs string
}

const reasonsTokens = "t-ann-secret ann\nt-bob-secret bob\nt-cid-secret cid\nt-dan-secret dan\nt-eve-secret eve\nt-fay-secret fay\n" +
	"t-gus-secret gus\nt-hal-secret hal\nt-ida-secret ida\nt-joe-secret joe\nt-kim-secret kim\nt-leo-secret leo\nt-max-secret max\n"

func startReasons(t *testing.T) *reasonsWorld {
	w := &reasonsWorld{t: t, dir: t.TempDir()}
	cert, key := certificate(t, w.dir)
	w.cert = trusting(t, cert)
	w.tokens, w.config, w.logs = filepath.Join(w.dir, "tokens"), filepath.Join(w.dir, "sluice.toml"), filepath.Join(w.dir, "access.log")
	writeFile(w.t, w.tokens, reasonsTokens)
	writeFile(w.t, w.config, "")
	w.process = startServe(t, "--config", w.config, "--dev", "--login", "tokens:"+w.tokens, "--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0",
		"--listen", "tcp://127.0.0.1:0?proxy=on", "--proxy-trust", "127.0.0.1", "--tls-cert", cert, "--tls-key", key,
		"--access-log", w.logs, "--log-level", "debug", "--log-format", "json",
		"--login-timeout", "1s", "--packet-timeout", "1s", "--proxy-timeout", "1s", "--tls-handshake-timeout", "10s", "--login-failures", "3/5m",
		"--max-packet", "64KiB", "--max-inflated", "32KiB", "--max-gzip-members", "2", "--user-limit", "1", "--open-worker", "9", "--wait-workers", "0s",
		"--backlog", "64KiB", "--lag", "64KiB", "--send-buffer", "4KiB", "--drain", "5s", "--close-timeout", "1s")
	var real struct{ Listen []string }
	if err := json.Unmarshal(w.ports, &real); err != nil {
		t.Fatal(err)
	}
	for i, to := range []*string{&w.plain, &w.secure, &w.proxied} {
		u, err := url.Parse(real.Listen[i])
		if err != nil {
			t.Fatal(err)
		}
		*to = u.Host
	}
	return w
}

// dial connects from an address of this machine.
func (w *reasonsWorld) dial(to, from string) *client {
	w.t.Helper()
	conn, err := fromHost(from).Dial("tcp", to)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &client{tb: w.t, mode: compact, conn: conn.(*net.TCPConn)}
	w.mu.Lock()
	w.clients = append(w.clients, c)
	w.mu.Unlock()
	return c
}

// ends waits for the end of a connection, whatever comes before it, and returns its name in the logs.
func (w *reasonsWorld) ends(c *client) string {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.conn); err != nil && !over(err) {
		w.t.Errorf("%v: %v", c.conn.LocalAddr(), err)
	}
	_ = c.conn.Close()
	return c.conn.LocalAddr().String()
}

// raw sends bytes and waits for the end.
func (w *reasonsWorld) raw(to string, b ...[]byte) string {
	c := w.dial(to, "127.0.0.1")
	_ = c.send(bytes.Join(b, nil))
	return w.ends(c)
}

// online is a GOSOC client that has logged in.
func (w *reasonsWorld) online(user string) *client {
	w.t.Helper()
	return w.login(w.t, compact, token("t-"+user+"-secret"))
}

// call asks the API.
func (w *reasonsWorld) call(path string, body any) {
	w.t.Helper()
	b, _ := json.Marshal(body)
	var real struct{ Admin string }
	_ = json.Unmarshal(w.ports, &real)
	r, err := http.NewRequest("POST", real.Admin+path, bytes.NewReader(b))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if status, text := answerTo(w.t, r); status != 200 {
		w.t.Fatalf("%s: %d %s", path, status, text)
	}
}

// reload changes the config file and has it read.
func (w *reasonsWorld) reload(config string) {
	w.t.Helper()
	writeFile(w.t, w.config, config)
	w.call("/api/v1/reload", struct{}{})
}

// An ending is a connection that has ended: what it is called, and why.
type ending struct{ peer, reason string }

// closed is what the API knows of ended connections.
func (w *reasonsWorld) closed() (list []ending) {
	w.t.Helper()
	_, text := w.admin(w.t, "/api/v1/closed?limit=1000")
	var page struct {
		Closed []struct{ Peer, Reason string }
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	for _, c := range page.Closed {
		list = append(list, ending{c.Peer, c.Reason})
	}
	return list
}

// logged is what lines of a log say of ended connections, and how many it says it has left out.
func (w *reasonsWorld) logged(text, message, event string) (list []ending) {
	w.t.Helper()
	for line := range strings.Lines(text) {
		var m struct{ Msg, Event, Peer, Reason, Protocol string }
		if json.Unmarshal([]byte(line), &m) == nil && m.Msg == message && m.Event == event && m.Protocol != "admin" {
			list = append(list, ending{m.Peer, m.Reason})
		}
	}
	return list
}

var closedSeries = regexp.MustCompile(`(?m)^sluice_connections_(?:closed|refused)_total\{reason="([a-z-]+)"\} (\d+)$`)

// counted is what the metrics count, by reason.
func (w *reasonsWorld) counted() map[string]int {
	w.t.Helper()
	_, page := w.admin(w.t, "/metrics")
	counts := make(map[string]int)
	for _, m := range closedSeries.FindAllStringSubmatch(page, -1) {
		n, _ := strconv.Atoi(m[2])
		if counts[m[1]] += n; counts[m[1]] == 0 {
			delete(counts, m[1])
		}
	}
	return counts
}

func byReason(list []ending) map[string]int {
	counts := make(map[string]int)
	for _, e := range list {
		counts[e.reason]++
	}
	return counts
}

// TestReasonsAgree: whatever ends a connection, the API, the log, the access log and the metrics say the
// same of it.
func TestReasonsAgree(t *testing.T) {
	t.Parallel()
	w := startReasons(t)
	hello := compact.connect(0, token("t-ann-secret"))
	upgrade := string(netsvrHead("GET", "/netsvr"))
	clientHello := unhex("160301002f0100002b0303" + strings.Repeat("ab", 32) + "000002130101000000")
	cases := []struct {
		reason string
		cause  func() string // returns the connection's name
	}{
		{"unknown-protocol", func() string { return w.raw(w.plain, unhex("ffffffff")) }},
		{"malformed", func() string { return w.raw(w.plain, compact.connect(0, token("t-kim-secret")), unhex("0000")) }},
		{"out-of-order", func() string { return w.raw(w.plain, hello, hello) }},
		{"too-large", func() string { return w.raw(w.plain, compact.connect(0, token("t-bob-secret")), unhex("62ffff7f")) }},
		{"inflated-too-large", func() string {
			m := mode{gzip: true}
			return w.raw(w.plain, m.connect(0, token("t-cid-secret")), m.ask(1, "sluice.Echo", `"`+strings.Repeat("x", 60<<10)+`"`))
		}},
		{"gzip-members", func() string {
			m := mode{gzip: true}
			return w.raw(w.plain, m.connect(0, token("t-dan-secret")), m.sendReq(1, 1, "sluice.Echo", bytes.Repeat(zip([]byte(`1`)), 5)))
		}},
		{"upgrade-refused", func() string { return w.raw(w.plain, []byte("GET /netsvr HTTP/1.1\r\nHost: x\r\n\r\n")) }},
		{"no-worker", func() string { return w.raw(w.plain, []byte(upgrade)) }},
		{"login-refused", func() string { return w.raw(w.plain, compact.connect(0, token("the-wrong-secret"))) }},
		{"login-timeout", func() string { return w.raw(w.plain) }},
		{"packet-timeout", func() string { return w.raw(w.plain, compact.connect(0, token("t-eve-secret")), unhex("62ff7f0001")) }},
		{"heartbeat-timeout", func() string { return w.raw(w.plain, compact.connect(1, token("t-fay-secret"))) }},
		{"client-close", func() string {
			return w.raw(w.plain, compact.connect(0, token("t-gus-secret")), compact.packet(disconnect, 0, []byte{0}))
		}},
		{"peer-closed", func() string {
			c := w.dial(w.plain, "127.0.0.1")
			_ = c.conn.CloseWrite()
			return w.ends(c)
		}},
		{"kicked-out", func() string {
			c := w.online("hal")
			defer w.online("hal")
			return c.conn.LocalAddr().String()
		}},
		{"user-limit", func() string {
			auth := "\x11\x09" + "\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x0e\x0a\x0ct-ida-secret"
			first := w.dial(w.plain, "127.0.0.1")
			_ = first.send([]byte(auth))
			_ = first.conn.SetReadDeadline(time.Now().Add(patience))
			_, _ = first.conn.Read(make([]byte, 1))
			return w.raw(w.plain, []byte(auth))
		}},
		{"disconnected", func() string {
			c := w.online("joe")
			w.call("/api/v1/disconnect", map[string]any{"user": "joe"})
			return c.conn.LocalAddr().String()
		}},
		{"forced-offline", func() string {
			c := w.online("leo")
			w.call("/api/v1/kick", map[string]any{"user": "leo"})
			return w.ends(c)
		}},
		{"session-taken-over", func() string {
			c := w.login(t, compact, `{"token":"t-max-secret","session":true}`)
			var session struct {
				ID string `json:"session_id"`
			}
			if err := json.Unmarshal([]byte(c.wantMessage(sendReq).payload), &session); err != nil {
				t.Error(err)
			}
			w.login(t, compact, fmt.Sprintf(`{"session_id":%q}`, session.ID))
			return w.ends(c)
		}},
		{"not-tls", func() string { return w.raw(w.secure, hello) }},
		{"tls-not-served", func() string { return w.raw(w.plain, clientHello) }},
		{"tls-handshake", func() string {
			c := w.dial(w.secure, "127.0.0.1")
			if tls.Client(c.conn, &tls.Config{ServerName: "other.example"}).Handshake() == nil {
				t.Error("a certificate of nobody was taken")
			}
			return w.ends(c)
		}},
		{"tls-timeout", func() string { return w.raw(w.secure, clientHello[:20]) }},
		{"tls-error", func() string {
			c := w.dial(w.secure, "127.0.0.1")
			if err := tls.Client(c.conn, w.cert).Handshake(); err != nil {
				t.Error(err)
			}
			_ = c.send(unhex("1703030020" + strings.Repeat("00", 32)))
			return w.ends(c)
		}},
		{"proxy-untrusted", func() string { return w.ends(w.dial(w.proxied, "127.0.0.3")) }},
		{"proxy-header", func() string { return w.raw(w.proxied, []byte("PROXY nonsense\r\n")) }},
		{"proxy-timeout", func() string { return w.raw(w.proxied, []byte("PROXY ")) }},
		{"login-banned", func() string {
			wrong := compact.connect(0, token("another-wrong-secret"))
			for range 3 {
				c := w.dial(w.plain, "127.0.0.4")
				_ = c.send(wrong)
				w.ends(c)
			}
			c := w.dial(w.plain, "127.0.0.4")
			_ = c.send(wrong)
			return w.ends(c)
		}},
	}
	got := make([]string, len(cases))
	var wg sync.WaitGroup
	for i, c := range cases {
		wg.Go(func() { got[i] = c.cause() })
	}
	wg.Wait()
	want := make(map[ending]bool)
	for i, c := range cases {
		want[ending{got[i], c.reason}] = true
	}
	// One after the other, since they are about all.
	want[ending{w.slowConsumer(), "slow-consumer"}] = true
	revoked := w.online("bob")
	writeFile(w.t, w.tokens, strings.Replace(reasonsTokens, "t-bob-secret bob\n", "", 1))
	w.call("/api/v1/reload", struct{}{})
	want[ending{w.ends(revoked), "login-revoked"}] = true
	holder := w.online("ann")
	for _, limit := range []struct{ config, reason string }{
		{"max-connections = 1\n", "too-many-clients"},
		{"max-connections-per-address = 1\n", "address-limit"},
		{"connect-rate = 1\n", "connect-rate"},
		{"connect-rate-per-address = 1\n", "address-connect-rate"},
	} {
		w.reload(limit.config)
		name := ""
		w.await(func() bool { // a rate has one in each second
			name = w.ends(w.dialAndLeave())
			return slices.ContainsFunc(w.closed(), func(e ending) bool { return e.peer == name && e.reason == limit.reason })
		}, limit.reason)
		want[ending{name, limit.reason}] = true
	}
	w.reload("")
	secure, err := loginTLS(w.secure, w.cert, "t-cid-secret")
	if err != nil {
		t.Fatal(err)
	}
	secure.conn.Close()
	want[ending{"203.0.113.7:1234", "client-close"}] = true // behind a proxy
	w.raw(w.proxied, []byte("PROXY TCP4 203.0.113.7 10.0.0.1 1234 80\r\n"), compact.connect(0, token("t-dan-secret")), compact.packet(disconnect, 0, []byte{0}))
	holder.hangUp()
	w.closeClients()

	var closed []ending
	w.await(func() bool { // all that have begun to end
		closed = w.closed()
		access, err := os.ReadFile(w.logs)
		if err != nil {
			t.Fatal(err)
		}
		return len(w.logged(string(access), "access", "close")) >= len(closed) && w.openDescriptors() <= w.descriptors
	}, "the ends of all")
	access, err := os.ReadFile(w.logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range []string{
		`"login":"tokens","resumed":false,"seconds":[0-9.]+,"tlsVersion":"TLS 1.3","tlsCipher":"TLS_[A-Z0-9_]+","tlsServerName":"localhost","tlsResumed":false}`,
		`"peer":"203.0.113.7:1234","via":"127.0.0.1:[0-9]+","listener":"tcp://[0-9.:]+","login":"tokens"`,
		`"user":"max","protocol":"gosoc","peer":"127.0.0.1:[0-9]+","listener":"tcp://[0-9.:]+","login":"session","resumed":true`,
	} {
		if !regexp.MustCompile(record).Match(access) {
			t.Errorf("the access log has no record like %s", record)
		}
	}
	sets := map[string][]ending{
		"access log": w.logged(string(access), "access", "close"),
		"log":        w.logged(w.stderr.String(), "connection ended", ""),
	}
	for name, list := range sets {
		if a, b := byReason(closed), byReason(list); !maps.Equal(a, b) {
			t.Errorf("the API has\n%v, the %s\n%v", a, name, b)
		}
	}
	if a, b := byReason(closed), w.counted(); !maps.Equal(a, b) {
		t.Errorf("the API has\n%v, the metrics\n%v", a, b)
	}
	sets["API"] = closed
	for e := range want {
		for name, list := range sets {
			if !slices.Contains(list, e) {
				i := slices.IndexFunc(list, func(other ending) bool { return other.peer == e.peer })
				t.Errorf("%s: the %s does not have %s of %s: %v", e.reason, name, e.reason, e.peer, list[max(i, 0)])
			}
		}
	}
	t.Logf("%d reasons in %d ends", len(byReason(closed)), len(closed))

	// And the last one, of which only the logs can tell.
	last := w.online("ann")
	name := last.conn.LocalAddr().String()
	w.signal(syscall.SIGTERM)
	w.ends(last)
	w.wantExit(0)
	access, _ = os.ReadFile(w.logs)
	for what, list := range map[string][]ending{
		"access log": w.logged(string(access), "access", "close"), "log": w.logged(w.stderr.String(), "connection ended", ""),
	} {
		if !slices.Contains(list, ending{name, "shutdown"}) {
			t.Errorf("the %s does not have the shutdown of %s", what, name)
		}
	}
	for _, secret := range []string{"-secret", "PRIVATE"} {
		if strings.Contains(string(access)+w.stderr.String(), secret) {
			t.Errorf("%q is in a log", secret)
		}
	}
}

// dialAndLeave is a client that connects and goes.
func (w *reasonsWorld) dialAndLeave() *client {
	c := w.dial(w.plain, "127.0.0.1")
	_ = c.conn.CloseWrite()
	return c
}

// slowConsumer subscribes, does not read, and is published to.
func (w *reasonsWorld) slowConsumer() string {
	w.t.Helper()
	c := w.online("ann")
	_ = c.conn.SetReadBuffer(4 << 10)
	c.subscribe("slow")
	name := c.conn.LocalAddr().String()
	data := fmt.Sprintf("%q", strings.Repeat("x", 32<<10))
	w.await(func() bool {
		w.call("/api/v1/publish", map[string]any{"topic": "slow", "payload": data})
		return slices.Contains(w.closed(), ending{name, "slow-consumer"})
	}, "the end of who does not read")
	c.hangUp()
	return name
}
