package gosoc

import "encoding/binary"

const connectGzip = 0x80 // the one Connect flag; the others must be 0

// DecodeConnect decodes a Connect: h is its header, body the h.Remaining bytes behind it.
func (f Form) DecodeConnect(h Header, body []byte) (Connect, error) {
	name, at, err := f.field(body, 0)
	if err != nil {
		return Connect{}, h.malformed(h.Size, err)
	}
	if string(name) != protocolName {
		return Connect{}, h.malformed(h.Size, ErrNotGOSOC)
	}
	if len(body)-at < 4 {
		return Connect{}, h.malformed(h.Len(), ErrMissingField)
	}
	if body[at] > Version {
		return Connect{}, h.malformed(h.Size+at, ErrVersion)
	}
	if body[at+1]&^connectGzip != 0 {
		return Connect{}, h.malformed(h.Size+at+1, ErrConnectFlags)
	}
	c := Connect{
		Version:   body[at],
		Gzip:      body[at+1] != 0,
		KeepAlive: binary.BigEndian.Uint16(body[at+2:]),
	}
	c.Payload, err = f.lastField(h, body, at+4)
	return c, err
}

// DecodeConnAck decodes a ConnAck: h is its header, body the h.Remaining bytes behind it.
func (f Form) DecodeConnAck(h Header, body []byte) (ConnAck, error) {
	if err := exactly(2, h, body); err != nil {
		return ConnAck{}, err
	}
	return ConnAck{Code: ReturnCode(body[1])}, nil // body[0] says nothing
}

// DecodePing checks the body of a PingReq or PingResp, which must be empty.
func (f Form) DecodePing(h Header, body []byte) error {
	return exactly(0, h, body)
}

// DecodeDisconnect decodes a Disconnect: h is its header, body the h.Remaining bytes behind it.
func (f Form) DecodeDisconnect(h Header, body []byte) (Disconnect, error) {
	if err := exactly(1, h, body); err != nil {
		return Disconnect{}, err
	}
	return Disconnect{Type: DisconnectType(body[0])}, nil
}

// DecodeSendReq decodes a SendReq: h is its header, body the h.Remaining bytes behind it. Look at
// Level.Valid before you serve it. A data flag with nothing left in the packet, as the C++ client
// sends for an empty attachment, is data of no bytes.
func (f Form) DecodeSendReq(h Header, body []byte) (req SendReq, err error) {
	if len(body) < 2 {
		return SendReq{}, h.malformed(h.Len(), ErrMissingField)
	}
	req.Level = Level(h.Flags & flagsLevel >> 1)
	req.ID = binary.BigEndian.Uint16(body)
	req.HasData = h.Flags&flagData != 0
	route, at, err := f.field(body, 2)
	if err != nil {
		return SendReq{}, h.malformed(h.Size+2, err)
	}
	req.Route = route
	if !req.HasData {
		req.Payload, err = f.lastField(h, body, at)
		return req, err
	}
	payload, dataAt, err := f.field(body, at)
	if err != nil {
		return SendReq{}, h.malformed(h.Size+at, err)
	}
	req.Payload = payload
	if dataAt < len(body) {
		req.Data, err = f.lastField(h, body, dataAt)
	}
	return req, err
}

// DecodeSendResp decodes a SendResp: h is its header, body the h.Remaining bytes behind it.
func (f Form) DecodeSendResp(h Header, body []byte) (SendResp, error) {
	if len(body) < 2 {
		return SendResp{}, h.malformed(h.Len(), ErrMissingField)
	}
	payload, err := f.lastField(h, body, 2)
	return SendResp{ID: binary.BigEndian.Uint16(body), Payload: payload}, err
}

// exactly checks the size of a body that has no fields of variable size.
func exactly(size int, h Header, body []byte) error {
	if len(body) < size {
		return h.malformed(h.Len(), ErrMissingField)
	}
	if len(body) > size {
		return h.malformed(h.Size+size, ErrTrailing)
	}
	return nil
}

// lastField reads the field at offset at, which must end with the body.
func (f Form) lastField(h Header, body []byte, at int) ([]byte, error) {
	field, end, err := f.field(body, at)
	if err != nil {
		return nil, h.malformed(h.Size+at, err)
	}
	if end < len(body) {
		return nil, h.malformed(h.Size+end, ErrTrailing)
	}
	return field, nil
}

// field reads the length-prefixed field at offset at and the offset behind it. The field has no
// spare capacity: appending to it cannot run over its neighbour.
func (f Form) field(body []byte, at int) (field []byte, end int, err error) {
	if at == len(body) {
		return nil, at, ErrMissingField
	}
	size, n := 0, 0
	if f == Fixed6 {
		if len(body)-at >= 2 {
			size, n = int(binary.BigEndian.Uint16(body[at:])), 2
		}
	} else {
		size, n = varint(body[at:])
	}
	if n < 0 {
		return nil, at, ErrVarint
	}
	start := at + n
	if n == 0 || size > len(body)-start {
		return nil, at, ErrFieldOverrun
	}
	end = start + size
	return body[start:end:end], end, nil
}
