package longbridge

import "encoding/binary"

// AppendRequest encodes a request after dst: of h it takes Cmd, RequestID,
// Timeout and Gzip. Metadata comes from AppendMetadata and must be empty in
// version 1. With Gzip set, body is compressed already (see MaybeDeflate).
//
// The errors of this and the next two are ErrVersion, ErrBodyTooLarge,
// ErrMetadataTooLarge, ErrMetadataVersion, and ErrGzipEmpty because the
// vendor's client fails on it.
func AppendRequest(dst []byte, v Version, h Header, metadata, body []byte) ([]byte, error) {
	h.Type = Request
	return appendPacket(dst, v, &h, metadata, body)
}

// AppendResponse encodes a response after dst: of h it takes Cmd, RequestID,
// both as in the request, Status and Gzip. See AppendRequest for the rest.
func AppendResponse(dst []byte, v Version, h Header, metadata, body []byte) ([]byte, error) {
	h.Type = Response
	return appendPacket(dst, v, &h, metadata, body)
}

// AppendPush encodes a push after dst: of h it takes Cmd and Gzip. See
// AppendRequest for the rest.
func AppendPush(dst []byte, v Version, h Header, metadata, body []byte) ([]byte, error) {
	h.Type = Push
	return appendPacket(dst, v, &h, metadata, body)
}

func appendPacket(dst []byte, v Version, h *Header, metadata, body []byte) ([]byte, error) {
	h.MetadataLen, h.BodyLen = len(metadata), len(body)
	out, err := appendHeader(dst, v, h)
	if err != nil {
		return dst, err
	}
	out = append(out, metadata...)
	return append(out, body...), nil
}

// appendHeader encodes h with its lengths. The verify bit is never set: nobody
// knows how to sign.
func appendHeader(dst []byte, v Version, h *Header) ([]byte, error) {
	switch {
	case !v.valid():
		return dst, ErrVersion
	case h.Type < Request || h.Type > Push:
		return dst, ErrPacketType
	case h.BodyLen > MaxBodyLen:
		return dst, ErrBodyTooLarge
	case h.MetadataLen > MaxMetadataLen:
		return dst, ErrMetadataTooLarge
	case h.MetadataLen > 0 && v == Version1:
		return dst, ErrMetadataVersion
	case h.Gzip && h.BodyLen == 0:
		return dst, ErrGzipEmpty
	}
	first := byte(h.Type)
	if h.Gzip {
		first |= gzipBit
	}
	dst = append(dst, first, h.Cmd)
	switch h.Type {
	case Request:
		dst = binary.BigEndian.AppendUint32(dst, h.RequestID)
		dst = binary.BigEndian.AppendUint16(dst, h.Timeout)
	case Response:
		dst = binary.BigEndian.AppendUint32(dst, h.RequestID)
		dst = append(dst, byte(h.Status))
	}
	if v == Version2 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(h.MetadataLen))
	}
	return append(dst, byte(h.BodyLen>>16), byte(h.BodyLen>>8), byte(h.BodyLen)), nil
}

// AppendControl encodes a packet with the control message m as its body after
// dst, in the form hs stands for. Of h it takes Type, Cmd, RequestID, Timeout
// and Status: an Error goes with the command it answers.
func AppendControl(dst []byte, hs Handshake, h Header, m Message) ([]byte, error) {
	h.Gzip, h.MetadataLen, h.BodyLen = false, 0, 0
	out, err := appendHeader(dst, hs.Version, &h)
	if err != nil {
		return dst, err
	}
	bodyStart := len(out)
	if out, err = hs.Codec.Append(out, m); err != nil {
		return dst, err
	}
	n := len(out) - bodyStart
	if n > MaxBodyLen {
		return dst, ErrBodyTooLarge
	}
	// The body's length is the header's last field in every type and version.
	length := out[bodyStart-3 : bodyStart]
	length[0], length[1], length[2] = byte(n>>16), byte(n>>8), byte(n)
	return out, nil
}
