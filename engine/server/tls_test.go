package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/worker"
)

func TestParseListen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Listen{
		"tcp://127.0.0.1:1":                       {Scheme: "tcp", Address: "127.0.0.1:1", Protocol: "auto"},
		"tls://[::1]:1?protocol=gosoc":            {Scheme: "tls", Address: "[::1]:1", Protocol: "gosoc"},
		"wss://h:443/":                            {Scheme: "wss", Address: "h:443", Protocol: "auto"},
		"ws://h:1?tls=auto&protocol=netsvr":       {Scheme: "ws", Address: "h:1", Protocol: "netsvr", TLSAuto: true},
		"tcp://h:1?tls=auto&client-cert=optional": {Scheme: "tcp", Address: "h:1", Protocol: "auto", TLSAuto: true, ClientCert: "optional"},
		"wss://h:1?client-cert=required":          {Scheme: "wss", Address: "h:1", Protocol: "auto", ClientCert: "required"},
		"tls://h:1?client-cert=none&protocol=own": {Scheme: "tls", Address: "h:1", Protocol: "own", ClientCert: "none"},
	} {
		if got, err := ParseListen(text, "own"); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"tls://h":                                "no port",
		"tls://h:1?tls=auto":                     "tls is TLS alone",
		"tcp://h:1?tls=on":                       `tls "on", want auto`,
		"tcp://h:1?tls":                          `tls "", want auto`,
		"tcp://h:1?client-cert=optional":         "client-cert is for TLS",
		"tls://h:1?client-cert=maybe":            `client-cert "maybe", want required, optional or none`,
		"tls://h:1?client-cert=":                 "client-cert is empty",
		"ws://h:1?tls=auto&client-cert=required": "plain connections would come without",
		"tls://h:1?clientcert=required":          `unknown option "clientcert"`,
		"tls://h:1?protocol=gosoc&protocol=x":    `"protocol" is given twice`,
		"wss://h:1?protocol=own":                 "not spoken over WebSocket",
		"https://h:1":                            "want tcp://HOST:PORT",
	} {
		if l, err := ParseListen(text, "own"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %+v, %v, want %s", text, l, err, want)
		}
	}
}

// servedTLS is served over TLS, with the client's config.
func servedTLS(t *testing.T, address string, config *tls.Config, first, answer string) (bool, error) {
	t.Helper()
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return false, err
	}
	defer c.Close()
	if _, err := c.Write([]byte(first)); err != nil {
		return false, err
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, len(answer))
	n, err := io.ReadFull(c, b)
	return n > 0 && string(b[:n]) == answer, err
}

// TLS listeners speak what plain ones do, and nothing plain, but with tls=auto.
func TestTLSListeners(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		listen string
		serves []string
		plain  bool
	}{
		{"tls://127.0.0.1:0", []string{"gosoc", "longbridge", "ws gosoc", "ws netsvr", "ws longbridge"}, false},
		{"tls://127.0.0.1:0?protocol=gosoc", []string{"gosoc", "ws gosoc"}, false},
		{"wss://127.0.0.1:0", []string{"ws gosoc", "ws netsvr", "ws longbridge"}, false},
		{"tcp://127.0.0.1:0?tls=auto", []string{"gosoc", "longbridge", "ws gosoc", "ws netsvr", "ws longbridge"}, true},
		{"ws://127.0.0.1:0?tls=auto&protocol=netsvr", []string{"ws netsvr"}, true},
	} {
		t.Run(tc.listen, func(t *testing.T) {
			t.Parallel()
			s, address := begin(t, Config{Listen: []string{tc.listen}, TLS: TLSConfig{Dev: true}, Dev: true})
			if scheme, _, _ := strings.Cut(tc.listen, ":"); !strings.HasPrefix(s.Addrs()[0], scheme+"://") {
				t.Errorf("address %s", s.Addrs()[0])
			}
			for name, g := range greetings {
				want := slices.Contains(tc.serves, name)
				if got, _ := servedTLS(t, address, &tls.Config{InsecureSkipVerify: true}, g.first, g.answer); got != want {
					t.Errorf("%s over TLS: served is %v", name, got)
				}
				if got := served(t, address, g.first, g.answer); got != (want && tc.plain) {
					t.Errorf("%s in plain text: served is %v", name, got)
				}
			}
			for _, offered := range []string{"h2", "acme-tls/1"} {
				_, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{offered}})
				if err == nil || !strings.Contains(err.Error(), "no application protocol") {
					t.Errorf("ALPN %s: %v", offered, err)
				}
			}
			raw := slices.Contains(tc.serves, "gosoc")
			for _, offered := range []string{"http/1.1", "gosoc"} {
				c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{offered}})
				if want := raw || offered == "http/1.1"; (err == nil) != want {
					t.Errorf("ALPN %s: %v", offered, err)
				}
				if err == nil {
					c.Close()
				}
			}
		})
	}
}

