package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A secret of the tests: none of these words may come out of the gateway anywhere.
func planted(what string) string { return "planted-" + what + "-7f3a9c1e" }

// plantedJWT is signed with a planted secret.
func plantedJWT(user string) string {
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(`{"exp":4102444800,"sub":"`+user+`"}`))
	mac := hmac.New(sha256.New, []byte(strings.Repeat(planted("jwt-secret"), 2)))
	mac.Write([]byte(text))
	return text + "." + enc.EncodeToString(mac.Sum(nil))
}

// TestPlantedSecrets: what opens a door, wherever it was given, is in no line of a log at level debug, in no
// metric, in nothing that the API shows, in no output of a command, and in no text of an error.
func TestPlantedSecrets(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Token string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		if _, password, _ := r.BasicAuth(); password != planted("url-password") {
			t.Errorf("the login service is shown the password %q", password)
		}
		switch q.Token {
		case planted("client-token"):
			_, _ = io.WriteString(w, `{"user":"ann"}`)
		case planted("token-without-verdict"):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(service.Close)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("key") != planted("collector-key") {
			t.Error("the collector is not shown its key")
		}
		w.WriteHeader(http.StatusBadRequest) // so that the log has something to say
	}))
	t.Cleanup(collector.Close)
	withPassword := func(text, path string) string {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.Path = url.UserPassword("sluice", planted("url-password")), path
		return u.String()
	}
	for _, tt := range []struct {
		name, token string
		login       func(dir string) string
	}{
		{"tokens", planted("client-token"), func(dir string) string {
			writeFile(t, filepath.Join(dir, "tokens"), planted("client-token")+" ann\n"+planted("other-token")+" bob\n")
			return "tokens:" + filepath.Join(dir, "tokens")
		}},
		{"jwt", plantedJWT("ann"), func(dir string) string {
			writeFile(t, filepath.Join(dir, "secret"), strings.Repeat(planted("jwt-secret"), 2))
			return "jwt:secret-file=" + filepath.Join(dir, "secret")
		}},
		{"http", planted("client-token"), func(string) string { return withPassword(service.URL, "/login") }},
		{"otp", "", func(string) string { return "otp" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := func(name, text string) string {
				name = filepath.Join(dir, name)
				writeFile(t, name, text)
				return name
			}
			key := sha256.Sum256([]byte(planted("session-key")))
			cert, tlsKey := certificate(t, dir)
			args := []string{
				"--dev", "--login", tt.login(dir), "--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", tlsKey,
				"--admin-token", file("operators", "full "+planted("operator")+"\nread "+planted("reader")+"\n"),
				"--api-key", planted("api-key"), "--worker-token", file("workers", planted("worker-token")+"\n"),
				"--session-key", file("session-key", hex.EncodeToString(key[:])+"\n"), "--otlp", withPassword(collector.URL, "") + "?key=" + planted("collector-key"),
				"--log-level", "debug", "--access-log", filepath.Join(dir, "access.log"),
			}
			if tt.name == "otp" {
				args = append(args, "--token-users", file("users", planted("user-key")+" ann "+planted("user-secret")+"\n"))
			}
			w := &vault{process: startServe(t, args...), t: t, dir: dir, args: args}
			w.live(tt.token)
			w.search()
		})
	}
}

// A vault is a gateway that was given secrets, and what has come out of it.
type vault struct {
	*process
	t       *testing.T
	dir     string
	args    []string
	found   map[string]string // texts that came out, by where
	secrets []string          // beside those that are planted: what the gateway has made itself
}

