package gosoc

import "encoding/binary"

// A Form is one of the two ways to write the same packets. A connection's first byte chooses it
// for both directions and for good.
type Form uint8

const (
	Compact Form = iota // varint lengths, as the deployed clients and server write
	Fixed6              // six-byte header, u16 lengths of fields
)

func (f Form) String() string {
	if f == Fixed6 {
		return "fixed6"
	}
	return "compact"
}

// The first byte of a Connect without header flags; the first packet must be a Connect.
const (
	firstCompact = byte(TypeConnect) << 4
	firstFixed6  = byte(TypeConnect)
)

const (
	protocolName = "GOSOC"

	// The shortest body that has the name in it. That of a whole Connect is longer, but what names
	// itself is a broken Connect and no other protocol.
	minNamedCompact = 1 + len(protocolName)
	minNamedFixed6  = 2 + len(protocolName)
)

// Sniff tells the form from a connection's first byte. Any other byte than a plain Connect's is
// not GOSOC, although Compact could be read with header flags there: no client sends any, and
// 0x16 begins a TLS handshake.
func Sniff(first byte) (f Form, ok bool) {
	switch first {
	case firstCompact:
		return Compact, true
	case firstFixed6:
		return Fixed6, true
	}
	return 0, false
}

// Recognize looks at the first bytes of a connection, as many as have come, up to the protocol
// name. ok means that they are a Connect's and f its form; !ok with a nil error asks for more.
// The error wraps ErrNotGOSOC and comes with the first byte that no Connect has there, so that the
// caller can close at once and need not wait for the rest of a packet that will never be one.
func Recognize(src []byte) (f Form, ok bool, err error) {
	if len(src) == 0 {
		return 0, false, nil
	}
	f, ok = Sniff(src[0])
	if !ok {
		return 0, false, notGOSOC(0)
	}
	if f == Fixed6 {
		ok, err = recognizeFixed6(src)
	} else {
		ok, err = recognizeCompact(src)
	}
	return f, ok, err
}

func recognizeCompact(src []byte) (ok bool, err error) {
	remaining, n := varint(src[1:])
	switch {
	case n == 0:
		return false, nil
	case n < 0:
		return false, notGOSOC(maxVarint)
	case remaining < minNamedCompact:
		return false, notGOSOC(n)
	}
	// The length of the name may be written with more bytes than it takes, as any varint.
	want := byte(len(protocolName))
	for i := 1 + n; i < len(src); i++ {
		if src[i]&0x7f != want || i == n+maxVarint && src[i] >= 0x80 {
			return false, notGOSOC(i)
		}
		if src[i] < 0x80 {
			return recognizeName(src, i+1)
		}
		want = 0
	}
	return false, nil
}

func recognizeFixed6(src []byte) (ok bool, err error) {
	if len(src) > 1 && src[1] > maxRemaining>>24 {
		return false, notGOSOC(1)
	}
	if len(src) > 4 && binary.BigEndian.Uint32(src[1:]) < uint32(minNamedFixed6) {
		return false, notGOSOC(4)
	}
	if len(src) > 5 && src[5]&flagReserved != 0 {
		return false, notGOSOC(5)
	}
	if len(src) > 6 && src[6] != 0 {
		return false, notGOSOC(6)
	}
	if len(src) > 7 && src[7] != byte(len(protocolName)) {
		return false, notGOSOC(7)
	}
	return recognizeName(src, 8)
}

// recognizeName compares what there is of the name, which begins at offset at.
func recognizeName(src []byte, at int) (ok bool, err error) {
	for i := range len(protocolName) {
		if at+i >= len(src) {
			return false, nil
		}
		if src[at+i] != protocolName[i] {
			return false, notGOSOC(at + i)
		}
	}
	return true, nil
}

func notGOSOC(offset int) error {
	return &ProtocolError{Offset: offset, Err: ErrNotGOSOC}
}
