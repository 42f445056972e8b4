package main

import (
	"strings"
	"testing"
)

// TestSecretsInURLs: what is secret in a URL is in no list of settings, and in no error, whichever
// setting it was given for.
func TestSecretsInURLs(t *testing.T) {
	const secret = "s3" // what they all begin with
	urls := []string{   // that any setting may be given
		"tcp://ann:s3cret@127.0.0.1:1", "https://ann:s3cret@x.example/a", "https://s3cret@x.example", "https://ann:s3/cret@x.example?mode=s3cret@",
		"https://ann:s3cret@x.example:port", "nats://ann:s3cret@x.example:4222,nats://bob:s3cret@y.example",
		"https+fd://ann:s3cret@name", "unix://ann:s3cret@name", `https://ann:s3cret "x@x.example`, "https://ann:x@s3cret@x.example",
	}
	more := map[string][]string{
		"login": {
			"http:http://ann:s3cret@x.example/a", "https://ann:s3cret@x.example/a", "http://x.example/?key=s3cret", "http://x.example/s3cret",
			"http://x.example/#s3cret", "jwt:jwks=https://ann:s3cret@x.example/keys", "jwt:aud=chat,jwks=https://x.example/keys?key=s3cret,iss=x",
			"jwt:jwks=https://x.example/keys#s3cret", "jwt:jwks=https://ann:s3cret,x@x.example/keys,aud=chat",
			"jwt:jwks=https://ann:s3cret@[x/keys", "jwt:jwks=keys.json,iss=https://ann:s3cret@x.example", "jwks=https://ann:s3cret@x.example",
			"JWT:jwks=https://ann:s3cret@x.example", "jwt:secret-file=s3crets3crets3cret", "jwt:s3crets3crets3cret", "jwt:aud=chat,key-file=full s3cret",
			"tokens:https://ann:s3cret@x.example", "http:ann:s3cret@x.example",
		},
		"listen":             {"ann:s3cret@127.0.0.1:1", "tcp://ann:s3cret@127.0.0.1:1?protocol=x"},
		"worker":             {"ann:s3cret@127.0.0.1:1", "tls://ann:s3cret@127.0.0.1:1?proxy=x"},
		"admin":              {"ann:s3cret@127.0.0.1:1", "https://ann:s3cret@127.0.0.1:1"},
		"cluster":            {"ann:s3cret@127.0.0.1:1", "nats://ann:s3,cret@x.example", "tls://s3cret@x.example:4222", "nats://127.0.0.1:4222,ann:s3cret@x.example"},
		"otlp":               {"ann:s3cret@127.0.0.1:1", "http://x.example:4318?key=s3cret", "http://x.example:4318/#s3cret"},
		"tls-auto-directory": {"ann:s3cret@127.0.0.1:1", "ftp://x.example/dir?key=s3cret", "https://x.example/dir#s3cret"},
	}
	c, err := parse([]string{"check", "--dev"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.inputs.params {
		if p.flag.IsBool() || p.secret() {
			continue
		}
		values := append(more[p.name], urls...)
		if more[p.name] == nil {
			values = urls[:1] // any setting says much the same of all of them
		}
		for _, value := range values {
			args := []string{"--" + p.name + "=" + value}
			switch p.name {
			case "login", "dev", "config":
			default:
				args = append(args, "--dev")
			}
			for _, verb := range [][]string{{"check"}, {"config", "--json"}, {"config", "--toml"}} {
				_, out, errs := sluice(append(verb, args...)...)
				if strings.Contains(out+errs, secret) {
					t.Errorf("%s %q: %q, %q", verb, args, out, errs)
				}
			}
			if shown := p.shownText(value); strings.Contains(shown, secret) {
				t.Errorf("--%s %s is shown as %s", p.name, value, shown)
			}
		}
	}
}

// TestShownURLs: what is not secret is shown, as it was given.
func TestShownURLs(t *testing.T) {
	for _, tc := range []struct{ flag, given, want string }{
		{"login", "jwt:jwks=https://x.example/.well-known/jwks.json,aud=chat,leeway=10s", ""},
		{"login", "jwt:secret-file=/etc/sluice/key,iss=https://x.example/a@b", "jwt:secret-file=/etc/sluice/key,iss=https://(not shown)@b"},
		{"login", "jwt:aud=a@b,jwks=https://ann:secret@x.example/keys,iss=https://x.example", "jwt:aud=a@b,jwks=https://x.example/(not shown),iss=https://x.example"},
		{"login", "http://127.0.0.1:8080/", ""},
		{"login", "http://ann:secret@x.example/verdict", "http:http://x.example/(not shown)"},
		{"login", "tokens:users@x.txt", ""},
		{"listen", "wss://0.0.0.0:7443?protocol=gosoc&tls=auto", ""},
		{"listen", "unix:///run/sluice@1.sock?owner=ann:staff", ""},
		{"listen", "unix://@sluice", ""},
		{"admin", "unix:/run/sluice@1.sock", ""},
		{"cluster", "nats://a:4222,tls://ann:se,cret@b:4222,nats://token@c", "nats://a:4222,tls://(not shown)@b:4222,nats://(not shown)@c"},
		{"tls-auto-directory", "https://x.example/directory", ""},
		{"tls-auto-directory", "https://x.example/directory?key=secret", "https://x.example/(not shown)"},
		{"tls-auto-email", "ops@x.example", ""},
		{"allow-origin", "https://ann:secret@x.example", "https://(not shown)@x.example"},
	} {
		want := tc.want
		if want == "" {
			want = tc.given
		}
		if got := shownURLs(tc.flag, tc.given); got != want {
			t.Errorf("--%s %s is shown as %s, want %s", tc.flag, tc.given, got, want)
		}
	}
}
