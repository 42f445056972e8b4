package engine

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A recordClient is a TLS 1.3 client behind its handshake whose records a test makes itself, with
// TLS_AES_128_GCM_SHA256.
type recordClient struct {
	t         testing.TB
	conn      net.Conn
	send, get trafficKey
}

// A trafficKey protects the records of one direction (RFC 8446, 5.2 and 7.3).
type trafficKey struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func expandLabel(secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(append(info, "tls13 "+label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

func (k *trafficKey) set(secret []byte) {
	block, _ := aes.NewCipher(expandLabel(secret, "key", 16))
	aead, _ := cipher.NewGCM(block)
	*k = trafficKey{secret: secret, aead: aead, iv: expandLabel(secret, "iv", 12)}
}

// update is what a KeyUpdate does to the key.
func (k *trafficKey) update() { k.set(expandLabel(k.secret, "traffic upd", 32)) }

func (k *trafficKey) nonce() []byte {
	n := bytes.Clone(k.iv)
	for i := range 8 {
		n[4+i] ^= byte(k.seq >> (56 - 8*i))
	}
	k.seq++
	return n
}

// dialRecords makes a handshake with crypto/tls and takes the connection over from it.
func dialRecords(t testing.TB, addr string) *recordClient {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	var keys bytes.Buffer
	config := clientTLS(tls.VersionTLS13)
	config.KeyLogWriter = &keys
	c := &recordClient{t: t, conn: raw}
	if err := tls.Client(raw, config).Handshake(); err != nil {
		t.Fatal(err)
	}
	if !c.takeKeys(keys.String()) {
		t.Skip("another suite was agreed")
	}
	return c
}

// takeKeys takes the keys from what crypto/tls has logged. It reports false if they are not for the suite.
func (c *recordClient) takeKeys(log string) bool {
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		secret, _ := hex.DecodeString(f[2])
		switch {
		case len(secret) != 32:
			return false
		case f[0] == "CLIENT_TRAFFIC_SECRET_0":
			c.send.set(secret)
		case f[0] == "SERVER_TRAFFIC_SECRET_0":
			c.get.set(secret)
		}
	}
	return true
}

// seal returns a record with the inner type given.
func (c *recordClient) seal(inner byte, p []byte) []byte {
	header := []byte{recordData, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(p)+1+16))
	return c.send.aead.Seal(header, c.send.nonce(), append(bytes.Clone(p), inner), header)
}

func (c *recordClient) write(p []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(p)
	return err
}

// keyUpdate returns a KeyUpdate, and changes the key behind it.
func (c *recordClient) keyUpdate(answer bool) []byte {
	request := byte(0)
	if answer {
		request = 1
	}
	p := c.seal(recordHandshake, []byte{24, 0, 0, 1, request})
	c.send.update()
	return p
}

// read returns the next record's inner type and content.
func (c *recordClient) read() (inner byte, p []byte, err error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	header := make([]byte, recordHeader)
	if _, err := io.ReadFull(c.conn, header); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return 0, nil, err
	}
	return c.open(append(header, body...))
}

// open decrypts a record. What tells of a new key changes it.
func (c *recordClient) open(record []byte) (inner byte, p []byte, err error) {
	header, body := record[:recordHeader], record[recordHeader:]
	p, err = c.get.aead.Open(nil, c.get.nonce(), body, header)
	if err != nil {
		return 0, nil, err
	}
	inner, p = p[len(p)-1], p[:len(p)-1]
	if inner == recordHandshake && p[0] == 24 {
		c.get.update()
	}
	return inner, p, nil
}

// data returns the content of the next record that has data.
func (c *recordClient) data() string {
	c.t.Helper()
	for {
		inner, p, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		if inner == recordData {
			return string(p)
		}
	}
}

// ending reads up to the connection's end and returns the alert that came, -1 for none.
func (c *recordClient) ending() int {
	alert := -1
	for {
		inner, p, err := c.read()
		if err != nil {
			return alert
		}
		if inner == recordAlert {
			alert = int(p[1])
		}
	}
}

