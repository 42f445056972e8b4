//go:build !race

package engine

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// startTLSPackets runs an engine with the packet protocol and TLS.
func startTLSPackets(t testing.TB, loops int) string {
	t.Helper()
	e, err := New(Config{Loops: loops, Dialects: []Dialect{packetDialect}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop(t.Context()) })
	addr, err := e.Listen(ListenConfig{Network: "tcp4", Address: "127.0.0.1:0", Protocols: []Protocol{packetProtocol{}}, TLS: serverTLS()})
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

// sealedSize is what a packet takes in a record of its own.
const sealedSize = recordHeader + packetSize + 1 + 16

// A delivery over TLS allocates nothing, and of a packet that comes only crypto/tls does.
func TestTLSAllocations(t *testing.T) {
	const subscribers, rounds = 50, 500
	addr := startTLSPackets(t, 1)
	subs := make([]*recordClient, subscribers)
	for i := range subs {
		subs[i] = dialRecords(t, addr)
		if err := subs[i].write(subs[i].seal(recordData, packet('S'))); err != nil {
			t.Fatal(err)
		}
		subs[i].data()
	}
	pub := dialRecords(t, addr)
	var sealed [][]byte
	for range 2 * rounds { // mallocs does it twice
		sealed = append(sealed, pub.seal(recordData, packet('P')))
	}
	buf := make([]byte, sealedSize)
	for _, c := range subs {
		_ = c.conn.SetDeadline(time.Now().Add(patience))
	}
	got := mallocs(func() {
		for i := range rounds {
			if _, err := pub.conn.Write(sealed[i]); err != nil {
				t.Fatal(err)
			}
			for _, c := range subs {
				if _, err := io.ReadFull(c.conn, buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		sealed = sealed[rounds:]
	}) / rounds
	t.Logf("%.2f allocations per message, %.4f per delivery", got, got/subscribers)
	if got >= 6 { // of crypto/tls, for the one record that comes
		t.Errorf("%.2f allocations per message that is delivered %d times", got, subscribers)
	}
}

func BenchmarkTLSEcho(b *testing.B) {
	addr := startTLSPackets(b, 1)
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, clientTLS(0))
	p := packet('E')
	b.SetBytes(packetSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
}
