package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSettingsHoldNoSecrets: what operators are shown of the settings has none of their secrets, and all
// of the rest.
func TestSettingsHoldNoSecrets(t *testing.T) {
	const planted = "planted-secret-0123"
	for login, shown := range map[string]string{
		"http:https://user:" + planted + "@host/login": "http:https://host/(not shown)",
		"http://host:8080/" + planted:                  "http:http://host:8080/(not shown)",
		"https://host/?key=" + planted:                 "http:https://host/(not shown)",
		"http://host:8080":                             "http://host:8080",
		"jwt:secret-file=/etc/secret":                  "jwt:secret-file=/etc/secret",
		"tokens:/etc/tokens":                           "tokens:/etc/tokens", "open": "open", "otp:ttl=30s": "otp:ttl=30s",
	} {
		c, err := parse([]string{"serve", "--login", login, "--api-key", planted, "--allow-origin", "a.example", "--allow-origin", "b.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := new(process)
		p.reloader.Store(&reloader{inputs: c.inputs, force: c.inputs.values()})
		b, err := json.Marshal(p.settings())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(planted)) {
			t.Errorf("with --login %s: %s", login, b)
		}
		for _, want := range []string{
			`{"name":"login","table":"login","key":"provider","env":"SLUICE_LOGIN","value":"` + shown + `","source":"flag","where":"--login","live":false}`,
			`{"name":"api-key","table":"admin","key":"api-key","env":"SLUICE_API_KEY","value":"(not shown)","source":"flag","where":"--api-key","live":false}`,
			`"value":["a.example","b.example"]`,
			`{"name":"session-ttl","table":"session","key":"ttl","env":"SLUICE_SESSION_TTL","value":"30m","source":"default","live":`,
			`"value":"100/10s"`, `"value":"1MiB"`, `"value":"auto"`, `"value":"info"`,
		} {
			if !bytes.Contains(b, []byte(want)) {
				t.Errorf("no %s in %s", want, b)
			}
		}
		if bytes.Contains(b, []byte("backlog-soft")) {
			t.Error("a flag that was removed is shown")
		}
	}
}

// TestOperatorsBeforeTheStart: what is asked for before the gateway has started is refused, or waits; what
// it starts with is shown.
func TestOperatorsBeforeTheStart(t *testing.T) {
	stop := make(chan os.Signal, 1)
	c, err := parse([]string{"serve", "--cluster", "nats://n1.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{stop: stop, begun: settingsOf(c.inputs, func(p *param) any { return c.inputs.values()[p.name] })}
	if _, err := p.reload(); err != errNotStarted {
		t.Errorf("reload: %v", err)
	}
	if got, err := json.Marshal(p.settings()); err != nil || !bytes.Contains(got, []byte(`"value":["nats://n1.example"]`)) {
		t.Errorf("settings: %s, %v", got, err)
	}
	p.drain()
	p.drain() // nobody has seen the first, and nobody waits
	if len(stop) != 1 {
		t.Error("no signal")
	}
}

// TestDrainedBy: the log says who has ended the gateway.
func TestDrainedBy(t *testing.T) {
	t.Parallel()
	for want, end := range map[string]func(chan os.Signal){
		"msg=draining by=operator ":       func(stop chan os.Signal) { (&process{stop: stop}).drain() },
		"msg=draining signal=terminated ": func(stop chan os.Signal) { stop <- syscall.SIGTERM },
	} {
		stop, o := make(chan os.Signal, 2), startOperated(t, nil)
		end(stop)
		var b bytes.Buffer
		log := slog.New(slog.NewTextHandler(&b, nil))
		if err := wait(o.Server, stop, nil, func() time.Duration { return time.Minute }, log); err != nil {
			t.Error(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %s", want, b.String())
		}
	}
}
