package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/engine"
)

// A halfSent is a client that says a part of something, in pieces, and reads up to the end.
type halfSent struct {
	listen string // Config.Listen
	head   string // comes first, before TLS
	secure bool
	says   string
}

// Whatever clients have said by half when the gateway stops, it stops in order, and resets none that it
// has accepted.
func TestStopWithHalfSentInputs(t *testing.T) {
	const upgrade = "GET /%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	const connect = "\x10\x1c\x05GOSOC\x01\x00\x00\x3c\x11{\"token\":\"alice\"}"
	const ask = "\x62\x1e\x00\x01\x0bsluice.Echo\x0f{\"hello\":\"you\"}"
	const header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	gosoc := fmt.Sprintf(upgrade, "gosoc") + "\x82\x9e\x00\x00\x00\x00" + connect
	kinds := []halfSent{
		{"tcp://127.0.0.1:0?tls=auto", "", false, connect + ask},
		{"tcp://127.0.0.1:0?tls=auto", "", true, connect + ask},
		{"tls://127.0.0.1:0", "", true, connect + ask},
		{"ws://127.0.0.1:0", "", false, gosoc},
		{"ws://127.0.0.1:0", "", false, fmt.Sprintf(upgrade, "netsvr") + "\x81\x88\x00\x00\x00\x00001hello"},
		{"wss://127.0.0.1:0", "", true, gosoc},
		{"unix://" + filepath.Join(t.TempDir(), "s"), "", false, connect + ask},
		{"tcp://127.0.0.1:0?proxy=on", header, false, connect + ask},
		{"tls://127.0.0.1:0?proxy=on", header, true, connect + ask},
	}
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		config := Config{Dev: true, TLS: TLSConfig{Dev: true}, Gateway: GatewayConfig{Login: openLogin}, Engine: engine.Config{
			ProxyTrust: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Linger: patience, ConnectRatePerAddress: -1, Loops: 2,
		}}
		for _, k := range kinds {
			config.Listen = append(config.Listen, k.listen)
		}
		config.Listen = slices.Compact(config.Listen)
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		at := make(map[string]string)
		for i, listen := range config.Listen {
			at[listen] = s.Addrs()[i]
		}
		var clients sync.WaitGroup
		var connected, reset atomic.Int64
		for _, k := range kinds {
			clients.Go(func() {
				time.Sleep(rand.N(4 * time.Millisecond))
				scheme, address, _ := strings.Cut(at[k.listen], "://")
				address, _, _ = strings.Cut(address, "?")
				network := "tcp"
				if scheme == "unix" {
					network = "unix"
				}
				conn, err := net.Dial(network, address)
				if err != nil {
					return
				}
				defer conn.Close()
				connected.Add(1)
				if err := k.talk(conn); errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
					reset.Add(1)
				}
			})
		}
		time.Sleep(rand.N(8 * time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err = s.Stop(ctx)
		cancel()
		clients.Wait()
		stats := s.Engine().Stats()
		if err != nil || stats.Panics > 0 {
			t.Errorf("%v, %d panics", err, stats.Panics)
		}
		// A client may have connected when the listener closed, and then the kernel resets it.
		if n, missed := reset.Load(), connected.Load()-int64(stats.Accepted); n > missed {
			t.Errorf("%d clients are reset, and %d have not been accepted", n, missed)
		}
	}
}

// talk says a part, sometimes not even what comes first, and returns the error that ends the connection.
func (k halfSent) talk(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	head, says, secure := k.head, k.says[:rand.IntN(len(k.says)+1)], k.secure
	if rand.IntN(6) == 0 {
		head, says, secure = head[:rand.IntN(len(head)+1)], "", false
	}
	conn = inPieces{conn}
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := io.WriteString(conn, says); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn)
	return err
}

// inPieces writes a few bytes at a time, with pauses.
type inPieces struct{ net.Conn }

func (p inPieces) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := p.Conn.Write(b[n:min(len(b), n+1+rand.IntN(200))])
		if n += m; err != nil {
			return n, err
		}
		time.Sleep(rand.N(100 * time.Microsecond))
	}
	return n, nil
}
