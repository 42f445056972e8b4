package engine

import (
	"bytes"
	"errors"
)

// The stage of TLS begins with the first bytes. Until the first ClientHello is whole a connection costs
// nothing but those; then it is given to a handshake.

// A tlsStart is the handler of a connection on a listener with TLS until its ClientHello is whole.
type tlsStart struct{ unknown }

// Bytes that begin a record (RFC 8446, 5.1).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordData             = 23

	recordHeader = 5
	// maxRecord is the longest body of a record, encrypted (RFC 5246, 6.2.3).
	maxRecord = 16384 + 2048
)

func (tlsStart) OnBytes(c *Conn, b []byte) (n, need int) {
	if len(b) == 0 {
		return 0, 1
	}
	if b[0] != recordHandshake {
		if c.Listener().TLSAuto {
			c.loop.enter(c, stageSniff)
			return c.handler.OnBytes(c, b)
		}
		if isHTTP(b) {
			c.Write(httpOnTLS)
		}
		c.Close(ReasonNotTLS)
		return 0, len(b) + 1
	}
	size, err := helloSize(b)
	switch {
	case err != nil:
		c.loop.stats.handshakes.failed.Add(1)
		c.loop.engine.log.Debug("no ClientHello", "peer", c.Peer(), "err", err)
		c.Write(alertRecord(alertDecodeError))
		c.Close(ReasonTLSHandshake)
		return 0, len(b) + 1
	case size > len(b):
		return 0, size
	}
	c.loop.beginHandshake(c)
	return 0, 0
}

func (tlsStart) OnDeadline(c *Conn) {
	if c.outOfTime(ReasonTLSTimeout); !c.Open() {
		c.loop.stats.handshakes.timedOut.Add(1)
	}
}

func isHTTP(b []byte) bool {
	for _, method := range []string{"GET ", "POST", "HEAD", "PUT ", "OPTI"} {
		if len(b) >= len(method) && string(b[:len(method)]) == method {
			return true
		}
	}
	return false
}

// httpOnTLS is what a browser shows that was told http:// where https:// is served.
var httpOnTLS = []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n" +
	"Content-Length: 39\r\n\r\nThis port speaks TLS: wss:// or https:\n")

// Alerts that are sent without crypto/tls (RFC 8446, 6).
const (
	alertHandshakeFailure = 40
	alertDecodeError      = 50
	// alertInternalError is for what is neither the peer's fault nor the handshake's: there is no room.
	alertInternalError = 80
)

// alertRecord returns a fatal alert as a record that is not encrypted.
func alertRecord(alert byte) []byte { return []byte{recordAlert, 3, 1, 0, 2, 2, alert} }

// isHello reports whether b, which may be short, begins as a ClientHello does.
func isHello(b []byte) bool {
	return bytes.HasPrefix(b, []byte{recordHandshake, 3}) || len(b) == 1 && b[0] == recordHandshake
}

const (
	// maxHello is how long a ClientHello may be, in bytes: one with a post-quantum key share takes
	// 1.7 KiB, a ticket with a chain of certificates some more.
	maxHello = 32 << 10
	// maxHelloRecords is how many records it may come in: each is gone through again when more comes.
	maxHelloRecords = 32
)

var (
	errNoHello     = errors.New("the first record does not begin a ClientHello")
	errHelloLength = errors.New("a ClientHello that is too long")
	errHelloPieces = errors.New("a ClientHello in too many records")
)

// helloSize returns how many bytes the first ClientHello takes with the headers of its records, as far as
// b tells: when it is more than b has, more bytes may show that it is longer still.
func helloSize(b []byte) (int, error) {
	var header [4]byte // of the handshake message
	var got, whole int
	for off, records := 0, 0; ; records++ {
		if len(b)-off < recordHeader {
			return off + recordHeader, nil
		}
		r := b[off:]
		n := int(r[3])<<8 | int(r[4])
		switch {
		case r[0] != recordHandshake || r[1] != 3 || n == 0:
			return 0, errNoHello
		case n > maxRecord:
			return 0, errHelloLength
		case records == maxHelloRecords:
			return 0, errHelloPieces
		}
		body := r[recordHeader:min(len(r), recordHeader+n)]
		if got < len(header) {
			copy(header[got:], body)
			if len(body) > 0 && header[0] != 1 {
				return 0, errNoHello
			}
			if got+len(body) >= len(header) {
				whole = len(header) + int(header[1])<<16 + int(header[2])<<8 + int(header[3])
				if whole > maxHello {
					return 0, errHelloLength
				}
			}
		}
		got += n
		off += recordHeader + n
		if off > len(b) || whole > 0 && got >= whole {
			return off, nil
		}
	}
}

// recordSize returns how many bytes the record at the front of b takes, 0 if none begins so: then not
// even its length is waited for.
func recordSize(b []byte) int {
	switch {
	case len(b) > 0 && !isRecordType(b[0]), len(b) > 1 && b[1] != 3:
		return 0
	case len(b) < recordHeader:
		return recordHeader
	}
	n := int(b[3])<<8 | int(b[4])
	if n > maxRecord {
		return 0
	}
	return recordHeader + n
}

func isRecordType(t byte) bool { return t >= recordChangeCipherSpec && t <= recordData }

// noRecord returns what crypto/tls is shown in place of b, of which recordSize has returned 0: a header
// that it refuses with an alert, and without a body.
func noRecord(b []byte) []byte {
	header := []byte{0, 3, 3, 0, 0}
	copy(header, b)
	if !isRecordType(b[0]) {
		header[3], header[4] = 0, 0
	}
	return header
}
