package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// workerAware is a link that has registered under id for requests and for who clients are.
func (p *process) workerAware(tb testing.TB, id int) *workerLink {
	tb.Helper()
	l := p.workerLink(tb)
	l.wantRegistered(workerMsg(nil).num(1, int64(id)).num(100, 1).num(101, 1))
	return l
}

// stringMap is a field of type map<string, string>.
func (f workerFields) stringMap(field int) map[string]string {
	all := make(map[string]string)
	for _, entry := range f.subs(field) {
		all[entry.text(1)] = entry.text(2)
	}
	return all
}

// wantWho checks fields 101 to 105.
func wantWho(tb testing.TB, what string, got workerFields, user, protocol, peer string, metadata, claims map[string]string) {
	tb.Helper()
	if got.text(101) != user || got.text(102) != protocol || got.text(103) != peer ||
		!maps.Equal(got.stringMap(104), metadata) || !maps.Equal(got.stringMap(105), claims) {
		tb.Errorf("%s: %q, %q, %q, %v, %v; want %q, %q, %q, %v, %v", what, got.text(101), got.text(102), got.text(103),
			got.stringMap(104), got.stringMap(105), user, protocol, peer, metadata, claims)
	}
}

// longbridgeAuth logs in with a token and metadata, in version 1 and protobuf.
func (p *process) longbridgeAuth(tb testing.TB, token string, metadata map[string]string) (c *client, status byte, body workerFields) {
	tb.Helper()
	c = p.dial(tb, modes[0])
	m := workerMsg(nil).text(1, token)
	for k, v := range metadata {
		m = m.bytes(2, workerMsg(nil).text(1, k).text(2, v))
	}
	c.write(append(unhex("1109"), longbridgeRequest(2, 1, m)...))
	status, body = c.longbridgeResponse()
	return c, status, body
}

