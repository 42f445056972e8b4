package engine

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// testCertificate returns a certificate for localhost, which is its own authority.
var testCertificate = sync.OnceValue(func() tls.Certificate { return newCertificate("localhost") })

func newCertificate(name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{testCertificate()}} }

// clientTLS trusts the test's certificate and speaks one version.
func clientTLS(version uint16) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(testCertificate().Leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: version, MaxVersion: version}
}

// tlsVersions runs a test with each version.
func tlsVersions(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(strings.ReplaceAll(tls.VersionName(v), " ", ""), func(t *testing.T) { f(t, v) })
	}
}

func dialTLS(t testing.TB, addr string, config *tls.Config) *lineClient {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return overTLS(t, raw, config)
}

func overTLS(t testing.TB, raw net.Conn, config *tls.Config) *lineClient {
	t.Helper()
	c := tls.Client(raw, config)
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Time{})
	return &lineClient{t, c, bufio.NewReader(c)}
}

// slicer writes and reads n bytes at a time.
type slicer struct {
	net.Conn
	n int
}

func (s slicer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := s.Conn.Write(p[n:min(len(p), n+s.n)])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestTLSEcho(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		e, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
		c := dialTLS(t, addr, clientTLS(version))
		c.send("ECHO hello")
		c.expect("hello")
		c.send("BIG %s", strings.Repeat("x", 100)) // 100 KB: several records
		c.expect(strings.Repeat("b", 100_000))
		long := strings.Repeat("y", 300_000)
		c.send("ECHO %s", long)
		c.expect(long)
		c.send("ECHO again")
		c.expect("again")
		c.send("SUB t")
		c.expect("SUBSCRIBED true")
		other := dialTLS(t, addr, clientTLS(version))
		for i := range 1000 {
			other.send("PUB t %d", i)
		}
		for i := range 1000 {
			c.expect(fmt.Sprint(i))
		}
		h := e.Stats().Handshakes
		if h.TLS12+h.TLS13 != 2 || h.Failed != 0 || h.Running != 0 {
			t.Errorf("handshakes: %+v", h)
		}
		c.send("CLOSE")
		c.expect("BYE forced-offline")
		c.expectEOF() // behind close_notify
	})
}

func TestTLSByteByByte(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		_, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		c := overTLS(t, slicer{raw, 1}, clientTLS(version))
		c.send("ECHO one\nECHO two")
		c.expect("one")
		c.expect("two")
		text := strings.Repeat("z", 20_000)
		c.send("ECHO %s", text)
		c.expect(text)
	})
}

// Records of one byte, and packets over many records.
func TestTLSSmallRecords(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		// What comes before the loop knows that the handshake is over waits, unless reading can be paused.
		_, addr := startLine(t, Config{LoginBytes: 1 << 20}, ListenConfig{TLS: serverTLS()})
		c := dialTLS(t, addr, clientTLS(version))
		text := strings.Repeat("0123456789", 500)
		for _, b := range []byte("ECHO " + text + "\nECHO end\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		c.expect(text)
		c.expect("end")
	})
}

func TestTLSAuto(t *testing.T) {
	plainOnly(t)
	_, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS(), TLSAuto: true})
	plain, secure := dialLine(t, addr), dialTLS(t, addr, clientTLS(tls.VersionTLS13))
	for _, c := range []*lineClient{plain, secure} {
		c.send("ECHO x")
		c.expect("x")
	}
}

func TestTLSInfo(t *testing.T) {
	opened := make(chan Ref, 1)
	config := serverTLS()
	config.NextProtos = []string{"http/1.1"}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.ClientCAs = x509.NewCertPool()
	config.ClientCAs.AddCert(testCertificate().Leaf)
	e, addr := startLine(t, Config{}, ListenConfig{TLS: config, Protocols: []Protocol{lineProtocol{opened}}})
	ask := func(ref Ref) (info TLSInfo, ok bool) {
		done := make(chan bool)
		e.Tell(ref, func(c *Conn) { info, ok = c.TLS(); close(done) })
		<-done
		return info, ok
	}
	client := clientTLS(tls.VersionTLS13)
	client.NextProtos = []string{"http/1.1"}
	client.Certificates = []tls.Certificate{testCertificate()}
	c := dialTLS(t, addr, client)
	c.send("ECHO x")
	c.expect("x")
	info, ok := ask(<-opened)
	if !ok || info.Version != tls.VersionTLS13 || info.ServerName != "localhost" || info.Protocol != "http/1.1" ||
		info.Certificate == nil || info.Certificate.Subject.CommonName != "localhost" {
		t.Errorf("%+v, %v", info, ok)
	}
	bare := dialTLS(t, addr, clientTLS(tls.VersionTLS12))
	bare.send("ECHO x")
	bare.expect("x")
	if info, ok := ask(<-opened); !ok || info.Version != tls.VersionTLS12 || info.Certificate != nil {
		t.Errorf("%+v, %v", info, ok)
	}
}

