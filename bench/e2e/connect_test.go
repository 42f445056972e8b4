package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tokensFile writes a file for --login tokens:FILE.
func tokensFile(tb testing.TB, lines ...string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "tokens")
	writeTokens(tb, name, lines...)
	return name
}

func writeTokens(tb testing.TB, name string, lines ...string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		for _, tt := range []struct{ name, payload, user string }{
			{"token", `{"token":"ann"}`, "ann"},
			{"empty payload", ``, ""},
			{"empty object", `{}`, ""},
			{"blanks around", " {\n} ", ""},
			{"members of the application", `{"auth_key":"aGk=","token":"bob","deep":{"er":[1]}}`, "bob"},
			{"not ASCII", `{"token":"\u00e9ва"}`, "éва"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c := p.login(t, m, tt.payload)
				if got := c.whoami(); got.User != tt.user || got.Session != "" || len(got.Topics) != 0 {
					t.Errorf("%+v, want user %q, a guest without topics", got, tt.user)
				}
				c.write(m.ping())
				c.wantPong()
				c.write(m.packet(disconnect, 0, []byte{0}))
				c.wantEOF()
			})
		}
	})
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	file := tokensFile(t, "# who may come", "t-ann ann", "t-bob bob news,sport")
	p := startDev(t, "--login", "tokens:"+file)
	eachMode(t, modes, func(t *testing.T, m mode) {
		for _, tt := range []struct {
			name, payload string
			code          byte
		}{
			{"wrong token", `{"token":"t-anne"}`, badToken},
			{"half a token", `{"token":"t-an"}`, badToken},
			{"the user for a token", `{"token":"ann"}`, badToken},
			{"no token", `{}`, badToken},
			{"no payload", ``, badToken},
			{"not JSON", `token=t-ann`, badLogin},
			{"cut JSON", `{"token":"t-ann"`, badLogin},
			{"two values", `{"token":"t-ann"} {}`, badLogin},
			{"array", `["t-ann"]`, badLogin},
			{"string", `"t-ann"`, badLogin},
			{"null", `null`, badLogin},
			{"blanks only", `  `, badLogin},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c := p.dial(t, m)
				c.write(m.connect(60, tt.payload))
				c.wantConnAck(tt.code)
				c.wantEOF()
			})
		}
		c := p.login(t, m, token("t-ann"))
		if got := c.whoami().User; got != "ann" {
			t.Errorf("user %q, want ann", got)
		}
		c = p.login(t, m, token("t-bob"))
		if got := c.whoami(); got.User != "bob" || strings.Join(got.Topics, " ") != "news sport" {
			t.Errorf("%+v, want bob with topics news and sport", got)
		}
	})
}

// The behind-a-refusal rule: what follows is discarded, and the answer survives it.
func TestBehindRefusedConnect(t *testing.T) {
	p := startDev(t, "--login", "tokens:"+tokensFile(t, "a b"))
	eachMode(t, modes, func(t *testing.T, m mode) {
		for _, size := range []int{1, 100, 2000, 20000} {
			c := p.dial(t, m)
			b := m.connect(0, token("wrong"))
			for range size {
				b = append(b, m.ping()...)
			}
			// The gateway may have closed before all is written.
			_ = c.send(b)
			c.wantConnAck(badToken)
			c.wantEOF()
		}
	})
}

func TestUniqID(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--server-id", "171")
	now := time.Now().Unix()
	form := regexp.MustCompile(`^AB[0-9A-F]{16}$`)
	seen := make(map[string]bool)
	for range 20 {
		id := p.login(t, modes[0], "").whoami().UniqID
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("uniqId %q after %v", id, seen)
		}
		seen[id] = true
		var seconds int64
		for _, digit := range id[2:10] {
			seconds = seconds<<4 | int64(strings.IndexRune("0123456789ABCDEF", digit))
		}
		if seconds < now-5 || seconds > now+60 {
			t.Fatalf("uniqId %q says %d, now is %d", id, seconds, now)
		}
	}
}

func TestSecondConnect(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		for _, payload := range []string{``, `{"token":"same"}`, `{"token":"other"}`, `no JSON`} {
			c := p.login(t, m, token("same"))
			c.write(m.connect(0, payload))
			c.wantConnAck(alreadyConnected)
			c.wantEOF()
		}
		t.Run("same write", func(t *testing.T) {
			c := p.dial(t, m)
			b := append(m.connect(0, token("same")), m.ask(1, "sluice.Echo", "1")...)
			b = append(b, m.connect(0, token("same"))...)
			c.write(append(b, m.ask(2, "sluice.Echo", "2")...))
			c.wantConnAck(accepted)
			c.wantReply(1, `{"status":0,"data":1}`)
			c.wantConnAck(alreadyConnected)
			c.wantEOF()
		})
	})
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, plainModes, func(t *testing.T, m mode) {
		for _, typ := range []byte{0, 1, 7, 255} {
			c := p.login(t, m, token("leaver"))
			// What comes behind it is nobody's business any more, what came before is answered.
			b := append(m.ask(1, "sluice.Echo", "1"), m.packet(disconnect, 0, []byte{typ})...)
			c.write(append(b, m.ask(2, "sluice.Echo", "2")...))
			c.wantReply(1, `{"status":0,"data":1}`)
			c.wantEOF()
		}
	})
}

func TestListenProtocol(t *testing.T) {
	p := startServe(t, "--dev", "--listen", "tcp://127.0.0.1:0?protocol=gosoc", "--listen", "tcp://127.0.0.1:0?protocol=auto")
	p.wantServing(t)
}
