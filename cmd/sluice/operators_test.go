package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestSettingsHoldNoSecrets: what operators are shown of the flags has none of their secrets, and all of
// the rest.
func TestSettingsHoldNoSecrets(t *testing.T) {
	const planted = "planted-secret-0123"
	for _, login := range []string{"jwt:hs256:" + planted, "http:https://user:" + planted + "@host/login", "tokens:/" + planted, "open", "otp"} {
		var c cli
		parser, err := newParserFor(&c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, err := parser.Parse([]string{"serve", "--login", login, "--api-key", planted, "--allow-origin", "a.example", "--allow-origin", "b.example"})
		if err != nil {
			t.Fatal(err)
		}
		p := new(process)
		p.reloader.Store(&reloader{force: flagValues(ctx)})
		b, err := json.Marshal(p.settings())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(planted)) {
			t.Errorf("with --login %s: %s", login, b)
		}
		kind, _, _ := strings.Cut(login, ":")
		for _, want := range []string{`{"name":"login","value":"` + kind, `{"name":"api-key","value":"(not shown)"}`, `{"name":"allow-origin","value":["a.example","b.example"]}`, `{"name":"session-ttl","value":"30m0s"}`} {
			if !bytes.Contains(b, []byte(want)) {
				t.Errorf("no %s in %s", want, b)
			}
		}
		if bytes.Contains(b, []byte("backlog-soft")) {
			t.Error("a flag that was removed is shown")
		}
	}
}

// TestOperatorsBeforeTheStart: what is asked for before the gateway has started is refused, or waits.
func TestOperatorsBeforeTheStart(t *testing.T) {
	stop := make(chan os.Signal, 1)
	p := &process{stop: stop}
	if _, err := p.reload(); err != errNotStarted {
		t.Errorf("reload: %v", err)
	}
	if got := p.settings(); reflect.ValueOf(got).Len() != 0 {
		t.Errorf("settings: %v", got)
	}
	p.drain()
	p.drain() // nobody has seen the first, and nobody waits
	if len(stop) != 1 {
		t.Error("no signal")
	}
}
