package longbridge

import (
	"fmt"
	"strconv"
)

// A Version is the protocol version of a connection. The documentation knows 1
// alone; 2, which adds metadata to every packet, exists in the vendor's Go client.
type Version uint8

const (
	Version1 Version = 1
	Version2 Version = 2
)

func (v Version) valid() bool { return v == Version1 || v == Version2 }

// A Platform is what a client says it runs on. Other values than these are accepted.
type Platform uint8

const (
	PlatformUnknown Platform = iota
	PlatformIOS
	PlatformAndroid
	PlatformWeb
	PlatformServer
	PlatformMac
	PlatformWindows
	PlatformLinux
	PlatformTerminal
	PlatformOpenAPI // what every OpenAPI client sends
)

var platformNames = [...]string{
	"unknown", "iOS", "Android", "web", "server", "mac", "Windows", "Linux", "terminal", "OpenAPI",
}

func (p Platform) String() string {
	if int(p) < len(platformNames) {
		return platformNames[p]
	}
	return "platform " + strconv.Itoa(int(p))
}

// HandshakeSize is the length of a TCP handshake. The server does not answer it.
const HandshakeSize = 2

// A Handshake opens a connection and fixes how its packets are written.
type Handshake struct {
	Version  Version
	Codec    Codec // of control messages
	Platform Platform
	Reserved uint8 // 4 bits, 0 when sent, ignored
}

// DefaultHandshake is what every deployed client sends, and the form of the
// goodbye to a client whose own cannot be read.
func DefaultHandshake() Handshake {
	return Handshake{Version: Version1, Codec: Protobuf, Platform: PlatformOpenAPI}
}

// SniffByte reports whether a TCP stream that starts with b can be Longbridge.
func SniffByte(b byte) bool {
	return Version(b&0x0f).valid() && Codec(b>>4).valid()
}

// ParseHandshake reads the handshake in front of src and reports the n bytes it
// used. n is 0 without an error when src is too short. A wrong first byte is
// ErrHandshake even before the second has come.
func ParseHandshake(src []byte) (hs Handshake, n int, err error) {
	if len(src) == 0 {
		return Handshake{}, 0, nil
	}
	if !SniffByte(src[0]) {
		return Handshake{}, 0, ErrHandshake
	}
	if len(src) < HandshakeSize {
		return Handshake{}, 0, nil
	}
	return Handshake{
		Version:  Version(src[0] & 0x0f),
		Codec:    Codec(src[0] >> 4),
		Platform: Platform(src[1] & 0x0f),
		Reserved: src[1] >> 4,
	}, HandshakeSize, nil
}

// AppendHandshake encodes hs, four bits of each field, after dst.
func AppendHandshake(dst []byte, hs Handshake) []byte {
	return append(dst,
		byte(hs.Version)&0x0f|byte(hs.Codec)<<4,
		byte(hs.Platform)&0x0f|hs.Reserved<<4)
}

// ParseQuery reads the handshake of a WebSocket client from the values of its
// query parameters version, codec and platform, decimal numbers. Without a
// platform it is PlatformOpenAPI; the other two are required, and the error
// wraps ErrHandshake and names the one that is wrong. (The
// vendor's Go client says codec 1 here also when it goes on in JSON, so that
// only TCP serves it in JSON.)
func ParseQuery(version, codec, platform string) (Handshake, error) {
	v, ok := parseNibble(version)
	if !ok || !Version(v).valid() {
		return Handshake{}, fmt.Errorf("%w: version %.16q", ErrHandshake, version)
	}
	c, ok := parseNibble(codec)
	if !ok || !Codec(c).valid() {
		return Handshake{}, fmt.Errorf("%w: codec %.16q", ErrHandshake, codec)
	}
	p, ok := uint8(PlatformOpenAPI), true
	if platform != "" {
		p, ok = parseNibble(platform)
	}
	if !ok {
		return Handshake{}, fmt.Errorf("%w: platform %.16q", ErrHandshake, platform)
	}
	return Handshake{Version: Version(v), Codec: Codec(c), Platform: Platform(p)}, nil
}

// parseNibble reads a decimal number that four bits of a TCP handshake could hold.
func parseNibble(s string) (n uint8, ok bool) {
	v, err := strconv.ParseUint(s, 10, 4)
	return uint8(v), err == nil
}

// AppendQuery writes hs after dst as the query of a WebSocket URL, without the
// question mark.
func AppendQuery(dst []byte, hs Handshake) []byte {
	dst = append(dst, "codec="...)
	dst = strconv.AppendUint(dst, uint64(hs.Codec), 10)
	dst = append(dst, "&platform="...)
	dst = strconv.AppendUint(dst, uint64(hs.Platform), 10)
	dst = append(dst, "&version="...)
	return strconv.AppendUint(dst, uint64(hs.Version), 10)
}