func TestTLSKeyUpdate(t *testing.T) {
	e, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
	c := dialRecords(t, addr)
	for i, p := range [][]byte{
		c.seal(recordData, []byte("ECHO 0\n")),
		append(c.keyUpdate(false), c.seal(recordData, []byte("ECHO 1\n"))...),
		append(c.keyUpdate(true), c.seal(recordData, []byte("ECHO 2\n"))...),
		append(append(c.keyUpdate(true), c.keyUpdate(true)...), c.seal(recordData, []byte("ECHO 3\n"))...),
	} {
		if err := c.write(p); err != nil {
			t.Fatal(err)
		}
		if got := c.data(); got != fmt.Sprintf("%d\n", i) {
			t.Errorf("%q behind key update %d", got, i)
		}
	}
	// A KeyUpdate in records of one byte of its own.
	for _, b := range []byte{24, 0, 0, 1, 1} {
		if err := c.write(c.seal(recordHandshake, []byte{b})); err != nil {
			t.Fatal(err)
		}
	}
	c.send.update()
	if err := c.write(c.seal(recordData, []byte("ECHO 4\n"))); err != nil {
		t.Fatal(err)
	}
	if got := c.data(); got != "4\n" {
		t.Errorf("%q behind the key update in pieces", got)
	}
	if n := e.Stats().Handshakes.KeyUpdates; n < 5 {
		t.Errorf("%d records without data", n)
	}
}

// What does not move anybody on costs one connection, and that one only its own.
func TestTLSFloods(t *testing.T) {
	for _, test := range []struct {
		name   string
		record func(c *recordClient, i int) []byte
		reason Reason
		reads  bool
	}{
		{"empty records", func(c *recordClient, _ int) []byte { return c.seal(recordData, nil) }, ReasonTLSError, true},
		{"empty records between data", func(c *recordClient, i int) []byte {
			if i%10 == 0 {
				return c.seal(recordData, []byte("E"))
			}
			return c.seal(recordData, nil)
		}, ReasonTLSFlood, true},
		{"new keys", func(c *recordClient, _ int) []byte { return c.keyUpdate(true) }, ReasonTLSError, true},
		{"new keys between data", func(c *recordClient, i int) []byte {
			if i%10 == 0 {
				return c.seal(recordData, []byte("E"))
			}
			return c.keyUpdate(true)
		}, ReasonTLSFlood, true},
		{"new keys, nothing read", func(c *recordClient, i int) []byte {
			if i%10 == 0 {
				return c.seal(recordData, []byte("E"))
			}
			return c.keyUpdate(true)
		}, ReasonTLSFlood, false},
		{"a message without end", func(c *recordClient, i int) []byte {
			if i == 0 {
				return c.seal(recordHandshake, append([]byte{11, 3, 0xff, 0xff}, make([]byte, 16000)...))
			}
			return c.seal(recordHandshake, make([]byte, 16000))
		}, ReasonTLSFlood, true},
		{"a ticket", func(c *recordClient, _ int) []byte { return c.seal(recordHandshake, []byte{4, 0, 0, 0}) }, ReasonTLSError, true},
		{"an alert", func(c *recordClient, _ int) []byte { return c.seal(recordAlert, []byte{2, 40}) }, ReasonPeerClosed, true},
		{"no record", func(c *recordClient, _ int) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }, ReasonTLSError, true},
		{"a long record", func(c *recordClient, _ int) []byte { return []byte{23, 3, 3, 0xff, 0xff} }, ReasonTLSError, true},
		{"a forged record", func(c *recordClient, _ int) []byte {
			return append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...)
		}, ReasonTLSError, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, addr := startLine(t, Config{Loops: 1, Linger: 100 * time.Millisecond}, ListenConfig{TLS: serverTLS()})
			honest := dialTLS(t, addr, clientTLS(0))
			c := dialRecords(t, addr)
			if err := c.write(c.seal(recordData, []byte("ECHO x\n"))); err != nil { // the handshake is over behind it
				t.Fatal(err)
			}
			c.data()
			done := make(chan int, 1)
			if test.reads {
				go func() { done <- c.ending() }()
			} else {
				done <- 0
			}
			for i := range 5000 {
				if c.write(test.record(c, i)) != nil {
					break
				}
			}
			waitFor(t, "its end", func() bool { return e.Stats().Connections == 1 })
			if s := e.Stats(); s.Closed[test.reason] != 1 {
				t.Errorf("closed: %v", s.Closed)
			}
			honest.send("ECHO alive")
			honest.expect("alive")
			if alert := <-done; alert < 0 && test.reason == ReasonTLSError && test.name != "empty records" && test.name != "new keys" {
				t.Error("no alert") // of the two floods, unread input may have reset the connection
			}
		})
	}
}