// secureGOSOC is dialGOSOC over TLS.
func secureGOSOC(t *testing.T, address string, config *tls.Config, token string) gosocPeer {
	t.Helper()
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := gosocPeer{&peer{t, conn, bufio.NewReader(conn)}}
	c.write(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: fmt.Appendf(nil, `{"token":%q}`, token)}))
	if h, body := c.next(); h.Type != gosoc.TypeConnAck || body[1] != 0 {
		t.Fatalf("got %v %x", h.Type, body)
	}
	return c
}

// showing is a client's config with its certificate, which it shows whoever asks.
func showing(certs []tls.Certificate) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true}
	if len(certs) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return c
}

// A certWatcher lets everybody in and tells who came.
type certWatcher struct{ seen chan login.Request }

func (w certWatcher) Login(_ context.Context, r login.Request) (login.Identity, error) {
	w.seen <- r
	return login.Identity{User: "by token"}, nil
}

// A verified client certificate is the user with the provider Cert, is shown to any other, and names a
// netsvr customer who shows no token.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, foreign := certtest.New(t, "clients"), certtest.New(t, "foreign")
	config := TLSConfig{Dev: true, ClientCA: certtest.File(t, dir, "ca.pem", ca.PEM)}
	certOf := func(ca *certtest.CA, o certtest.Order) []tls.Certificate {
		o.Client = true
		return []tls.Certificate{ca.Issue(t, o).TLS(t)}
	}
	ann := certOf(ca, certtest.Order{CommonName: "ann"})
	connect := greetings["gosoc"].first
	t.Run("cert", func(t *testing.T) {
		users := make(chan string, 8)
		_, address := begin(t, Config{
			Listen: []string{"tls://127.0.0.1:0"}, TLS: config, Gateway: GatewayConfig{Login: login.Cert{}},
			OnConnect: func(c ClientInfo) { users <- c.User },
		})
		for name, c := range map[string]struct {
			certs []tls.Certificate
			user  string // empty: refused
		}{
			"common name":   {ann, "ann"},
			"e-mail":        {certOf(ca, certtest.Order{Emails: []string{"bob@example.com"}, Names: []string{"x.example"}}), "bob@example.com"},
			"DNS name":      {certOf(ca, certtest.Order{Names: []string{"x.example"}}), "x.example"},
			"none":          {nil, ""},
			"foreign":       {certOf(foreign, certtest.Order{CommonName: "ann"}), ""},
			"control bytes": {certOf(ca, certtest.Order{CommonName: "a\nb"}), ""},
		} {
			ok, err := servedTLS(t, address, showing(c.certs), connect, "\x20\x02\x00\x00")
			if ok != (c.user != "") {
				t.Errorf("%s: served is %v, %v", name, ok, err)
			}
			if ok {
				if got := receive(t, users); got != c.user {
					t.Errorf("%s: user %q, want %q", name, got, c.user)
				}
			}
		}
	})
	t.Run("optional", func(t *testing.T) {
		watcher, users := certWatcher{make(chan login.Request, 8)}, make(chan string, 8)
		_, address := begin(t, Config{
			Listen: []string{"tcp://127.0.0.1:0?tls=auto&client-cert=optional"}, TLS: config, Gateway: GatewayConfig{Login: watcher},
			OnConnect: func(c ClientInfo) { users <- c.User },
		})
		for name, certs := range map[string][]tls.Certificate{"ann": ann, "": nil} {
			if ok, err := servedTLS(t, address, showing(certs), connect, "\x20\x02\x00\x00"); !ok {
				t.Fatal(err)
			}
			if r := receive(t, watcher.seen); (r.Cert != nil) != (name != "") || r.Cert != nil && r.Cert.Subject.CommonName != name {
				t.Errorf("%q: the provider saw %v", name, r.Cert)
			}
			if got := receive(t, users); got != "by token" {
				t.Errorf("user %q", got)
			}
			g := greetings["ws netsvr"] // a guest, of whom no provider is asked
			if ok, err := servedTLS(t, address, showing(certs), g.first, g.answer); !ok {
				t.Fatal(err)
			}
			if got := receive(t, users); got != name {
				t.Errorf("a guest's user is %q, want %q", got, name)
			}
		}
		if !served(t, address, connect, "\x20\x02\x00\x00") {
			t.Error("plain connections are not served")
		}
		if ok, _ := servedTLS(t, address, showing(certOf(foreign, certtest.Order{CommonName: "ann"})), connect, "\x20\x02\x00\x00"); ok {
			t.Error("a foreign certificate was taken")
		}
	})
	t.Run("none", func(t *testing.T) {
		_, address := begin(t, Config{Listen: []string{"tls://127.0.0.1:0?client-cert=none", "tls://127.0.0.1:0"}, TLS: config})
		if ok, err := servedTLS(t, address, &tls.Config{InsecureSkipVerify: true}, connect, "\x20\x02\x00\x00"); !ok {
			t.Error(err)
		}
	})
}

