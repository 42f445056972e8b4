package proxyproto

import "net/netip"

// A Command says on whose behalf a connection was made.
type Command uint8

// The commands of version 2. A line of version 1 is Proxy.
const (
	Local Command = iota // the proxy's own, such as a health check
	Proxy                // a client's
)

// A Family is the kind of addresses that a header has.
type Family uint8

// The families. UNKNOWN of version 1 is Unspec.
const (
	Unspec Family = iota
	Inet
	Inet6
	Unix
)

// A Transport is what the client's connection to the proxy is.
type Transport uint8

// The transports. Those of version 1 are Stream, but for UNKNOWN.
const (
	UnspecTransport Transport = iota
	Stream
	Datagram
)

// A Header is what a proxy says of a connection.
type Header struct {
	Version   uint8 // 1 or 2
	Command   Command
	Family    Family
	Transport Transport
	// Source and Destination are the client's address and the proxy's at which it has connected, of
	// families Inet and Inet6. They are as sent: IPv6 may be IPv4-mapped.
	Source, Destination netip.AddrPort
	// SourcePath and DestinationPath are those of family Unix, without the zeros behind them. The name
	// of an abstract socket begins with a zero.
	SourcePath, DestinationPath []byte
	// TLVs are what version 2 says beyond that, whole and in order; see Values and AppendTLV.
	TLVs []byte
}

// Names reports whether h says who the client is, with an address or with the path of a unix socket.
// When it does not, the connection's own addresses count.
func (h *Header) Names() bool {
	return h.Command == Proxy && h.Family != Unspec && h.Transport != UnspecTransport
}

const (
	// MaxLine is how long a header of version 1 may be, in bytes.
	MaxLine = 107
	// MaxHeader is how long one of version 2 can be, in bytes.
	MaxHeader = fixed + 1<<16 - 1

	fixed   = 16 // bytes of version 2 that are always there
	pathLen = 108
	// line and signature are what the versions begin with.
	line      = "PROXY "
	signature = "\r\n\r\n\x00\r\nQUIT\n"
)

// addresses returns how many bytes version 2 has for the addresses of a family.
func (f Family) addresses() int {
	switch f {
	case Inet:
		return 2*4 + 2*2
	case Inet6:
		return 2*16 + 2*2
	case Unix:
		return 2 * pathLen
	}
	return 0
}