// call asks the admin listener as an operator does.
func (w *vault) call(method, path, token, body string) string {
	w.t.Helper()
	r, err := http.NewRequest(method, w.adminURL(w.t)+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	status, text := answerTo(w.t, r)
	return fmt.Sprint(status, " ", text)
}

// live has clients, workers and operators come, with good secrets and bad ones.
func (w *vault) live(good string) {
	t := w.t
	w.found = make(map[string]string)
	if good == "" { // one-time tokens
		for _, key := range []string{planted("api-key"), planted("user-key"), planted("wrong-key")} {
			w.found["the answer to a call for a token with "+key[:14]] = w.call("GET", "/v1/socket/token?user=ann", key, "")
		}
		var answer struct{ Data struct{ OTP string } }
		_, text, _ := strings.Cut(w.call("GET", "/v1/socket/token?user=ann", planted("api-key"), ""), " ")
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Data.OTP == "" {
			t.Fatalf("no token: %s", text)
		}
		clear(w.found) // which hold tokens, for whoever has the key
		good = answer.Data.OTP
	}
	w.secrets = append(w.secrets, good, good[max(len(good)-40, 0):])

	// GOSOC: refused ones, a good one with a ticket, and its ticket again and again.
	refused := func(payload string) {
		c := w.dial(t, compact)
		c.write(compact.connect(0, payload))
		if got := c.want(connAck); got.body[1] == accepted {
			t.Errorf("%s was accepted", payload)
		}
		c.wantEOF()
	}
	refused(fmt.Sprintf(`{"token":%q,"password":%q,"auth_key":%q}`, planted("wrong-token"), planted("password"), planted("auth-key")))
	refused(fmt.Sprintf(`{"token":%q}`, planted("token-without-verdict")))
	refused(fmt.Sprintf(`{"token":%q`, planted("token-in-no-json")))
	refused(fmt.Sprintf(`{"session_id":%q}`, planted("no-ticket")))
	refused(fmt.Sprintf(`{"token":%q}`, good+planted("tail")))
	c := w.login(t, compact, fmt.Sprintf(`{"token":%q,"session":true,"password":%q}`, good, planted("password")))
	ticket := func(c *client) string {
		var session struct {
			ID string `json:"session_id"`
		}
		if err := json.Unmarshal([]byte(c.wantMessage(sendReq).payload), &session); err != nil || session.ID == "" {
			t.Fatalf("no ticket: %v", err)
		}
		w.secrets = append(w.secrets, session.ID, session.ID[len(session.ID)-24:])
		return session.ID
	}
	first := ticket(c)
	c.wantEcho(fmt.Sprintf("%q", planted("payload")))
	c.subscribe("news")
	c.wantStatus("no.such.route", fmt.Sprintf("%q", planted("payload")), 4)
	c.hangUp()
	c = w.dial(t, compact)
	c.write(compact.connect(0, fmt.Sprintf(`{"session_id":%q,"session":true}`, first)))
	c.wantConnAck(accepted)
	ticket(c)
	refused(fmt.Sprintf(`{"session_id":%q}`, first[:len(first)-2]+"AA"))
	c.write(compact.packet(sendReq, 0, []byte(planted("malformed"))))
	c.wantOver()

	// WebSocket, where secrets come in heads and queries.
	heads := []string{"Authorization: Bearer " + planted("authorization"), "Cookie: session=" + planted("cookie"), "X-Api-Key: " + planted("header-key")}
	for _, target := range []string{
		"/netsvr?token=" + planted("query-token"), "/gosoc?token=" + planted("query-token"), "/nowhere?token=" + planted("query-token"),
		"/?version=1&codec=1&platform=9&token=" + planted("query-token"), "/?version=99&token=" + planted("query-token"),
	} {
		for _, method := range []string{"GET", "POST"} {
			customer, status, body := w.netsvrUpgrade(t, netsvrHead(method, target, heads...))
			w.found[method+" "+target[:8]] = fmt.Sprint(status, body)
			if status == http.StatusSwitchingProtocols {
				defer customer.hangUp()
				_, _ = customer.conn.Write(netsvrFrame(0x82, []byte(planted("message"))))
				_, _ = customer.conn.Write([]byte(planted("no-frame")))
			}
		}
	}
	// Longbridge: an Auth that is refused, and one that is none.
	for _, body := range []string{"\x0a" + string(rune(len(planted("longbridge")))) + planted("longbridge"), "\xff" + planted("no-protobuf")} {
		l := w.dial(t, compact)
		l.write([]byte("\x11\x09\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00" + string(rune(len(body))) + body))
		_, _ = io.Copy(io.Discard, l.conn)
		l.hangUp()
	}
	// Workers.
	for _, token := range []string{planted("worker-token"), planted("wrong-worker-token")} {
		l := w.workerLink(t)
		_ = l.try(workerCommand(workerRegister, workerMsg(nil).num(1, 2).text(102, token)))
		time.Sleep(10 * time.Millisecond)
	}
	// Operators.
	for _, token := range []string{planted("wrong-operator"), planted("reader")} {
		w.found["publish with "+token] = w.call("POST", "/api/v1/publish?token="+planted("token-in-a-url"), token, `{"topic":"news","payload":"`+planted("published")+`"}`)
		w.found["nowhere with "+token] = w.call("GET", "/api/v1/nowhere?token="+planted("token-in-a-url"), token, "")
	}
	delete(w.found, "")
	w.call("POST", "/api/v1/publish", planted("operator"), `{"topic":"news","payload":"`+planted("published")+`"}`)
	// Files with mistakes in lines that have secrets.
	for name, text := range map[string]string{
		"tokens": planted("token-alone") + "\n", "operators": "some " + planted("operator") + "\n", "workers": planted("worker-token") + " " + planted("blank") + "\n",
		"secret": planted("short"), "users": planted("user-key") + "\n", "session-key": planted("session-key"),
	} {
		name = filepath.Join(w.dir, name)
		before, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		writeFile(t, name, text)
		w.found["a reload with a bad "+name] = w.call("POST", "/api/v1/reload", planted("operator"), "{}")
		w.found["a check with a bad "+name] = w.run("check")
		writeFile(t, name, string(before))
	}
	w.found["a reload"] = w.call("POST", "/api/v1/reload", planted("operator"), "{}")
}

// run runs a command with the gateway's own flags, and returns what it prints.
func (w *vault) run(verb string, more ...string) string {
	out, _ := exec.Command(gatewayBinary, slices.Concat([]string{verb}, w.args, more)...).CombinedOutput()
	return string(out)
}

// search looks for secrets in all that can be seen.
func (w *vault) search() {
	t := w.t
	operator := planted("operator")
	_, text, _ := strings.Cut(w.call("GET", "/api/v1/openapi.json", operator, ""), " ")
	var described struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &described); err != nil {
		t.Fatal(err)
	}
	client := w.dial(t, compact)
	ids := regexp.MustCompile(`"connection":"([0-9a-f]{16})"`).FindAllStringSubmatch(w.call("GET", "/api/v1/connections?limit=1000", operator, ""), -1)
	paths := []string{"/metrics", "/readyz?verbose", "/debug/loops", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline",
		"/api/v1/closed?limit=1000", "/api/v1/config", "/", "/page/index.html"}
	for _, path := range slices.Sorted(maps.Keys(described.Paths)) {
		if strings.Contains(path, "stream") || strings.Contains(path, "tail") {
			continue // they go on
		}
		paths = append(paths, strings.ReplaceAll(path, "{name}", "news"))
	}
	for _, path := range paths {
		for _, id := range append(ids, []string{"", "none"}) {
			w.found["GET "+path] += w.call("GET", strings.ReplaceAll(path, "{id}", id[1]), operator, "")
			if !strings.Contains(path, "{id}") {
				break
			}
		}
	}
	client.hangUp()
	for _, verb := range []string{"check", "config"} {
		for _, more := range [][]string{nil, {"--json"}} {
			w.found[fmt.Sprint(verb, more)] = w.run(verb, more...)
		}
	}
	w.found["check with a bad URL of a login service"] = w.run("check", "--login", "http://sluice:"+planted("url-password")+"@:99999/x?key="+planted("url-key"))
	w.found["check with a bad URL of a collector"] = w.run("check", "--otlp", "http://sluice:"+planted("url-password")+"@:99999/x?key="+planted("url-key"))
	w.signal(syscall.SIGHUP)
	w.await(func() bool { return strings.Contains(w.stderr.String(), "access log opened anew") }, "the reload")
	w.closeClients()
	w.terminate()
	w.found["the log"] = w.stderr.String()
	access, err := os.ReadFile(filepath.Join(w.dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	w.found["the access log"] = string(access)
	for _, part := range []string{"event=connect", "event=close", "reason=login-refused"} {
		if !strings.Contains(string(access), part) {
			t.Errorf("the access log has no %s", part)
		}
	}

	secrets := append(w.secrets, "planted-", "7f3a9c1e", "PRIVATE KEY", base64.StdEncoding.EncodeToString([]byte("planted-x"))[:10])
	key := sha256.Sum256([]byte(planted("session-key")))
	secrets = append(secrets, hex.EncodeToString(key[:]), hex.EncodeToString([]byte("planted-")))
	tlsKey, err := os.ReadFile(filepath.Join(w.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, strings.Split(string(tlsKey), "\n")[1])
	for where, text := range w.found {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s has %s: ...%s...", where, secret, text[max(i-200, 0):min(i+100, len(text))])
				break
			}
		}
	}
}
