package admin_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// TestConnectionTLS: what a handshake has agreed on is shown, and of a plain connection nothing.
func TestConnectionTLS(t *testing.T) {
	s := start(t, func(c *server.Config) {
		c.Gateway.Login = login.Open{}
		c.Listen, c.TLS = []string{"tcp://127.0.0.1:0?tls=auto"}, server.TLSConfig{Dev: true}
	})
	a := &apiClient{t: t, base: s.AdminURL(), description: admin.ReadDescription(t)}
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	addr, _, _ = strings.Cut(addr, "?")
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packet, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: []byte(`{"token":"ann"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	readPacket(t, c)
	var p page
	a.get("/api/v1/connections", "/api/v1/connections?user=ann", 200, &p)
	if len(p.Connections) != 1 {
		t.Fatalf("%+v", p)
	}
	var d struct {
		TLS *struct{ Version, CipherSuite, ServerName, ClientSubject string }
	}
	a.get("/api/v1/connections/{id}", "/api/v1/connections/"+p.Connections[0].UniqID, 200, &d)
	if d.TLS == nil || d.TLS.Version != "TLS 1.3" || !strings.HasPrefix(d.TLS.CipherSuite, "TLS_") || d.TLS.ServerName != "localhost" {
		t.Errorf("%+v", d.TLS)
	}
	member(t, s, "bob")
	p = page{}
	a.get("/api/v1/connections", "/api/v1/connections?user=bob", 200, &p)
	d.TLS = nil
	if a.get("/api/v1/connections/{id}", "/api/v1/connections/"+p.Connections[0].UniqID, 200, &d); d.TLS != nil {
		t.Errorf("of a plain connection: %+v", d.TLS)
	}
}

// A TLS handshake that is under way at a shutdown may end within the time that requests have. Then the
// connection closes in order: net/http answers no request that comes so late.
func TestShutdownInHandshake(t *testing.T) {
	var err error
	for range 5 { // on a machine that stands still the time may be over
		if err = askInShutdown(t); err == nil {
			return
		}
	}
	t.Error(err)
}

// askInShutdown stops a gateway between a client's connection and its handshake, and reads up to the end.
func askInShutdown(t *testing.T) error {
	s := start(t, func(c *server.Config) {
		c.Admin.Address, c.TLS = "https://127.0.0.1:0", server.TLSConfig{Dev: true}
	})
	_, addr, _ := strings.Cut(s.AdminURL(), "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	probe := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	if resp, err := probe.Get(s.AdminURL() + "/livez"); err != nil { // so that conn, which came before, is accepted
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		stopped <- s.Stop(ctx)
	}()
	defer func() { <-stopped }()
	for { // until nobody listens
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		c.Close()
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadAll(c)
	return err
}