// What begins no record is refused at once, whatever length it says and however little of it is there.
func TestTLSNoRecord(t *testing.T) {
	for name, tc := range map[string]struct {
		sent  string
		alert int // RFC 8446, 6.2
	}{
		"plain text":                     {"GET / HTTP/1.1\r\n\r\n", 70}, // protocol_version: ET is none
		"a byte of it":                   {"E", 20},                      // bad_record_mac
		"a type below all":               {"\x13\x03\x03\x40\x00", 20},
		"a heartbeat":                    {"\x18\x03\x03\x40\x00", 20}, // nobody has agreed on it (RFC 6520)
		"a type above all":               {"\xff\x03\x03\x40\x00", 20},
		"version 2":                      {"\x17\x02\x03\x40\x00", 70},
		"version 4":                      {"\x17\x04\x03\x40\x00", 70},
		"a length over the longest":      {"\x17\x03\x03\x48\x01", 22}, // record_overflow
		"an alert, longer than the most": {"\x15\x03\x03\xff\xff", 22},
	} {
		t.Run(name, func(t *testing.T) {
			e, addr := startLine(t, Config{Loops: 1}, ListenConfig{TLS: serverTLS()})
			c := dialRecords(t, addr)
			if err := c.write(c.seal(recordData, []byte("ECHO x\n"))); err != nil { // the handshake is over behind it
				t.Fatal(err)
			}
			c.data()
			if err := c.write([]byte(tc.sent)); err != nil {
				t.Fatal(err)
			}
			if alert := c.ending(); alert != tc.alert {
				t.Errorf("alert %d, want %d", alert, tc.alert)
			}
			if n := e.Stats().Closed[ReasonTLSError]; n != 1 {
				t.Errorf("closed: %v", e.Stats().Closed)
			}
		})
	}
}

// The same holds within the handshake, behind the ClientHello.
func TestTLSNoRecordInHandshake(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, sent := range []string{"ECHO hello\n", "E", "\x18\x03\x03\x40\x00"} {
			t.Run(fmt.Sprintf("%x, %q", version, sent), func(t *testing.T) {
				e, addr := startLine(t, Config{Loops: 1, HandshakeTimeout: 2 * patience}, ListenConfig{TLS: serverTLS()})
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if _, err := c.Write(append(helloBytes(t, clientTLS(version)), sent...)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Errorf("the end: %v", err)
				}
				if n := e.Stats().Closed[ReasonTLSHandshake]; n != 1 {
					t.Errorf("closed: %v", e.Stats().Closed)
				}
			})
		}
	}
}

func TestRecordSize(t *testing.T) {
	for _, tc := range []struct {
		front string
		want  int
	}{
		{"", 5}, {"\x14", 5}, {"\x17\x03\x03\x00", 5},
		{"\x17\x03\x03\x00\x00", 5}, {"\x16\x03\x01\x02\x00", 517}, {"\x17\x03\x03\x48\x00", 5 + 16384 + 2048},
		{"\x17\x03\x03\x48\x01", 0}, {"\x13", 0}, {"\x18", 0}, {"\x17\x02", 0}, {"GET / HTTP/1.1\r\n", 0},
	} {
		if got := recordSize([]byte(tc.front)); got != tc.want {
			t.Errorf("%q: %d, want %d", tc.front, got, tc.want)
		}
	}
}

// A downgrade by somebody between is seen, and TLS 1.2's renegotiation is refused.
func TestTLSRefusals(t *testing.T) {
	e, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	hello := helloBytes(t, clientTLS(tls.VersionTLS12))
	// TLS_FALLBACK_SCSV in place of the first suite (RFC 7507).
	at := recordHeader + 4 + 2 + 32
	at += 1 + int(hello[at]) + 2
	copy(hello[at:], []byte{0x56, 0x00})
	if _, err := raw.Write(hello); err != nil {
		t.Fatal(err)
	}
	_ = raw.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(raw)
	if err != nil || len(got) != 7 || got[0] != recordAlert || got[6] != 86 { // inappropriate_fallback
		t.Errorf("% x, %v", got, err)
	}
	waitFor(t, "the close", func() bool { return e.Stats().Closed[ReasonTLSHandshake] == 1 })
}

func TestTLSConfigsThatAreRefused(t *testing.T) {
	e, _ := plainEngine(t, Config{})
	t.Cleanup(func() { _ = stopWithin(e, patience) })
	old := serverTLS()
	old.MinVersion = tls.VersionTLS11
	for name, lc := range map[string]ListenConfig{
		"no certificate": {TLS: &tls.Config{}}, "auto alone": {TLSAuto: true}, "TLS 1.1": {TLS: old},
	} {
		lc.Network, lc.Address = "tcp", "127.0.0.1:0"
		if _, err := e.Listen(lc); err == nil || errors.Is(err, ErrStopped) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
