package certs

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Tickets go on working when certificates are replaced, and are no other listener's.
func TestTickets(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	config := Config{Pairs: []Pair{{cert, key}}}
	s := newStore(t, config)
	server, other := s.TLS(Use{}), s.TLS(Use{})
	clients := make(map[string]*tls.Config)
	for name, v := range versions {
		clients[name] = &tls.Config{
			InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: v, ClientSessionCache: tls.NewLRUClientSessionCache(0),
		}
		connect(t, server, clients[name])
	}
	ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	if changed, err := s.Set(config); !changed || err != nil {
		t.Fatal(changed, err)
	}
	for name, client := range clients {
		if l := connect(t, server, client); l.clientErr != nil || !l.client.ConnectionState().DidResume {
			t.Errorf("%s: not resumed: %v", name, l.clientErr)
		}
		if l := connect(t, other, client); l.clientErr != nil || l.client.ConnectionState().DidResume {
			t.Errorf("%s: resumed at another listener, %v", name, l.clientErr)
		}
	}
}

// A client's ticket is worth as much as its certificate is: nothing, when its authority goes.
func TestTicketsAndClientCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, oldCA, newCA := certtest.New(t, "ca"), certtest.New(t, "old"), certtest.New(t, "new")
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	config := Config{Pairs: []Pair{{cert, key}}, ClientCA: certtest.File(t, dir, "clients.pem", oldCA.PEM)}
	s := newStore(t, config)
	server := s.TLS(Use{Auth: tls.RequireAndVerifyClientCert})
	clientOf := func(ca *certtest.CA, v uint16) *tls.Config {
		return &tls.Config{
			InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: v, ClientSessionCache: tls.NewLRUClientSessionCache(0),
			Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{Client: true, CommonName: "ann"}).TLS(t)},
		}
	}
	clients := make(map[string]*tls.Config)
	var lives []*link
	for name, v := range versions {
		if l := connect(t, server, &tls.Config{InsecureSkipVerify: true, MaxVersion: v}); l.clientErr == nil {
			t.Errorf("%s: taken without a certificate", name)
		}
		if l := connect(t, server, clientOf(newCA, v)); l.clientErr == nil {
			t.Errorf("%s: taken with a foreign certificate", name)
		}
		clients[name] = clientOf(oldCA, v)
		lives = append(lives, connect(t, server, clients[name]))
		l := connect(t, server, clients[name])
		if l.clientErr != nil || !l.client.ConnectionState().DidResume {
			t.Fatalf("%s: not resumed: %v", name, l.clientErr)
		}
		if got := l.server.ConnectionState().VerifiedChains; len(got) == 0 || got[0][0].Subject.CommonName != "ann" {
			t.Errorf("%s: resumed without its certificate", name)
		}
	}
	// Both authorities: nobody is refused.
	certtest.File(t, dir, "clients.pem", append(append([]byte{}, oldCA.PEM...), newCA.PEM...))
	s.look()
	s.look()
	for name, client := range clients {
		if l := connect(t, server, client); l.clientErr != nil || !l.client.ConnectionState().DidResume {
			t.Errorf("%s: not resumed under both: %v", name, l.clientErr)
		}
		if l := connect(t, server, clientOf(newCA, versions[name])); l.clientErr != nil {
			t.Errorf("%s: the new authority's: %v", name, l.clientErr)
		}
	}
	certtest.File(t, dir, "clients.pem", newCA.PEM)
	s.look()
	s.look()
	for name, client := range clients {
		if l := connect(t, server, client); l.clientErr == nil {
			t.Errorf("%s: the ticket has outlived its authority", name)
		}
	}
	for _, l := range lives {
		if !l.alive(t) {
			t.Error("a live connection has ended")
		}
	}
}

// Without authorities no certificate is good, the system's are not asked.
func TestNoAuthorities(t *testing.T) {
	t.Parallel()
	cert, key := certtest.New(t, "ca").Issue(t, certtest.Order{}).Write(t, t.TempDir(), "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}})
	inner, err := s.TLS(Use{Auth: tls.RequireAndVerifyClientCert}).GetConfigForClient(&tls.ClientHelloInfo{})
	if err != nil || inner.ClientCAs == nil {
		t.Errorf("ClientCAs %v, err %v", inner.ClientCAs, err)
	}
}

// Ticket keys are replaced every 8 hours: a ticket is good for 16 hours at least, and for 24 at most.
func TestTicketKeys(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	now := begin
	cert, key := certtest.New(t, "ca").Issue(t, certtest.Order{}).Write(t, t.TempDir(), "c")
	config := Config{Pairs: []Pair{{cert, key}}, now: func() time.Time { return now }}
	s := newStore(t, config)
	server := s.TLS(Use{})
	for name, v := range versions {
		client := &tls.Config{
			InsecureSkipVerify: true, ServerName: "localhost", MaxVersion: v, ClientSessionCache: tls.NewLRUClientSessionCache(0),
		}
		connect(t, server, client)
		ticket, _ := client.ClientSessionCache.Get("localhost")
		issued := now
		for hour := range 25 {
			now = issued.Add(time.Duration(hour) * time.Hour)
			s.rotateKeys()
			if hour%8 != 7 && hour%24 != 0 {
				continue
			}
			if _, err := s.Set(config); err != nil { // a reload neither adds a key nor takes one
				t.Fatal(err)
			}
			client.ClientSessionCache.Put("localhost", ticket)
			l := connect(t, server, client)
			if l.clientErr != nil || l.client.ConnectionState().DidResume != (hour < 24) {
				t.Errorf("%s, after %d hours: resumed is %v, %v", name, hour, l.client.ConnectionState().DidResume, l.clientErr)
			}
		}
	}
}
