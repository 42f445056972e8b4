package link

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicenet/sluice/codec/proxyproto"
	"github.com/sluicenet/sluice/engine/internal/address"
)

// shortestHeader is how long the shortest PROXY header is, in bytes: "PROXY UNKNOWN\r\n".
const shortestHeader = 15

// readHeader reads a PROXY header and not a byte more: what is behind it may be a handshake's.
func readHeader(r io.Reader) (proxyproto.Header, error) {
	b := make([]byte, 0, 2*shortestHeader)
	for {
		n, err := proxyproto.Length(b)
		if err != nil {
			return proxyproto.Header{}, err
		}
		want := n - len(b)
		switch {
		case n == 0:
			want = max(shortestHeader-len(b), 1)
		case want <= 0:
			h, _, err := proxyproto.Decode(b)
			return h, err
		}
		b = slices.Grow(b, want)
		got, err := r.Read(b[len(b) : len(b)+want])
		if b = b[:len(b)+got]; err != nil && got == 0 {
			return proxyproto.Header{}, err
		}
	}
}

// header reads the PROXY header of u's connection and takes over whose it is: then why is numRefusals.
func (u *unproven) header() (why refusal, err error) {
	if err := u.limit(u.begun.Add(u.hub.gateway.Engine().Limits().ProxyTimeout)); err != nil {
		return refusedClosed, err
	}
	h, err := readHeader(u.conn)
	var wrong *proxyproto.ProtocolError
	switch {
	case errors.As(err, &wrong):
		return refusedHeader, err
	case err != nil:
		if why, err = readRefusal(err); why == refusedTimeout {
			err = errors.New("in the PROXY header")
		}
		return why, err
	}
	switch why = u.relayed(&h); {
	case why == refusedAddress && !h.Names():
		return refusedClosed, errors.New("the proxy's own, such as a health check")
	case why != numRefusals:
		return why, nil
	}
	return numRefusals, u.limit(time.Time{})
}

// relayed notes whose connection a proxy says that u is. One of which it names no address, such as a
// health check of its own, is no worker by its address.
func (u *unproven) relayed(header *proxyproto.Header) refusal {
	h := u.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.made || h.closed {
		return refusedRoom
	}
	u.leaveLocked()
	switch {
	case header.Names() && header.Source.IsValid():
		from := netip.AddrPortFrom(address.Plain(header.Source.Addr()), header.Source.Port())
		u.ip, u.peer = from.Addr(), from.String()
	case header.Names():
		u.peer = "unix"
	}
	u.addr = address.Key(u.ip)
	why := h.mayProve(u)
	h.enterLocked(u) // run takes it off again
	return why
}
