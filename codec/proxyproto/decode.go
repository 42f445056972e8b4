package proxyproto

import "encoding/binary"

// Length returns how long the header at the front of src is, in bytes, which may be more than src has.
// 0 without an error means that src is too short to say. An error is a *ProtocolError, and comes as
// soon as nothing that may follow could make a header of src.
func Length(src []byte) (int, error) {
	switch {
	case len(src) == 0:
		return 0, nil
	case src[0] == line[0]:
		return lineLength(src)
	}
	if err := matches(src, signature); err != nil {
		return 0, err
	}
	return lengthV2(src)
}

// matches reports whether src begins like want, as far as both go.
func matches(src []byte, want string) error {
	for i := range min(len(src), len(want)) {
		if src[i] != want[i] {
			return malformed(i, ErrNoHeader)
		}
	}
	return nil
}

// lengthV2 is Length of what begins with the signature.
func lengthV2(src []byte) (int, error) {
	if len(src) > 12 {
		switch version, command := src[12]>>4, Command(src[12]&0xf); {
		case version != 2:
			return 0, malformed(12, ErrVersion)
		case command > Proxy:
			return 0, malformed(12, ErrCommand)
		}
	}
	if len(src) > 13 && Command(src[12]&0xf) == Proxy {
		switch family, transport := Family(src[13]>>4), Transport(src[13]&0xf); {
		case family > Unix:
			return 0, malformed(13, ErrFamily)
		case transport > Datagram:
			return 0, malformed(13, ErrTransport)
		}
	}
	if len(src) < fixed {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(src[14:]))
	if Command(src[12]&0xf) == Proxy && n < Family(src[13]>>4).addresses() {
		return 0, malformed(14, ErrTooShort)
	}
	return fixed + n, nil
}

// Decode reads the header at the front of src and returns the n bytes that it took. n == 0 without an
// error means that src ends inside it. An error is a *ProtocolError. The Header's paths and TLVs point
// into src.
func Decode(src []byte) (h Header, n int, err error) {
	n, err = Length(src)
	switch {
	case err != nil, n == 0, n > len(src):
		return Header{}, 0, err
	case src[0] == line[0]:
		h, err = decodeLine(src[:n])
	default:
		h, err = decodeV2(src[:n])
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}
