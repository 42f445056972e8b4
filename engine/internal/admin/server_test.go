package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime/trace"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// patience is how long a test waits for what must come, and never is for timers that must not run
// out meanwhile, however long the machine stands still.
const (
	patience = 30 * time.Second
	never    = 5 * time.Minute
)

// start runs a whole gateway with one-time tokens, its clients on one port and its operators on
// another.
func start(t *testing.T, edit func(*server.Config)) *server.Server {
	t.Helper()
	otp, err := login.NewOTP(login.OTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	config := server.Config{
		Listen:       []string{"tcp://127.0.0.1:0"},
		WorkerListen: "tcp://127.0.0.1:0",
		Dev:          true,
		Engine:       engine.Config{Loops: 2},
		Gateway:      gateway.Config{Login: otp, LoginTimeout: never, RequestTimeout: never},
		Admin:        admin.Config{Address: "127.0.0.1:0", Version: "v0.0.0-test"},
	}
	if edit != nil {
		edit(&config)
	}
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if s.AdminURL() != "" {
		t.Errorf("serves operators at %s before Start", s.AdminURL())
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// startWithRoles runs a gateway whose operators have the tokens full-token-0123456789 and
// read-token-0123456789, of these roles.
func startWithRoles(t *testing.T) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("full full-token-0123456789\nread read-token-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := server.NewAdminTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, func(c *server.Config) { c.Gateway.Login, c.Admin.Tokens = login.Open{}, tokens })
}

var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// fetch gets a page of the admin listener; status 0 means that nobody answers.
func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := web.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

func wantStatus(t *testing.T, url string, status int, part string) {
	t.Helper()
	if got, body := fetch(t, url); got != status || !strings.Contains(body, part) {
		t.Errorf("%s: %d %q, want %d %q", url, got, body, status, part)
	}
}

// otpFor asks for a token over HTTP.
func otpFor(t *testing.T, s *server.Server, user string) string {
	t.Helper()
	_, body := fetch(t, s.AdminURL()+"/v2/socket/token?user="+user)
	var answer struct {
		Code int
		Data struct{ OTP string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Code != 0 || answer.Data.OTP == "" {
		t.Fatalf("token for %s: %s", user, body)
	}
	return answer.Data.OTP
}

// connect logs a GOSOC client in and returns the code of its ConnAck.
func connect(t *testing.T, s *server.Server, token string) (net.Conn, gosoc.ReturnCode) {
	t.Helper()
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	addr, _, _ = strings.Cut(addr, "?")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	payload, _ := json.Marshal(map[string]string{"token": token})
	packet, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	h, body := readPacket(t, c)
	ack, err := gosoc.Compact.DecodeConnAck(h, body)
	if err != nil {
		t.Fatal(err)
	}
	return c, ack.Code
}

func readPacket(t *testing.T, c net.Conn) (gosoc.Header, []byte) {
	t.Helper()
	var b []byte
	for {
		one := make([]byte, 1)
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatal(err)
		}
		b = append(b, one[0])
		h, err := gosoc.Compact.ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 && len(b) == h.Size+h.Remaining {
			return h, b[h.Size:]
		}
	}
}

// call sends a request and waits for the answer, whose payload it returns.
func call(t *testing.T, c net.Conn, route, payload string) string {
	t.Helper()
	packet, err := gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{ID: 7, Level: gosoc.LevelReply, Route: []byte(route), Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	for {
		h, body := readPacket(t, c)
		if h.Type != gosoc.TypeSendResp {
			continue
		}
		resp, err := gosoc.Compact.DecodeSendResp(h, body)
		if err != nil {
			t.Fatal(err)
		}
		return string(resp.Payload)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// TestLoginByToken: a token got over HTTP logs one client in, once.
func TestLoginByToken(t *testing.T) {
	s := start(t, nil)
	wantStatus(t, s.AdminURL()+"/readyz", 200, "ok\n")
	token := otpFor(t, s, "ann")
	c, code := connect(t, s, token)
	if code != gosoc.Accepted {
		t.Fatalf("ConnAck %d for a fresh token", code)
	}
	if got := call(t, c, "sluice.Whoami", ""); !strings.Contains(got, `"user":"ann"`) {
		t.Errorf("logged in as %s", got)
	}
	if _, code := connect(t, s, token); code != 6 {
		t.Errorf("ConnAck %d for a used token, want 6", code)
	}
	if _, code := connect(t, s, strings.Repeat("0", 32)); code != 6 {
		t.Errorf("ConnAck %d for a guessed token, want 6", code)
	}
	call(t, c, "sluice.Subscribe", `{"topics":["news"]}`)
	call(t, c, "sluice.Publish", `{"topic":"news","data":1}`)
	for _, line := range []string{
		"\nsluice_connections 1\n", "\nsluice_clients{protocol=\"gosoc\"} 1\n", "\nsluice_connections_accepted_total 3\n",
		"\nsluice_logins_total{outcome=\"ok\"} 1\n", "\nsluice_logins_total{outcome=\"refused\"} 2\n",
		"\nsluice_connections_closed_total{reason=\"login-refused\"} 2\n", "\nsluice_topics 1\n", "\nsluice_requests_total 3\n",
		"\nsluice_publishes_total 1\n", "\nsluice_deliveries_total 1\n", "\nsluice_received_packets_total 6\n", // 3 Connect, 3 SendReq
		"\nsluice_sent_packets_total 7\n", // 3 ConnAck, 3 SendResp, 1 push
		"\nsluice_token_calls_total{outcome=\"issued\"} 1\n", "\nsluice_tokens 0\n", "\nsluice_worker_links 0\n",
	} {
		waitFor(t, line, func() bool { // some count when the client knows already
			_, text := fetch(t, s.AdminURL()+"/metrics")
			return strings.Contains(text, line)
		})
	}
	wantStatus(t, s.AdminURL()+"/api/v1/stats", 200, `"clients":{"gosoc":1,`)
}

var value = regexp.MustCompile(` \S+\n`)

// seriesOf returns the names and labels of a page, without its values.
func seriesOf(page string) string { return value.ReplaceAllString(page, "\n") }

// TestLabelsAreNotFromTheWire: whatever clients send, the series stay the same.
func TestLabelsAreNotFromTheWire(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.Login = login.Open{} })
	_, before := fetch(t, s.AdminURL()+"/metrics")
	for i := range 5 {
		c, code := connect(t, s, fmt.Sprintf("user-%d\"}\n", i)[:6])
		if code != gosoc.Accepted {
			t.Fatalf("ConnAck %d", code)
		}
		call(t, c, fmt.Sprintf("route.%d\"} 1", i), `{}`)
		call(t, c, "sluice.Subscribe", fmt.Sprintf(`{"topics":["topic-%d\"}"]}`, i))
		c.Close()
	}
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	for _, hello := range []string{"GET /strange HTTP/1.1\r\nHost: x\r\n\r\n", "\xff\xfe", "BREW / HTTP/1.1\r\n\r\n"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, hello)
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	waitFor(t, "the connections to be gone", func() bool { return s.Engine().Stats().Connections == 0 })
	_, after := fetch(t, s.AdminURL()+"/metrics")
	if seriesOf(before) != seriesOf(after) {
		was := strings.Split(seriesOf(before), "\n")
		for _, line := range strings.Split(seriesOf(after), "\n") {
			if !slices.Contains(was, line) {
				t.Errorf("new series %s", line)
			}
		}
	}
}

// TestDialectsNameTheirProtocol: clients are counted by what comes before a dialect's first hyphen.
func TestDialectsNameTheirProtocol(t *testing.T) {
	for _, d := range start(t, nil).Engine().Config().Dialects {
		name, _, _ := strings.Cut(d.Name, "-")
		if !slices.Contains([]string{"gosoc", "longbridge", "netsvr"}, name) {
			t.Errorf("dialect %s names no protocol", d.Name)
		}
	}
}

// TestReadyOfBacklog: more unsent bytes than allowed, and no new clients should come.
func TestReadyOfBacklog(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Engine.BacklogTotal = 1000 })
	c, _ := connect(t, s, otpFor(t, s, "ann"))
	call(t, c, "sluice.Subscribe", `{"topics":["news"]}`)
	p := s.Engine().NewPublisher()
	if err := p.Publish([]byte("news"), engine.Push{Route: "push", Payload: make([]byte, 4000)}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, s.AdminURL()+"/readyz", 503, "memory: ")
	p.Flush()
	waitFor(t, "the backlog to be gone", func() bool {
		status, _ := fetch(t, s.AdminURL()+"/readyz")
		return status == 200
	})
}

// TestDrain: while clients are sent away, operators can watch.
func TestDrain(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Engine.Linger = never })
	url := s.AdminURL()
	client, code := connect(t, s, otpFor(t, s, "ann")) // does not hang up when asked to, for a while
	if code != gosoc.Accepted {
		t.Fatalf("ConnAck %d", code)
	}
	slow := make(chan int)
	go func() {
		resp, err := http.Get(url + "/debug/pprof/trace?seconds=300")
		if err != nil {
			slow <- 0
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		slow <- resp.StatusCode
	}()
	silent, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	waitFor(t, "the trace to begin", trace.IsEnabled)

	stopped := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- s.Stop(ctx)
	}()
	waitFor(t, "the gateway to drain", s.Gateway().Draining)
	wantStatus(t, url+"/readyz", 503, "draining\n")
	wantStatus(t, url+"/livez", 200, "ok\n")
	wantStatus(t, url+"/metrics", 200, "\nsluice_ready 0\n")
	wantStatus(t, url+"/api/v1/stats", 200, `"notReady":["draining"]`)
	begun := time.Now()
	client.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("took %v to stop: a trace must not hold it up", took)
	}
	if status := <-slow; status != 200 {
		t.Errorf("the trace under way ended with status %d", status)
	}
	if status, body := fetch(t, url+"/livez"); status != 0 {
		t.Errorf("still serves: %d %s", status, body)
	}
}

func TestStartFailsWhenThePortIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: gateway.Config{Login: login.Open{}},
		Admin:   admin.Config{Address: ln.Addr().String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "Admin: ") {
		t.Errorf("%v", err)
	}
	if n := s.Engine().Connections(); n != 0 || len(s.Addrs()) != 0 {
		t.Errorf("%d connections, listeners %v", n, s.Addrs())
	}
}

func TestBigHeadersAreRefused(t *testing.T) {
	s := start(t, nil)
	r, _ := http.NewRequest("GET", s.AdminURL()+"/livez", nil)
	r.Header.Set("X-Big", strings.Repeat("x", 64<<10))
	resp, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestBodyThatNeverComes: a request that announces a body and sends none is answered and cut off.
func TestBodyThatNeverComes(t *testing.T) {
	s := start(t, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.AdminURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	_, _ = io.WriteString(c, "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 405 ")) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestBlockedLoop: what does not return on a loop fails /livez and /readyz while it lasts.
func TestBlockedLoop(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.Admin.Stall = 100 * time.Millisecond })
	status := func(path string) (int, string) {
		resp, err := http.Get(s.AdminURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	release := make(chan struct{})
	s.Engine().TellLoop(1, func() { <-release })
	for _, path := range []string{"/livez", "/readyz"} {
		waitFor(t, path+" to fail", func() bool {
			code, text := status(path)
			return code == http.StatusServiceUnavailable && strings.Contains(text, "loop 1 stands still")
		})
	}
	close(release)
	waitFor(t, "/livez to be well again", func() bool { code, _ := status("/livez"); return code == http.StatusOK })
}