func longbridgeRequest(cmd byte, id byte, body []byte) []byte {
	n := len(body)
	return append([]byte{1, cmd, 0, 0, 0, id, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// longbridgeResponse reads a response, whose body is a message.
func (c *client) longbridgeResponse() (status byte, body workerFields) {
	c.tb.Helper()
	status, b := c.longbridgeAnswer()
	body, err := workerParse(b)
	if err != nil {
		c.tb.Fatal(err)
	}
	return status, body
}

func (c *client) longbridgeAnswer() (status byte, body []byte) {
	c.tb.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	var head [10]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil || head[0] != 2 {
		c.tb.Fatalf("no response: %x, %v", head, err)
	}
	body = make([]byte, int(head[7])<<16|int(head[8])<<8|int(head[9]))
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.tb.Fatal(err)
	}
	return head[6], body
}

// A hs256 signs a token with a secret.
func hs256(secret string, claims map[string]any) string {
	b, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(b)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

const jwtSecret = "0123456789abcdef0123456789abcdef"

// startJWT runs a gateway whose logins are tokens that vouch for tier and roles, and tells worker 1
// who comes and goes.
func startJWT(t *testing.T, args ...string) *process {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(jwtSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	return startNetsvr(t, append([]string{"--login", "jwt:secret-file=" + secret + ",claims=tier,claims=roles",
		"--netsvr-login", "required", "--open-worker", "1", "--close-worker", "1"}, args...)...)
}

func annsToken() string {
	return hs256(jwtSecret, map[string]any{"sub": "ann", "exp": 4e9, "tier": "gold", "roles": []string{"a"}, "secret": "x"})
}

var annsClaims = map[string]string{"tier": "gold", "roles": `["a"]`}

// A worker that asks learns who a client is, on every protocol and in every message.
func TestIdentity(t *testing.T) {
	t.Parallel()
	p := startJWT(t)
	l := p.workerAware(t, 1)
	token := annsToken()
	info := func(id string, asked bool) workerFields {
		m := workerMsg(nil).text(1, id)
		link := l
		if asked { // a link that is not registered
			link, m = p.workerLink(t), m.num(101, 1)
		}
		return link.ask(workerConnInfo, m).textMap(1)[id]
	}
	none := map[string]string{}

	t.Run("gosoc", func(t *testing.T) {
		c := p.login(t, modes[0], fmt.Sprintf(`{"token":%q}`, token))
		peer := c.conn.LocalAddr().String()
		open := l.event(workerConnOpen)
		wantWho(t, "ConnOpen", open, "ann", "gosoc", peer, none, annsClaims)
		c.write(c.mode.ask(1, "x", "1"))
		r := l.event(workerRequest)
		if r.text(12) != "ann" || r.text(3) != "gosoc" || r.text(13) != peer || len(r[14]) != 0 || !maps.Equal(r.stringMap(15), annsClaims) {
			t.Errorf("Request: %v", r)
		}
		wantWho(t, "ConnInfo", info(open.text(1), false), "ann", "gosoc", peer, none, annsClaims)
		wantWho(t, "ConnInfo of a link without registration", info(open.text(1), true), "ann", "gosoc", peer, none, annsClaims)
		c.hangUp()
		wantWho(t, "ConnClose", l.event(workerConnClose), "ann", "gosoc", peer, none, annsClaims)
	})
	t.Run("longbridge", func(t *testing.T) {
		said := map[string]string{"accept-language": "zh-CN", "tier": "platinum, says the client"}
		c, status, auth := p.longbridgeAuth(t, token, said)
		if status != 0 {
			t.Fatal(status, auth)
		}
		peer := c.conn.LocalAddr().String()
		open := l.event(workerConnOpen)
		wantWho(t, "ConnOpen", open, "ann", "longbridge", peer, said, annsClaims)
		c.write(longbridgeRequest(9, 2, []byte("x")))
		r := l.event(workerRequest)
		if r.text(12) != "ann" || r.text(13) != peer || !maps.Equal(r.stringMap(14), said) || !maps.Equal(r.stringMap(15), annsClaims) {
			t.Errorf("Request: %v", r)
		}
		wantWho(t, "ConnInfo", info(open.text(1), false), "ann", "longbridge", peer, said, annsClaims)
		c.hangUp()
		wantWho(t, "ConnClose", l.event(workerConnClose), "ann", "longbridge", peer, said, annsClaims)

		// A session that is taken up keeps the claims; the client may say something else.
		c = p.dial(t, modes[0])
		again := map[string]string{"accept-language": "en"}
		m := workerMsg(nil).text(1, auth.text(1)).bytes(2, workerMsg(nil).text(1, "accept-language").text(2, "en"))
		c.write(append(unhex("1109"), longbridgeRequest(3, 1, m)...))
		if status, body := c.longbridgeResponse(); status != 0 {
			t.Fatal(status, body)
		}
		wantWho(t, "ConnOpen after Reconnect", l.event(workerConnOpen), "ann", "longbridge", c.conn.LocalAddr().String(), again, annsClaims)
		c.hangUp()
		l.event(workerConnClose)
	})
	t.Run("netsvr", func(t *testing.T) {
		c := p.netsvrOpen(t, "/netsvr?token="+token)
		peer := c.conn.LocalAddr().String()
		wantWho(t, "ConnOpen", l.event(workerConnOpen), "ann", "netsvr", peer, none, annsClaims)
		c.say("001x")
		wantWho(t, "Transfer", l.event(workerTransfer), "ann", "netsvr", peer, none, annsClaims)
		c.conn.Close()
		wantWho(t, "ConnClose", l.event(workerConnClose), "ann", "netsvr", peer, none, annsClaims)
	})
}

// A worker that does not ask gets, byte for byte, what netsvr sends.
func TestIdentityUnasked(t *testing.T) {
	t.Parallel()
	p := startJWT(t)
	l := p.workerFor(t, 1) // as netsvr's SDKs do it
	body := func(cmd uint32) []byte {
		t.Helper()
		a, ok := l.take(&l.events, patience)
		if !ok || a.cmd != cmd {
			t.Fatalf("got %d, want %d", a.cmd, cmd)
		}
		return a.body
	}
	want := func(what string, got []byte, m workerMsg) {
		t.Helper()
		if string(got) != string(m) {
			t.Errorf("%s: %x, want %x", what, got, []byte(m))
		}
	}
	c := p.netsvrOpen(t, "/netsvr?token="+annsToken())
	open := body(workerConnOpen)
	f, err := workerParse(open)
	if err != nil {
		t.Fatal(err)
	}
	id := f.text(1)
	want("ConnOpen", open, workerMsg(nil).text(1, id).text(2, "token="+annsToken()).text(4, "127.0.0.1"))
	c.say("001hello")
	want("Transfer", body(workerTransfer), workerMsg(nil).text(1, id).text(3, "hello"))
	l.send(workerConnInfo, workerList(id))
	a, _ := l.take(&l.answers, patience)
	want("ConnInfo", a.body, workerMsg(nil).bytes(1, workerMsg(nil).text(1, id).bytes(2, nil)))
	c.conn.Close()
	want("ConnClose", body(workerConnClose), workerMsg(nil).text(1, id))
	// A request that nobody asked for becomes a Transfer.
	g := p.login(t, modes[0], fmt.Sprintf(`{"token":%q}`, annsToken()))
	body(workerConnOpen)
	g.write(g.mode.ask(1, "x", "payload"))
	got, err := workerParse(body(workerTransfer))
	if err != nil || len(got) != 2 || got.text(3) != "payload" {
		t.Errorf("Transfer: %v, %v", got, err)
	}
}

// A client cannot say more of itself than there is room for, and is told so.
func TestIdentityBounds(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--max-login-metadata", "1KiB", "--max-session-text", "100", "--open-worker", "1")
	l := p.workerAware(t, 1)
	c, status, _ := p.longbridgeAuth(t, "ann", map[string]string{"k": strings.Repeat("v", 1024-64-1)})
	if status != 0 {
		t.Fatalf("as much as may be: status %d", status)
	}
	id := l.event(workerConnOpen).text(1)
	for name, said := range map[string]map[string]string{
		"long": {"k": strings.Repeat("v", 1024-64)},
		"many": func() map[string]string {
			m := make(map[string]string)
			for i := range 17 {
				m[fmt.Sprint(i)] = ""
			}
			return m
		}(),
	} {
		_, status, e := p.longbridgeAuth(t, "ann", said)
		if status != 3 || e.num(1) != 400 || !strings.Contains(e.text(2), "metadata") {
			t.Errorf("%s: status %d, %v", name, status, e)
		}
	}
	// The same for the session text.
	set := func(text string) {
		t.Helper()
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, text))
	}
	memory := func() string { return p.metric(t, `sluice_memory_bytes{kind="identity"}`) }
	set(strings.Repeat("s", 100))
	l.wantInfo(id, strings.Repeat("s", 100))
	p.await(func() bool { return memory() == "1124" }, "the session text and the metadata on the account, not "+memory())
	set(strings.Repeat("t", 101))
	l.wantInfo(id, strings.Repeat("s", 100))
	if got := p.metric(t, "sluice_session_texts_refused_total"); got != "1" || !strings.Contains(p.stderr.String(), "session text not changed") {
		t.Errorf("%s session texts are counted as refused", got)
	}
	c.hangUp()
	p.await(func() bool { return memory() == "0" }, "an empty account, not "+memory())
}

// The HTTP provider may vouch for something, too.
func TestIdentityFromHTTP(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"user":"bob","session":"s","claims":{"tier":"silver","limit":7}}`)
	}))
	srv.Config.SetKeepAlivesEnabled(false) // the gateway is to have no descriptor left
	t.Cleanup(srv.Close)
	p := startNetsvr(t, "--login", srv.URL, "--open-worker", "1")
	l := p.workerAware(t, 1)
	c := p.login(t, modes[0], token("whatever"))
	wantWho(t, "ConnOpen", l.event(workerConnOpen), "bob", "gosoc", c.conn.LocalAddr().String(),
		map[string]string{}, map[string]string{"tier": "silver", "limit": "7"})
}

// userConns are the uniqIds of a user's connections, sorted, by protocol.
func (l *workerLink) userConns(user string) (n int64, ids map[string][]string) {
	l.tb.Helper()
	item := l.ask(workerUserConnList, workerList(user)).textMap(2)[user]
	ids = make(map[string][]string)
	for _, c := range item.subs(2) {
		ids[c.text(3)] = append(ids[c.text(3)], c.text(1))
		slices.Sort(ids[c.text(3)])
	}
	return item.num(1), ids
}

// Workers address all connections of a user, whatever they speak.
func TestUserCommands(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--netsvr-login", "required", "--open-worker", "1", "--gosoc-logins", "many")
	l, pool := p.workerFor(t, 1), p.workerLink(t)
	open := func() string { return l.event(workerConnOpen).text(1) }
	w := p.netsvrOpen(t, "/netsvr?token=ann")
	idW := open()
	g1 := p.login(t, modes[0], token("ann"))
	idG1 := open()
	g2 := p.login(t, modes[0], token("ann"))
	idG2 := open()
	b, _, _ := p.longbridgeAuth(t, "ann", nil)
	idB := open()
	other := p.login(t, modes[0], token("bob"))
	idOther := open()
	anonymous := p.login(t, modes[0], "")
	open()

	n, ids := pool.userConns("ann")
	gosocs := []string{idG1, idG2}
	slices.Sort(gosocs)
	if n != 4 || !slices.Equal(ids["netsvr"], []string{idW}) || !slices.Equal(ids["gosoc"], gosocs) || !slices.Equal(ids["longbridge"], []string{idB}) {
		t.Errorf("ann has %d connections: %v", n, ids)
	}
	counts := pool.ask(workerUserConnList, workerList("ann", "bob", "nobody", "").num(2, 1)).textMap(2)
	if len(counts) != 2 || counts["ann"].num(1) != 4 || counts["bob"].num(1) != 1 || len(counts["ann"][2]) != 0 {
		t.Errorf("online: %v", counts)
	}
	everywhere := func(route, text string) {
		t.Helper()
		w.wantText(text)
		g1.wantPush(route, text)
		g2.wantPush(route, text)
		b.wantLongbridgePush(text)
	}
	pool.send(workerPush, workerMsg(nil).text(6, "ann", "", "nobody").text(3, "r").text(5, "hi"))
	everywhere("r", "hi")
	pool.send(workerPush, workerMsg(nil).text(1, idOther).text(6, "bob").text(5, "twice"))
	other.wantPush("push", "twice")
	other.wantPush("push", "twice")
	pool.send(workerUserSubscribe, workerMsg(nil).text(1, "ann").text(2, "t", "u").text(3, "subscribed"))
	everywhere("push", "subscribed")
	pool.send(workerTopicPublish, workerCast("t", "to t"))
	everywhere("push", "to t")
	pool.send(workerUserUnsubscribe, workerMsg(nil).text(1, "ann").text(2, "t").text(3, "unsubscribed"))
	everywhere("push", "unsubscribed")
	pool.wantTopics("u")
	for _, cmd := range []uint32{workerUserForceOffline, workerUserSubscribe, workerUserUnsubscribe} {
		pool.send(cmd, workerMsg(nil).text(1, "").text(2, "t").text(3, "nobody"))
		pool.send(cmd, workerMsg(nil).text(1, "nobody").text(2, "t").text(3, "nobody"))
		pool.send(cmd, nil)
		pool.send(cmd, workerMsg{0x0a})
	}
	pool.wantAlive()
	pool.send(workerUserForceOffline, workerMsg(nil).text(1, "ann"))
	for _, c := range []*client{g1, g2, b} {
		c.wantGone()
	}
	if n, ids := pool.userConns("ann"); n != 0 || len(ids) != 0 {
		t.Errorf("ann has %d connections after she was sent away: %v", n, ids)
	}
	for _, c := range []*client{other, anonymous} {
		c.write(c.mode.ping())
		c.wantPong()
	}
}

// wantGone reads until the gateway has ended the connection.
func (c *client) wantGone() {
	c.tb.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.r); err != nil && !over(err) {
		c.tb.Fatalf("the connection has not ended: %v", err)
	}
}

// With --gosoc-logins one, which is the default, a new connection closes the older.
func TestGosocLogins(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	old := p.login(t, modes[0], token("ann"))
	p.login(t, modes[0], token("ann"))
	old.wantDisconnect(1)
	if code, _, got := run(t, "check", "--login", "open", "--gosoc-logins", "two"); code == 0 || !strings.Contains(got, "--gosoc-logins") {
		t.Errorf("two: %d %q", code, got)
	}
}

// --session-from user makes the user the session text, for workers that know nothing of users.
func TestSessionFromUser(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--session-from", "user", "--netsvr-login", "required", "--open-worker", "1", "--close-worker", "1")
	l := p.workerFor(t, 1)
	c := p.netsvrOpen(t, "/netsvr?token=ann")
	id := l.event(workerConnOpen).text(1)
	c.say("001x")
	l.wantTransferOf(id, "ann", "x")
	l.wantInfo(id, "ann")
	l.send(workerForceOfflineGuest, workerMsg(nil).text(1, id)) // she is no guest
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "mine"))
	l.wantInfo(id, "mine")
	l.send(workerConnInfoDelete, workerMsg(nil).text(1, id).num(3, 1))
	l.wantInfo(id, "")
	c.conn.Close()
	l.wantClosed(id, "")
	// Who has no user is a guest still.
	g := p.login(t, modes[0], "")
	id = l.event(workerConnOpen).text(1)
	l.wantInfo(id, "")
	g.hangUp()
	l.wantClosed(id, "")
}

// admin sends a GET to the admin listener. headers are names and values in turn.
func (p *process) admin(tb testing.TB, path string, headers ...string) (status int, body string) {
	tb.Helper()
	r, err := http.NewRequest(http.MethodGet, p.adminURL(tb)+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Close = true
	return answerTo(tb, r)
}

// answerTo sends a request and returns what is answered.
func answerTo(tb testing.TB, r *http.Request) (status int, body string) {
	tb.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metric is the value of a time series, as text.
func (p *process) metric(tb testing.TB, series string) string {
	tb.Helper()
	_, page := p.admin(tb, "/metrics", "Authorization", "Bearer "+operatorToken)
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// vendorSignature signs a call for a token as the vendor's published Go and Rust SDKs do.
func vendorSignature(path, query, key, authorization, timestamp, secret string) string {
	const names = "authorization;x-api-key;x-timestamp"
	text := fmt.Sprintf("GET|%s|%s|authorization:%s\nx-api-key:%s\nx-timestamp:%s\n|%s|", path, query, authorization, key, timestamp, names)
	digest := sha1.Sum([]byte(text))
	h := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(h, "HMAC-SHA256|%x", digest)
	return fmt.Sprintf("HMAC-SHA256 SignedHeaders=%s, Signature=%x", names, h.Sum(nil))
}

// otherDigit is a hexadecimal digit other than b, whatever its case.
func otherDigit(b byte) string {
	if b == '0' {
		return "1"
	}
	return "0"
}

// Users call for tokens with keys of their own, as the vendor's SDKs do.
func TestTokenUsers(t *testing.T) {
	t.Parallel()
	file := tokensFile(t, "kann ann\nkbob bob s3cret")
	p := startNetsvr(t, "--login", "otp", "--token-users", file, "--api-key", "operator")
	now := func(off time.Duration) string { return fmt.Sprint(time.Now().Add(off).UnixMilli()) }
	type answer struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			OTP    string `json:"otp"`
			Limit  int    `json:"limit"`
			Online *int   `json:"online"`
		} `json:"data"`
	}
	call := func(path string, headers ...string) (int, answer) {
		t.Helper()
		status, body := p.admin(t, path, headers...)
		var a answer
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%s: %q, %v", path, body, err)
		}
		return status, a
	}
	// logsIn takes a token to the gateway and says whose it is.
	want := func(user, path string, headers ...string) {
		t.Helper()
		status, a := call(path, headers...)
		if status != 200 || a.Code != 0 || a.Data.OTP == "" || a.Data.Limit != 10 || a.Data.Online == nil || *a.Data.Online != 0 {
			t.Fatalf("%s %q: %d %+v", path, headers, status, a)
		}
		c, granted, body := p.longbridgeAuth(t, a.Data.OTP, nil)
		if granted != 0 {
			t.Fatalf("the token of %s: status %d, %v", user, granted, body)
		}
		if got, body := p.admin(t, "/api/v1/online?user="+user, "X-Api-Key", "operator"); got != 200 || body != fmt.Sprintf(`{"user":%q,"online":1}`+"\n", user) {
			t.Errorf("online: %d %q", got, body)
		}
		c.hangUp()
		p.await(func() bool {
			_, b := p.admin(t, "/api/v1/online?user="+user, "X-Api-Key", "operator")
			return strings.Contains(b, `"online":0`)
		}, "the end of "+user)
	}
	refused := func(what string, status, code int, path string, headers ...string) {
		t.Helper()
		if got, a := call(path, headers...); got != status || a.Code != code || a.Message == "" || a.Data.OTP != "" {
			t.Errorf("%s: %d %+v, want %d, code %d", what, got, a, status, code)
		}
	}
	signed := func(path, query string, at string) []string {
		target := path
		if query != "" {
			target += "?" + query
		}
		return []string{target, "x-api-key", "kbob", "authorization", "access token", "x-timestamp", at,
			"x-api-signature", vendorSignature(path, query, "kbob", "access token", at, "s3cret")}
	}
	for _, path := range []string{"/v1/socket/token", "/v2/socket/token"} {
		want("ann", path, "x-api-key", "kann", "authorization", "any", "x-timestamp", now(0), "x-api-signature", "HMAC-SHA256 SignedHeaders=x, Signature=00")
		b := signed(path, "", now(0))
		want("bob", b[0], b[1:]...)
	}
	b := signed("/v1/socket/token", "user=bob&x=%20", fmt.Sprintf("%.3f", float64(time.Now().UnixMilli())/1000))
	want("bob", b[0], b[1:]...)

	const path = "/v2/socket/token"
	refused("unknown key", 403, 403203, path, "x-api-key", "kcid")
	refused("operator's key without a user", 400, 400, path, "x-api-key", "operator")
	refused("no key", 401, 401, path)
	refused("another user", 403, 403, path+"?user=bob", "x-api-key", "kann")
	refused("unsigned", 403, 403201, path, "x-api-key", "kbob", "authorization", "Bearer x")
	for what, change := range map[string]func(h []string){
		"another path":   func(h []string) { h[0] = "/v1/socket/token" },
		"another query":  func(h []string) { h[0] += "?a=b" },
		"another token":  func(h []string) { h[4] = "x" },
		"another time":   func(h []string) { h[6] = now(time.Second) },
		"half of it":     func(h []string) { h[8] = h[8][:len(h[8])-2] },
		"another digit":  func(h []string) { h[8] = h[8][:len(h[8])-1] + otherDigit(h[8][len(h[8])-1]) },
		"another method": func(h []string) { h[8] = strings.Replace(h[8], "SHA256", "SHA1", 1) },
		"time not signed": func(h []string) {
			h[8] = strings.Replace(h[8], ";x-timestamp", "", 1)
		},
	} {
		h := signed(path, "", now(0))
		change(h)
		refused(what, 403, 403201, h[0], h[1:]...)
	}
	for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
		h := signed(path, "", now(off))
		refused("a clock that is off", 403, 403201, h[0], h[1:]...)
	}
	want("cid", path+"?user=cid", "x-api-key", "operator")
	want("cid", path+"?user=cid", "authorization", "Bearer operator")

	// The file is read again, whole or not at all.
	reloads := 0
	reload := func(text string) {
		t.Helper()
		writeTokens(t, file, text)
		reloads++
		p.signal(syscall.SIGHUP)
		p.await(func() bool { return strings.Count(p.stderr.String(), "reload") == reloads }, "the reload")
	}
	reload("knew ann")
	refused("a key that is gone", 403, 403203, path, "x-api-key", "kann")
	want("ann", path, "x-api-key", "knew")
	reload("a b c d")
	if !strings.Contains(p.stderr.String(), "reload failed") {
		t.Error("a bad file was taken")
	}
	want("ann", path, "x-api-key", "knew")
	for _, bad := range [][]string{
		{"--login", "open", "--token-users", file}, {"--login", "otp", "--token-users", file},
		{"--login", "otp", "--token-users", filepath.Join(t.TempDir(), "none")},
		{"--login", "otp", "--admin", "none", "--token-users", file}, {"--login", "otp", "--token-skew", "0s"},
	} {
		if code, _, stderr := run(t, append([]string{"check"}, bad...)...); code != 2 || !strings.Contains(stderr, "--token-") {
			t.Errorf("check %q: %d %q", bad, code, stderr)
		}
	}
}
