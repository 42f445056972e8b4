package engine

import (
	"crypto/tls"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Paused input is neither read nor decrypted beyond what one turn had taken.
func TestTLSPausedInput(t *testing.T) {
	opened := make(chan Ref, 1)
	e, addr := startLine(t, Config{InputBacklog: 64 << 10}, ListenConfig{TLS: serverTLS(), Protocols: []Protocol{lineProtocol{opened}}})
	needsPause(t, e)
	c := dialTLS(t, addr, clientTLS(0))
	c.send("STOP")
	ref := <-opened
	line := "ECHO " + strings.Repeat("x", 1000) + "\n"
	const lines = 32 << 10
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, strings.Repeat(line, lines))
		written <- err
	}()
	time.Sleep(300 * time.Millisecond)
	type input struct{ plain, all int }
	held := make(chan input, 1)
	e.Tell(ref, func(c *Conn) { held <- input{c.Unhandled() - int(c.input), c.Unhandled()} })
	if n := <-held; n.plain > plainScratch || n.all > plainScratch+pauseAbove+64<<10 {
		t.Errorf("%+v bytes are held in memory", n)
	}
	if n := e.Stats().Accounts[KindInput]; n > 512<<10 {
		t.Errorf("%d bytes on the account", n)
	}
	e.Tell(ref, func(c *Conn) { c.Resume() })
	for i := range lines {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if got, err := c.r.ReadString('\n'); err != nil || got != line[5:] {
			t.Fatalf("line %d: %.20q, %v", i, got, err)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// Who does not read is closed for it, whichever way it is slow, with whole messages and final words, and
// what is kept encrypted of it is bounded and counted.
func TestTLSSlowConsumer(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		e, addr := startLine(t, Config{Loops: 1, Backlog: 256 << 10, Lag: 1 << 20, SendBuffer: 16 << 10, Linger: patience}, ListenConfig{TLS: serverTLS()})
		needsPause(t, e)
		slow, quick, pub := dialTLS(t, addr, clientTLS(version)), dialTLS(t, addr, clientTLS(version)), dialTLS(t, addr, clientTLS(version))
		for _, c := range []*lineClient{slow, quick} {
			c.send("SUB t")
			c.expect("SUBSCRIBED true")
		}
		_ = slow.tcp().SetReadBuffer(16 << 10)
		message := strings.Repeat("m", 1000)
		text := strings.Repeat("PUB t "+message+"\n", 100)
		closed := func() bool { return e.Stats().Closed[ReasonSlowConsumer] == 1 }
		for !closed() { // on a busy machine quick is slow, too, if nobody waits for it
			if _, err := io.WriteString(pub, text); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				quick.expect(message)
			}
		}
		_ = slow.SetReadDeadline(time.Now().Add(patience))
		n := 0
		for {
			got, err := slow.r.ReadString('\n')
			if err != nil {
				if err != io.EOF {
					t.Errorf("behind %d messages: %v", n, err)
				}
				break
			}
			switch got {
			case message + "\n":
				n++
			case "BYE slow-consumer\n":
			default:
				t.Fatalf("%.40q behind %d messages", got, n)
			}
		}
		slow.Close()
		waitFor(t, "its memory", func() bool { return e.Stats().Accounts[KindUnsent] == 0 && e.Stats().Accounts[KindShared] == 0 })
	})
}

// packetLine is the line protocol for clients that want each line in a record of its own.
type packetLine struct{ lineProtocol }

func (p packetLine) Open(c *Conn) Handler {
	return &packetLineHandler{p.lineProtocol.Open(c).(*lineHandler)}
}

type packetLineHandler struct{ *lineHandler }

func (*packetLineHandler) PacketSize(b []byte) int { return strings.IndexByte(string(b), '\n') + 1 }

// Packets get records of their own, also those that are sent together, and longer ones several.
func TestTLSRecordPerPacket(t *testing.T) {
	_, addr := startLine(t, Config{Loops: 1}, ListenConfig{TLS: serverTLS(), Protocols: []Protocol{packetLine{}}})
	c := dialRecords(t, addr)
	var text strings.Builder
	for range 100 {
		text.WriteString("ECHO one\nECHO number two\n")
	}
	if err := c.write(c.seal(recordData, []byte(text.String()))); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		for _, want := range []string{"one\n", "number two\n"} {
			if got := c.data(); got != want {
				t.Fatalf("a record of %q, want %q", got, want)
			}
		}
	}
	if err := c.write(c.seal(recordData, []byte("BIG "+strings.Repeat("x", 100)+"\nECHO behind\n"))); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 100_001; {
		got := c.data()
		if n += len(got); n < 100_001 && len(got) != 16384 || strings.Contains(got, "behind") {
			t.Fatalf("a record of %d bytes up to %d", len(got), n)
		}
	}
	if got := c.data(); got != "behind\n" {
		t.Errorf("%q behind a long packet", got)
	}
}

// Without, what is sent together shares records of 16 KiB.
func TestTLSRecordsTogether(t *testing.T) {
	_, addr := startLine(t, Config{Loops: 1}, ListenConfig{TLS: serverTLS()})
	c := dialRecords(t, addr)
	if err := c.write(c.seal(recordData, []byte(strings.Repeat("ECHO 123456\n", 1000)))); err != nil {
		t.Fatal(err)
	}
	if got := c.data(); got != strings.Repeat("123456\n", 1000) {
		t.Errorf("a record of %d bytes, want 7000", len(got))
	}
	if err := c.write(c.seal(recordData, []byte("BIG "+strings.Repeat("x", 60)+"\n"))); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 60_001; {
		got := c.data()
		if n += len(got); n < 60_001 && len(got) != 16384 {
			t.Fatalf("a record of %d bytes up to %d", len(got), n)
		}
	}
}

// A connection that is idle has no memory on its account, and crypto/tls keeps none of what it has sent.
// Where crypto/tls is not what it is known to be, it keeps its longest record, which is counted.
func TestTLSIdleAccount(t *testing.T) {
	if !connBuffers.known {
		t.Error("crypto/tls has changed: see findBuffers")
	}
	if findBuffers(reflect.TypeFor[struct{ rawInput []byte }]()).known {
		t.Error("something else is taken for a tls.Conn")
	}
	for name, known := range map[string]bool{"known": connBuffers.known, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			defer func(before bool) { connBuffers.known = before }(connBuffers.known)
			connBuffers.known = known
			t.Run("", func(t *testing.T) { // the engine has stopped behind it
				e, addr := startLine(t, Config{Loops: 1}, ListenConfig{TLS: serverTLS()})
				config := clientTLS(tls.VersionTLS13)
				config.DynamicRecordSizingDisabled = true
				c := dialTLS(t, addr, config)
				for range 3 {
					c.send("ECHO %s", strings.Repeat("x", 50_000))
					c.expect(strings.Repeat("x", 50_000))
					c.send("ECHO x")
					c.expect("x")
				}
				waitFor(t, "idleness", func() bool { return e.Stats().Total == 0 })
				least, most := int64(tlsMemory), int64(tlsMemory)
				if !known {
					least, most = tlsMemory+16384, tlsMemory+maxRecord+recordHeader
				}
				if n := e.Stats().Accounts[KindTLS]; n < least || n > most {
					t.Errorf("%d bytes of TLS, want %d to %d", n, least, most)
				}
			})
		})
	}
}