// Operators and workers come with TLS where their listeners say so; a worker that shows a certificate
// needs no token.
func TestTLSOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certtest.New(t, "ca")
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	s, address := begin(t, Config{
		Listen: []string{"tls://127.0.0.1:0"}, WorkerListen: "tls://127.0.0.1:0", Admin: AdminConfig{Address: "https://127.0.0.1:0", Dev: true},
		TLS: TLSConfig{Pairs: []CertPair{{Cert: cert, Key: key}}, WorkerClientCA: certtest.File(t, dir, "ca.pem", ca.PEM)},
	})
	if !strings.HasPrefix(s.WorkerAddr(), "tls://127.0.0.1:") || !strings.HasPrefix(s.AdminURL(), "https://127.0.0.1:") {
		t.Fatalf("%s, %s", s.WorkerAddr(), s.AdminURL())
	}
	get := func(path string) string {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true, ForceAttemptHTTP2: true}
		resp, err := (&http.Client{Transport: transport}).Get(s.AdminURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.Proto != "HTTP/1.1" {
			t.Error(err, resp.Proto)
		}
		return string(text)
	}
	if text := get("/livez"); !strings.Contains(text, "ok") {
		t.Error(text)
	}
	if text := get("/metrics"); !strings.Contains(text, `sluice_tls_certificate_expiry_timestamp_seconds{index="0",name="`+cert+`"} 1.`) {
		t.Error("no certificate among the metrics")
	}
	if u, _ := url.Parse(s.AdminURL()); served(t, u.Host, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200") {
		t.Error("operators are served in plain text")
	}

	config := worker.Config{Gateways: []string{s.WorkerAddr()}, RedialMin: time.Millisecond, TLS: &tls.Config{
		RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{Client: true, CommonName: "w1"}).TLS(t)},
	}}
	w, err := worker.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("*", func(_ context.Context, r *worker.Request) ([]byte, error) { return r.Payload, nil })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	soon, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := w.Ready(soon); err != nil {
		t.Fatal(err)
	}
	c := secureGOSOC(t, address, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}, "ann")
	c.ask("any.Route", "hello")
	c.wantReply("hello")
}

