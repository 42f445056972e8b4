package proxyproto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// decodeV2 reads a whole header of version 2, whose fixed part Length has checked.
func decodeV2(src []byte) (Header, error) {
	h := Header{Version: 2, Command: Command(src[12] & 0xf)}
	family := Family(src[13] >> 4)
	end := min(fixed+family.addresses(), len(src))
	if h.Command == Proxy { // or the family and what it stands for are to be ignored
		h.Family, h.Transport = family, Transport(src[13]&0xf)
		h.readAddresses(src[fixed:end])
	}
	switch at := whole(src, end); {
	case at >= 0 && h.Family == Unspec:
		return h, nil // what is there is not TLVs, and to be ignored
	case at >= 0:
		return Header{}, malformed(at, ErrTLV)
	}
	if err := checkTLVs(src, end); err != nil {
		return Header{}, err
	}
	h.TLVs = src[end:len(src):len(src)]
	return h, nil
}

// readAddresses takes b, the addresses of h's family, apart.
func (h *Header) readAddresses(b []byte) {
	switch h.Family {
	case Inet:
		h.Source = addrPort(b[0:4], b[8:10])
		h.Destination = addrPort(b[4:8], b[10:12])
	case Inet6:
		h.Source = addrPort(b[0:16], b[32:34])
		h.Destination = addrPort(b[16:32], b[34:36])
	case Unix:
		h.SourcePath = bytes.TrimRight(b[:pathLen], "\x00")
		h.DestinationPath = bytes.TrimRight(b[pathLen:], "\x00")
	}
}

func addrPort(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr)
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}
