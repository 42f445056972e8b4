package link

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

// secureHub is a Hub behind TLS on a socket, and its address.
func secureHub(t *testing.T, config Config) (h *Hub, address string) {
	t.Helper()
	h, _ = newHub(t, config)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.listener = ln
	h.running.Go(h.accept)
	return h, ln.Addr().String()
}

// dialTLS is a worker's connection.
func dialTLS(t *testing.T, address string, config *tls.Config) (*fakeWorker, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := tls.Client(conn, config)
	return &fakeWorker{t, c}, c.Handshake()
}

// Who is a worker over TLS: by its certificate, by its token, by its address.
func TestTLSProof(t *testing.T) {
	t.Parallel()
	ca, foreign := certtest.New(t, "ca"), certtest.New(t, "foreign")
	server := ca.Issue(t, certtest.Order{}).TLS(t)
	required := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	optional := required.Clone()
	optional.ClientAuth = tls.VerifyClientCertIfGiven
	plain := &tls.Config{Certificates: []tls.Certificate{server}}
	own := ca.Issue(t, certtest.Order{Client: true, CommonName: "w1"}).TLS(t)
	other := foreign.Issue(t, certtest.Order{Client: true, CommonName: "w1"}).TLS(t)
	elsewhere := mustAllow("192.0.2.0/24")
	tokens := Config{Tokens: []string{tokenA}}
	allowedToo := mustAllow("127.0.0.0/8")
	allowedToo.Tokens = tokens.Tokens
	const accepted, closed = netsvrpb.RegisterResp_Success, netsvrpb.RegisterResp_Code(-1)
	for name, c := range map[string]struct {
		tls         *tls.Config
		config      Config
		cert        *tls.Certificate
		token       string
		want        netsvrpb.RegisterResp_Code
		refusal     string
		certificate bool // the log has its name
	}{
		"its address":            {plain, Config{}, nil, "", accepted, "", false},
		"another address":        {plain, elsewhere, nil, "", closed, "address-not-allowed", false},
		"a certificate":          {required, elsewhere, &own, "", accepted, "", true},
		"a foreign one":          {required, elsewhere, &other, "", closed, "tls-handshake", false},
		"none":                   {required, Config{}, nil, "", closed, "tls-handshake", false},
		"none, though a token":   {required, tokens, nil, tokenA, closed, "tls-handshake", false},
		"the token":              {plain, tokens, nil, tokenA, accepted, "", false},
		"another token":          {plain, tokens, nil, "wrong", netsvrpb.RegisterResp_TokenWrong, "wrong-token", false},
		"both":                   {required, tokens, &own, tokenA, accepted, "", true},
		"no token beside it":     {required, tokens, &own, "", netsvrpb.RegisterResp_TokenMissing, "no-token", false},
		"a wrong token":          {required, tokens, &own, "wrong", netsvrpb.RegisterResp_TokenWrong, "wrong-token", false},
		"an allowed address":     {required, allowedToo, &own, "", accepted, "", true},
		"allowed, none shown":    {required, allowedToo, nil, tokenA, closed, "tls-handshake", false},
		"no token, if optional":  {optional, tokens, &own, "", netsvrpb.RegisterResp_TokenMissing, "no-token", false},
		"token, no certificate":  {optional, tokens, nil, tokenA, accepted, "", false},
		"neither":                {optional, tokens, nil, "", netsvrpb.RegisterResp_TokenMissing, "no-token", false},
		"neither, and no tokens": {optional, elsewhere, nil, "", closed, "address-not-allowed", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lockedLog
			c.config.TLS, c.config.Certificates, c.config.Logger = c.tls, c.tls != plain, logTo(&log)
			h, address := secureHub(t, c.config)
			client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
			if c.cert != nil {
				client.Certificates = []tls.Certificate{*c.cert}
			}
			got := closed
			if w, err := dialTLS(t, address, client); err == nil {
				got, _ = w.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: c.token})
			}
			if got != c.want {
				t.Errorf("registered with %v, want %v", got, c.want)
			}
			if c.refusal != "" {
				await(t, c.refusal, func() bool { return h.Stats().UnprovenClosed[c.refusal] == 1 })
				await(t, "its line in the log", func() bool { return strings.Contains(log.text(), "reason="+c.refusal) })
				return
			}
			if c.certificate != strings.Contains(log.text(), "certificate=w1") {
				t.Errorf("the log: %s", log.text())
			}
		})
	}
}

// A handshake that is left to stand ends at its time; one that sends no TLS ends at once; neither
// keeps another worker waiting.
func TestTLSHandshakes(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	h, address := secureHub(t, Config{
		TLS:          &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{}).TLS(t)}},
		ProofTimeout: 3 * time.Second,
	})
	begun := time.Now()
	var idle []net.Conn
	for range 50 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write(frameOf(t, netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1})); err != nil {
		t.Fatal(err)
	}
	await(t, "no TLS", func() bool { return h.Stats().UnprovenClosed["tls-handshake"] == 1 })
	w, err := dialTLS(t, address, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	w.register(1)
	w.serves()
	if took := time.Since(begun); took > 3*time.Second {
		t.Skipf("the machine is slow: %v", took)
	}
	await(t, "the time", func() bool { return h.Stats().UnprovenClosed["timeout"] == 50 })
	for _, conn := range idle {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("not closed: %v", err)
		}
	}
}

// The end of a link over TLS is a close_notify behind what was queued.
func TestTLSEnd(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	h, address := secureHub(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{}).TLS(t)}}})
	w, err := dialTLS(t, address, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	w.register(1)
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := w.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end of the stream", err)
	}
}

// A worker in the midst of its handshake when the hub closes is not reset, whatever it has sent by then.
func TestTLSHandshakeAtTheEnd(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	asked := make(chan struct{})
	var h *Hub
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		close(asked)
		<-h.stop
		return nil, errors.New("too late")
	}}
	h, address := secureHub(t, Config{TLS: config})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_ = tls.Client(&oneFlight{conn}, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}).Handshake()
	<-asked
	if _, err := conn.Write(make([]byte, 8<<10)); err != nil { // more than is read of a record
		t.Fatal(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := h.Stats().UnprovenClosed["shutdown"]; n != 1 {
		t.Errorf("%d closed by the shutdown, want 1", n)
	}
	if b, err := io.ReadAll(conn); err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

// A oneFlight is a connection of which only the first flight is sent, and nothing is read.
type oneFlight struct{ net.Conn }

func (*oneFlight) Read([]byte) (int, error) { return 0, io.EOF }