// Certificates change under live connections, which go on, as SIGHUP does it and by themselves.
func TestSetTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certtest.New(t, "ca")
	first, second, third := ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})
	cert, key := first.Write(t, dir, "c")
	config := Config{Listen: []string{"tls://127.0.0.1:0"}, TLS: TLSConfig{Pairs: []CertPair{{Cert: cert, Key: key}}, Poll: 10 * time.Millisecond}}
	s, address := begin(t, config)
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	shown := func() *x509.Certificate {
		t.Helper()
		conn, err := tls.Dial("tcp", address, client)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	c := secureGOSOC(t, address, client, "ann")
	for i, next := range []certtest.Pair{second, third} {
		next.Write(t, dir, "c")
		if i == 0 {
			if changed, err := s.SetTLS(config.TLS); err != nil || !changed && s.TLS().Reloads == 0 {
				t.Fatal(changed, err)
			}
		}
		want := next.TLS(t).Leaf
		for deadline := time.Now().Add(patience); !shown().Equal(want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("certificate %d is not shown", i+2)
			}
		}
		if _, err := s.Send(t.Context(), User("ann"), []byte("still here")); err != nil {
			t.Fatal(err)
		}
		c.wantPush("still here")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if changed, err := s.SetTLS(config.TLS); err == nil || changed || !strings.Contains(err.Error(), key) {
		t.Errorf("without the key: %v, %v", changed, err)
	}
	if !shown().Equal(third.TLS(t).Leaf) {
		t.Error("the certificate has changed")
	}
}

// A given listener for workers and its Config.Worker.TLS go together.
func TestGivenWorkerTLS(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{WorkerListener: ln}
	config.Worker.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{}).TLS(t)}}
	s, _ := begin(t, config)
	if got, want := s.WorkerAddr(), "tls://"+ln.Addr().String(); got != want {
		t.Errorf("address %s, want %s", got, want)
	}
	if conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
}

// A host's certificate is made by an ACME service, which finds its challenge on the listener for
// clients. A client that comes meanwhile waits for it; the loops do not.
func TestTLSAuto(t *testing.T) {
	t.Parallel()
	service := certtest.NewACME(t)
	release := service.Hold()
	s, address := begin(t, Config{
		Listen: []string{"tls://127.0.0.1:0", "tcp://127.0.0.1:0"}, Engine: engine.Config{Loops: 1, HandshakeTimeout: long},
		TLS: TLSConfig{Auto: TLSAutoConfig{Hosts: []string{"chat.example"}, Cache: t.TempDir(), Directory: service.URL}},
	})
	service.Target(address)
	client := &tls.Config{ServerName: "chat.example", RootCAs: service.CA.Pool()}
	waited := make(chan error, 1)
	go func() {
		conn, err := tls.Dial("tcp", address, client)
		if err == nil {
			conn.Close()
		}
		waited <- err
	}()
	for deadline := time.Now().Add(patience); s.Engine().Stats().Handshakes.Running == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no handshake has begun")
		}
	}
	dialGOSOC(t, strings.TrimPrefix(s.Addrs()[1], "tcp://"), "bob") // is served meanwhile
	release()
	if err := receive(t, waited); err != nil {
		t.Fatal(err)
	}
	secureGOSOC(t, address, client, "ann")
	if st := service.Stats(); st.Issued != 1 || len(st.Failed) > 0 {
		t.Errorf("the service: %+v", st)
	}
	if st := s.TLS(); len(st.Certificates) != 1 || st.Certificates[0].Name != "chat.example" || st.Certificates[0].Ends.IsZero() {
		t.Errorf("%+v", st)
	}
	if n := s.Engine().Stats().Closed[engine.ReasonClientClose]; n == 0 {
		t.Error("the service's connection went on as a client's")
	}
}
