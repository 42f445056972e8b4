package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// tlsRows are the rows over TLS 1.3: with clients that verify nothing and resume nothing, and one ECDSA
// certificate for all servers.
func tlsRows() []row {
	peers := []string{sluice, natsNew, mosquitto}
	return []row{
		{
			Name: "tlsfanout1k", Title: "TLS fan-out: 1,000 subscribers of one topic, 150 publishes/s, 100 B", TLS: true,
			About: "As above, but each delivery is encrypted for its subscriber: a record and a system call.",
			Unit:  "delivery", Main: "cpu", Peers: peers,
			Points:  []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000, Rate: 150}}},
			Targets: []target{{"cpu", false, 0.8, natsNew}, {"cpu", false, 1, mosquitto}},
		},
		{
			Name: "tlsflood", Title: "TLS fan-out as fast as possible: 1,000 subscribers of one topic, 100 B", TLS: true,
			About: "The publisher sends as much as the server takes. sluice gives each GOSOC packet a record of its own, as its clients need it, in as few system calls as there are.",
			Unit:  "delivery", Main: "rate", Peers: peers,
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000}}},
			Targets: []target{
				{"rate", true, 3, natsNew}, {"lost", false, 0, ""}, {"closed", false, 0, ""},
			},
		},
		{
			Name: "tlsfloodrun", Title: "TLS fan-out as fast as possible, records as large as what is sent together", TLS: true,
			About: "The same with --gosoc-tls-records run, as Longbridge and WebSocket clients get their packets, and as the others send theirs.",
			Unit:  "delivery", Main: "rate", Peers: peers, Flags: []string{"--gosoc-tls-records", "run"},
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000}}},
			Targets: []target{
				{"rate", true, 3, natsNew}, {"lost", false, 0, ""}, {"closed", false, 0, ""},
			},
		},
		{
			Name: "tlsidle10k", Title: "TLS idle: 10,000 connections with one subscription each", TLS: true,
			About: "Resident memory that a connection which is logged in and subscribed adds.",
			Unit:  "connection", Main: "conn", Columns: []string{"conn", "rss", "cores"}, Peers: peers,
			Points:  []point{{Config: bench.Config{Scenario: "idle", Connections: 10_000, TokenPrefix: "u"}}},
			Targets: []target{{"conn", false, 10 << 10, ""}, {"conn", false, 0.5, natsNew}},
		},
		{
			Name: "tlsstorm", Title: "TLS login storm: 5,000 connections shake hands, log in and subscribe to one topic", TLS: true,
			About: "Full handshakes, nothing is resumed: most of it is the signature and the key exchange.",
			Unit:  "login", Main: "cpu", Peers: peers,
			Points:  []point{{Config: bench.Config{Scenario: "connect", Connections: 5_000, TokenPrefix: "u", Duration: time.Minute}}},
			Targets: []target{{"cpu", false, 1.1, natsNew}},
		},
	}
}

// A tlsPair is the files of a certificate and its key.
type tlsPair struct{ cert, key string }

// config fills the two into what a server's config file says of TLS.
func (p *tlsPair) config(format string) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(format, p.cert, p.key)
}

func (at place) scheme() string {
	if at.tls != nil {
		return "tls"
	}
	return "tcp"
}

// tlsPair makes a certificate for 127.0.0.1, the same for all servers.
func (m *matrix) tlsPair() (*tlsPair, error) {
	p := &tlsPair{cert: filepath.Join(m.work, "cert.pem"), key: filepath.Join(m.work, "key.pem")}
	if _, err := os.Stat(p.cert); err == nil {
		return p, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600)
}
