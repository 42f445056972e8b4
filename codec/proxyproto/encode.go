package proxyproto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Append encodes h after dst, in the version that it says. A TLV of TypeCRC32C gets the checksum of the
// header as its value.
func Append(dst []byte, h *Header) ([]byte, error) {
	switch h.Version {
	case 1:
		return appendLine(dst, h)
	case 2:
		return appendV2(dst, h)
	}
	return dst, ErrNoSuchForm
}

func appendLine(dst []byte, h *Header) ([]byte, error) {
	switch {
	case h.Command != Proxy || len(h.TLVs) > 0:
		return dst, ErrNoSuchForm
	case h.Family == Unspec:
		return append(dst, line+"UNKNOWN\r\n"...), nil
	case h.Family == Unix || h.Transport != Stream:
		return dst, ErrNoSuchForm
	case !h.addressed():
		return dst, ErrNoAddress
	}
	protocol := "TCP4 "
	if h.Family == Inet6 {
		protocol = "TCP6 "
	}
	dst = append(append(dst, line...), protocol...)
	for _, a := range []netip.AddrPort{h.Source, h.Destination} {
		dst = append(a.Addr().AppendTo(dst), ' ')
	}
	dst = append(strconv.AppendUint(dst, uint64(h.Source.Port()), 10), ' ')
	return append(strconv.AppendUint(dst, uint64(h.Destination.Port()), 10), '\r', '\n'), nil
}

func appendV2(dst []byte, h *Header) ([]byte, error) {
	n := h.Family.addresses() + len(h.TLVs)
	switch {
	case h.Command > Proxy || h.Family > Unix || h.Transport > Datagram:
		return dst, ErrNoSuchForm
	case n > MaxHeader-fixed:
		return dst, ErrTooLong
	case (h.Family == Inet || h.Family == Inet6) && !h.addressed():
		return dst, ErrNoAddress
	case len(h.SourcePath) > pathLen || len(h.DestinationPath) > pathLen:
		return dst, ErrPathTooLong
	}
	begin := len(dst)
	dst = append(dst, signature...)
	dst = append(dst, 2<<4|byte(h.Command), byte(h.Family)<<4|byte(h.Transport))
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	switch h.Family {
	case Inet, Inet6:
		dst = append(dst, h.Source.Addr().AsSlice()...)
		dst = append(dst, h.Destination.Addr().AsSlice()...)
		dst = binary.BigEndian.AppendUint16(dst, h.Source.Port())
		dst = binary.BigEndian.AppendUint16(dst, h.Destination.Port())
	case Unix:
		for _, path := range [][]byte{h.SourcePath, h.DestinationPath} {
			dst = append(dst, path...)
			dst = append(dst, bytes.Repeat([]byte{0}, pathLen-len(path))...)
		}
	}
	tlvs := len(dst)
	dst = append(dst, h.TLVs...)
	fillChecksum(dst[begin:], tlvs-begin)
	return dst, nil
}

// addressed reports whether h has the addresses that its family wants.
func (h *Header) addressed() bool {
	for _, a := range []netip.Addr{h.Source.Addr(), h.Destination.Addr()} {
		if !a.IsValid() || a.Zone() != "" || a.Is4() != (h.Family == Inet) {
			return false
		}
	}
	return true
}