// A client that ends its side behind what it asked for gets its answers, and the end.
func TestTLSHalfClose(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		for _, fin := range []bool{false, true} { // close_notify alone, and with a FIN
			_, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
			c := dialTLS(t, addr, clientTLS(version))
			c.send("ECHO a\nHOLD\nECHO b")
			secure := c.Conn.(*tls.Conn)
			if err := secure.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if fin {
				_ = secure.NetConn().(*net.TCPConn).CloseWrite()
			}
			for _, want := range []string{"a", "RESUMED", "b", "BYE peer-closed"} {
				c.expect(want)
			}
			c.expectEOF()
		}
	})
}

func TestTLSGarbage(t *testing.T) {
	plainOnly(t)
	hello := helloBytes(t, clientTLS(tls.VersionTLS13))
	for _, test := range []struct {
		name   string
		bytes  []byte
		reason Reason
		answer []byte // begins with
	}{
		{"plain", []byte("ECHO x\n"), ReasonNotTLS, nil},
		{"GOSOC", []byte{0x10, 5}, ReasonNotTLS, nil},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), ReasonNotTLS, []byte("HTTP/1.1 400 ")},
		{"SSLv2", []byte{0x80, 46, 1, 3, 1, 0, 0}, ReasonNotTLS, nil},
		{"no version", []byte{22, 9, 9, 0, 5}, ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"empty record", []byte{22, 3, 1, 0, 0}, ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"no hello", []byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"long record", []byte{22, 3, 1, 0xff, 0xff}, ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"long hello", []byte{22, 3, 1, 0, 4, 1, 1, 0, 0}, ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"many pieces", bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 40), ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"bad hello", append([]byte{22, 3, 1, 0, 10, 1, 0, 0, 6}, "garbag"...), ReasonTLSHandshake, []byte{21, 3, 1, 0, 2, 2, 50}},
		{"behind a hello", append(bytes.Clone(hello), 23, 3, 3, 0, 1, 0), ReasonTLSHandshake, []byte{22, 3, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
			c := dialLine(t, addr)
			if _, err := c.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(patience))
			got, err := io.ReadAll(c)
			if err != nil || !bytes.HasPrefix(got, test.answer) || test.answer == nil && len(got) > 0 {
				t.Errorf("answer % x, %v", got, err)
			}
			if n := e.Stats().Closed[test.reason]; n != 1 {
				t.Errorf("closed: %v", e.Stats().Closed)
			}
			c.Close()
			waitFor(t, "its end", func() bool { s := e.Stats(); return s.Connections == 0 && s.Handshakes.Running == 0 })
		})
	}
}

// helloBytes returns a ClientHello.
func helloBytes(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, config).Handshake() }()
	buf := make([]byte, 16<<10)
	_ = far.SetReadDeadline(time.Now().Add(patience))
	n, err := far.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	return buf[:n]
}

func TestTLSOnPlain(t *testing.T) {
	plainOnly(t)
	e, addr := startLine(t, Config{}, ListenConfig{})
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	err = tls.Client(raw, clientTLS(0)).Handshake()
	if err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("the client hears %v", err)
	}
	waitFor(t, "the close", func() bool { return e.Stats().Closed[ReasonTLSNotServed] == 1 })
}

// Behind a proxy the handshake begins where the header ends, and is the client's own.
func TestTLSBehindProxy(t *testing.T) {
	opened := make(chan Ref, 2)
	e, addr := startProxied(t, Config{ProxyTrust: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, ListenConfig{
		TLS: serverTLS(), Proxy: true,
		Protocols: []Protocol{lineProtocol{opened}},
	})
	for _, size := range []int{1, 1 << 20} {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		behind := &prefixed{slicer{raw, size}, []byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")}
		c := overTLS(t, behind, clientTLS(0))
		c.send("ECHO x")
		c.expect("x")
		peer := make(chan string, 1)
		e.Tell(<-opened, func(c *Conn) { peer <- c.Peer().String() })
		if got := <-peer; got != "192.0.2.7:4711" {
			t.Errorf("the peer is %s", got)
		}
	}
}

// prefixed writes its head with the first of what is written.
type prefixed struct {
	net.Conn
	head []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	head := len(p.head)
	n, err := p.Conn.Write(append(p.head, b...))
	p.head = nil
	return n - head, err
}

// What a connection with TLS is sent is counted as any other's: its messages, and the bytes on the wire.
func TestTLSTraffic(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{TLS: serverTLS()})
	c := dialTLS(t, addr, clientTLS(0))
	c.send("ECHO one\nECHO two")
	c.expect("one")
	c.expect("two")
	before, m := uint64(0), Traffic{}
	visit(t, e, 0, func(l *Loop) {
		l.Walk(0, func(c *Conn) bool {
			m = c.Traffic()
			return true
		})
		before = l.stats.bytesOut.Load()
	})
	if m.PacketsIn != 2 || m.PacketsOut != 2 || m.BytesOut != before || m.BytesOut < uint64(len("one\ntwo\n")) {
		t.Errorf("%+v, %d bytes sent", m, before)
	}
}
