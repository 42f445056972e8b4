package session

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newOneTime(t testing.TB, c OneTimeConfig) *OneTime {
	t.Helper()
	c.Rand = newSeededReader()
	o, err := NewOneTime(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mustIssue(t testing.TB, o *OneTime, now time.Time, value string) []byte {
	t.Helper()
	token, err := o.Issue(now, value)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token)
}

func TestOneTime(t *testing.T) {
	o := newOneTime(t, OneTimeConfig{})
	token := mustIssue(t, o, t0, "ann")
	if len(token) != TokenLen || strings.Trim(string(token), "0123456789abcdef") != "" {
		t.Errorf("token %q", token)
	}
	for _, v := range []struct {
		name  string
		token []byte
	}{
		{"empty", nil}, {"too short", token[:31]}, {"too long", append(bytes.Clone(token), '0')},
		{"upper case", bytes.ToUpper(token)}, {"no hex", bytes.Repeat([]byte("g"), 32)},
		{"unknown", bytes.Repeat([]byte("0"), 32)},
	} {
		if value, ok := o.Take(t0, v.token); ok || value != "" {
			t.Errorf("%s: %q, %v", v.name, value, ok)
		}
	}
	if value, ok := o.Take(after(30*time.Second-1e6), token); !ok || value != "ann" {
		t.Errorf("good one: %q, %v", value, ok)
	}
	if value, ok := o.Take(t0, token); ok || value != "" {
		t.Errorf("twice: %q, %v", value, ok)
	}
	token = mustIssue(t, o, t0, "ann")
	if value, ok := o.Take(after(30*time.Second), token); ok || value != "" {
		t.Errorf("expired: %q, %v", value, ok)
	}
	if _, ok := o.Take(t0, token); ok {
		t.Error("an expired token came back when asked earlier")
	}
	if token = mustIssue(t, o, t0, ""); token == nil {
		t.Fatal("no token")
	}
	if value, ok := o.Take(t0, token); !ok || value != "" {
		t.Errorf("empty value: %q, %v", value, ok)
	}
	if n, _ := o.Len(); n != 0 {
		t.Errorf("%d left", n)
	}
}

func TestOneTimeBound(t *testing.T) {
	o := newOneTime(t, OneTimeConfig{MaxTokens: 3, TTL: time.Minute})
	var tokens [][]byte
	for i := range 5 {
		tokens = append(tokens, mustIssue(t, o, after(time.Duration(i)*time.Second), "v"))
	}
	if n, evicted := o.Len(); n != 3 || evicted != 2 {
		t.Errorf("%d outstanding, %d evicted", n, evicted)
	}
	for i, token := range tokens[:4] {
		if _, ok := o.Take(after(5*time.Second), token); ok != (i >= 2) {
			t.Errorf("token %d: %v", i, ok)
		}
	}
	mustIssue(t, o, after(5*time.Second), "v")
	mustIssue(t, o, after(5*time.Second), "v")
	mustIssue(t, o, after(time.Minute+4*time.Second), "v") // tokens[4] is due and makes room
	if n, evicted := o.Len(); n != 3 || evicted != 2 {
		t.Errorf("%d outstanding, %d evicted", n, evicted)
	}
}

func TestOneTimeExpire(t *testing.T) {
	o := newOneTime(t, OneTimeConfig{TTL: time.Minute, MaxTokens: 1 << 20})
	for i := range 100 {
		mustIssue(t, o, after(time.Duration(i)*time.Second), "v")
	}
	if n := o.Expire(after(time.Minute-1e6), 1000); n != 0 {
		t.Errorf("%d expired before their time", n)
	}
	for _, want := range []int{40, 10, 0} {
		if n := o.Expire(after(time.Minute+49*time.Second), 40); n != want {
			t.Errorf("expired %d, want %d", n, want)
		}
	}
	if n, _ := o.Len(); n != 50 {
		t.Errorf("%d left, want 50", n)
	}
}

func TestOneTimeRandomSource(t *testing.T) {
	if _, err := NewOneTime(OneTimeConfig{}); !errors.Is(err, ErrRandom) {
		t.Errorf("none: %v", err)
	}
	o, _ := NewOneTime(OneTimeConfig{Rand: zeroReader{}})
	mustIssue(t, o, t0, "ann")
	if token, err := o.Issue(t0, "bob"); token != "" || !errors.Is(err, ErrRandom) {
		t.Errorf("repeating: %q, %v", token, err)
	}
	o, _ = NewOneTime(OneTimeConfig{Rand: strings.NewReader("")})
	if token, err := o.Issue(t0, "bob"); token != "" || !errors.Is(err, io.EOF) {
		t.Errorf("dry: %q, %v", token, err)
	}
}

// Many takers race for each token: one gets it.
func TestOneTimeTakenOnce(t *testing.T) {
	o := newOneTime(t, OneTimeConfig{})
	var tokens [][]byte
	for range 500 {
		tokens = append(tokens, mustIssue(t, o, t0, "v"))
	}
	taken := make([]atomic.Int32, len(tokens))
	inParallel(8, func(int) {
		for i, token := range tokens {
			if _, ok := o.Take(t0, token); ok {
				taken[i].Add(1)
			}
		}
	})
	for i := range taken {
		if n := taken[i].Load(); n != 1 {
			t.Errorf("token %d taken %d times", i, n)
		}
	}
}

func TestOneTimeConcurrent(t *testing.T) {
	o := newOneTime(t, OneTimeConfig{MaxTokens: 10_000})
	var seen sync.Map
	inParallel(8, func(int) {
		for i := range 500 {
			token := mustIssue(t, o, t0, "v")
			if !firstSeen(&seen, string(token)) {
				t.Error("token issued twice")
			}
			if i%2 == 0 {
				if _, ok := o.Take(t0, token); !ok {
					t.Error("own token refused")
				}
			}
			o.Expire(t0, 1)
		}
	})
	if n, evicted := o.Len(); n != 2000 || evicted != 0 {
		t.Errorf("%d outstanding, %d evicted", n, evicted)
	}
}

func FuzzOneTimeTake(f *testing.F) {
	o := newOneTime(f, OneTimeConfig{})
	token := mustIssue(f, o, t0, "ann")
	f.Add(token)
	f.Add(bytes.ToUpper(token))
	f.Add(token[1:])
	f.Fuzz(func(t *testing.T, text []byte) {
		o := newOneTime(t, OneTimeConfig{})
		token := mustIssue(t, o, t0, "ann") // the same each time
		if value, ok := o.Take(t0, text); ok != bytes.Equal(text, token) || ok != (value == "ann") {
			t.Fatalf("%q: %q, %v", text, value, ok)
		}
	})
}

func TestTokenIssuer(t *testing.T) {
	o, err := NewOneTime(OneTimeConfig{Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	o.IssueAs(0xab)
	token, err := o.Issue(time.Now(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := TokenIssuer(token); !ok || id != 0xab {
		t.Errorf("issued by %#x, %v", id, ok)
	}
	if value, ok := o.Take(time.Now(), []byte(token)); !ok || value != "ann" {
		t.Errorf("it stands for %q, %v", value, ok)
	}
	for _, bad := range []string{"", token[1:], token + "0", strings.ToUpper(token), "x" + token[1:], token[:31] + "g"} {
		if _, ok := TokenIssuer(bad); ok {
			t.Errorf("%q has an issuer", bad)
		}
	}
}
