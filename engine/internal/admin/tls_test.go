package admin_test

import (
	"crypto/tls"
	"strings"
	"testing"

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
