package login

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	for _, v := range []struct {
		name, token string
		want        error
	}{
		{"anonymous", "", nil},
		{"user", "ann", nil},
		{"not ASCII", "\u00e5nn \u2603", nil},
		{"longest", strings.Repeat("u", MaxUserLen), nil},
		{"too long", strings.Repeat("u", MaxUserLen+1), ErrIdentity},
		{"line end", "ann\nbob", ErrIdentity},
		{"escape", "ann\x1b[2J", ErrIdentity},
		{"no UTF-8", "ann\xff", ErrIdentity},
	} {
		t.Run(v.name, func(t *testing.T) {
			id, err := Open{}.Login(bg, Request{Token: v.token})
			if v.want != nil {
				wantRefused(t, id, err, v.want, v.token)
			} else if err != nil || !same(id, Identity{User: v.token}) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

const tokensText = "\ufeff# who may come in\n\nsecret-a ann\n\t secret-b\tbob  news,sport # both\r\nsecret-c ann\nsecret-d dora #"

func TestTokens(t *testing.T) {
	p, err := NewTokens(write(t, "tokens", tokensText))
	if err != nil {
		t.Fatal(err)
	}
	if p.Len() != 4 {
		t.Errorf("%d tokens", p.Len())
	}
	for token, want := range map[string]Identity{
		"secret-a": ann, "secret-c": ann, "secret-d": {User: "dora"},
		"secret-b": {User: "bob", Topics: []string{"news", "sport"}},
	} {
		if id, err := p.LoginNow(t0, Request{Token: token}); err != nil || !same(id, want) {
			t.Errorf("%s: %+v, %v", token, id, err)
		}
	}
	for _, token := range []string{"", "secret", "secret-a ", "SECRET-A", "ann", "#"} {
		id, err := p.Login(bg, Request{Token: token})
		wantRefused(t, id, err, ErrUnknown, token)
	}
	long := strings.Repeat("x", MaxTokenLen+1)
	id, err := p.Login(bg, Request{Token: long})
	wantRefused(t, id, err, ErrTooLong, long)
}

func TestTokensMalformed(t *testing.T) {
	for _, v := range []struct{ name, text, want string }{
		{"empty", "", "holds no tokens"},
		{"comments only", "# a\n\n", "holds no tokens"},
		{"no user", "a ann\nsecret-b\n", "line 2: 1 fields"},
		{"comment for a user", "secret-b # ann\n", "line 1: 1 fields"},
		{"four fields", "\n\nsecret-b bob news sport", "line 3: 4 fields"},
		{"twice", "secret-b ann\n#\nsecret-b bob", "line 3: same token as line 1"},
		{"user too long", "secret-b " + strings.Repeat("u", MaxUserLen+1), "line 1: unusable identity: user id of 257 bytes"},
		{"user not UTF-8", "secret-b \xff", "line 1: unusable identity"},
		{"token too long", strings.Repeat("t", MaxTokenLen+1) + " u", "line 1: token longer"},
		{"topic missing", "secret-b bob news,,sport", "line 1: unusable identity: topic 2"},
		{"topic too long", "secret-b bob " + strings.Repeat("t", MaxTopicLen+1), "line 1: unusable identity: topic 1"},
		{"too many topics", "secret-b bob t" + strings.Repeat(",t", MaxTopics), "line 1: unusable identity: 129 topics"},
	} {
		t.Run(v.name, func(t *testing.T) {
			file := write(t, "tokens", v.text)
			p, err := NewTokens(file)
			if err == nil || p != nil {
				t.Fatalf("%v, %v", p, err)
			}
			if s := err.Error(); !strings.HasPrefix(s, "login: tokens: "+file+" "+v.want) || strings.Contains(s, "secret") {
				t.Errorf("error %q, want %q", err, v.want)
			}
		})
	}
}

func TestTokensReload(t *testing.T) {
	file := write(t, "tokens", "a ann\nb bob")
	p, err := NewTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	good := func(token string) bool {
		_, err := p.LoginNow(t0, Request{Token: token})
		return err == nil
	}
	rewrite(t, file, "b bob\nc cleo\nd")
	if err := p.Reload(); err == nil || !strings.Contains(err.Error(), file+" line 3: ") {
		t.Errorf("error %v", err)
	}
	if !good("a") || !good("b") || good("c") {
		t.Error("the old table is not in force")
	}
	rewrite(t, file, "b bob\nc cleo\n")
	if err := p.Reload(); err != nil {
		t.Error(err)
	}
	if good("a") || !good("b") || !good("c") {
		t.Error("the new table is not in force")
	}
	if err := os.Rename(file, file+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(); err == nil || !good("c") {
		t.Errorf("without a file: %v", err)
	}
}

// A login holds while the file gives its token to the same user.
func TestTokensHold(t *testing.T) {
	file := write(t, "tokens", "a ann\nb bob\nc ann news")
	p, err := NewTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	proofs := make(map[string]uint64)
	for _, token := range []string{"a", "b", "c"} {
		id, err := p.LoginNow(t0, Request{Token: token})
		if err != nil || id.Proof == 0 || !p.Holds(id.Proof) {
			t.Fatalf("%s: %+v, %v", token, id, err)
		}
		proofs[token] = id.Proof
	}
	rewrite(t, file, "b bea\nc ann sport\nd dora\n")
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	// Another process with the same file is of the same mind.
	next, err := NewTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]bool{"a": false, "b": false, "c": true} {
		if p.Holds(proofs[token]) != want || next.Holds(proofs[token]) != want {
			t.Errorf("%s: %v, next %v, want %v", token, p.Holds(proofs[token]), next.Holds(proofs[token]), want)
		}
	}
	if p.Holds(0) || p.Holds(1) {
		t.Error("what was granted for nothing holds")
	}
}

func TestTokensReloadRace(t *testing.T) {
	p, err := NewTokens(write(t, "tokens", "a ann"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if id, err := p.Login(bg, Request{Token: "a"}); err != nil || id.User != "ann" {
					t.Errorf("%+v, %v", id, err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				if err := p.Reload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{tokensText, "", "a b c d", "a b ,", "a b\na b", "a b #c\n#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := parseTokens(text)
		if (err == nil) != (table != nil) {
			t.Fatalf("%v, %v", table, err)
		}
		if err != nil {
			return
		}
		if n := len(table.byDigest); n == 0 || len(table.proofs) != n {
			t.Fatalf("%d tokens, %d proofs", n, len(table.proofs))
		}
		lines := strings.Count(text, "\n") + 1
		for _, e := range table.byDigest {
			if err := e.check(); err != nil || e.User == "" || e.line < 1 || e.line > lines {
				t.Errorf("%+v: %v", e, err)
			}
		}
	})
}

func TestOTP(t *testing.T) {
	p, err := NewOTP(OTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if p.TTL() != time.Minute {
		t.Errorf("ttl %v", p.TTL())
	}
	issue := func() string {
		t.Helper()
		token, err := p.Issue(t0, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token := issue()
	if id, err := p.LoginNow(t0.Add(time.Minute-time.Millisecond), Request{Token: token}); err != nil || !same(id, ann) {
		t.Errorf("%+v, %v", id, err)
	}
	for name, r := range map[string]struct {
		token string
		after time.Duration
	}{
		"twice": {token, 0}, "late": {issue(), time.Minute}, "empty": {}, "short": {issue()[1:], 0},
		"long": {strings.Repeat("0", 9<<10), 0}, "unknown": {strings.Repeat("0", 32), 0},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := p.LoginNow(t0.Add(r.after), Request{Token: r.token})
			wantRefused(t, id, err, ErrUnknown, r.token)
		})
	}
	for _, user := range []string{"", "a\nb", strings.Repeat("u", MaxUserLen+1)} {
		if token, err := p.Issue(t0, user); !errors.Is(err, ErrIdentity) || token != "" {
			t.Errorf("issued %q, %v", token, err)
		}
	}
}

func TestOTPBounds(t *testing.T) {
	for _, ttl := range []time.Duration{-1, MinOTPLife - 1, MaxOTPLife + 1} {
		if p, err := NewOTP(OTPConfig{TTL: ttl}); err == nil || p != nil {
			t.Errorf("ttl %v: %v", ttl, err)
		}
	}
	p, err := NewOTP(OTPConfig{TTL: MinOTPLife})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := p.Issue(t0.Add(time.Duration(i)*100*time.Millisecond), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	// Ten a second, good for one second: what expired has gone although no timer runs.
	if n, evicted := p.Len(); n > 11 || evicted != 0 {
		t.Errorf("%d outstanding, %d driven out", n, evicted)
	}
}

// TestTokensLoads: a reload of the same file is none.
func TestTokensLoads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	var p *Tokens
	for i, step := range []struct {
		text string
		want uint64
	}{{"a ann\n", 1}, {"a ann\n", 1}, {"a bob\n", 2}, {"broken\n", 2}, {"a bob\n", 2}} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			var err error
			if p, err = NewTokens(file); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = p.Reload()
		}
		if n := p.Loads(); n != step.want {
			t.Errorf("step %d: %d loads, want %d", i, n, step.want)
		}
	}
}
