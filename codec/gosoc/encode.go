package gosoc

import (
	"encoding/binary"
	"slices"
)

// The Append functions append one packet to dst, as the append built-in would, growing it at most
// once. Those of packets with fields of variable size fail if the form cannot express them, with
// ErrFieldTooLong for a field above 65535 bytes in Fixed6, or ErrPacketTooLong; dst is then
// returned as it was.

// MaxField is the longest field in bytes that the form can express.
func (f Form) MaxField() int {
	if f == Fixed6 {
		return 1<<16 - 1
	}
	return maxRemaining
}

// AppendConnect appends c to dst.
func (f Form) AppendConnect(dst []byte, c Connect) ([]byte, error) {
	if len(c.Payload) > f.MaxField() {
		return dst, ErrFieldTooLong
	}
	remaining := f.fieldSize(len(protocolName)) + 4 + f.fieldSize(len(c.Payload))
	if remaining > maxRemaining {
		return dst, ErrPacketTooLong
	}
	flags := byte(0)
	if c.Gzip {
		flags = connectGzip
	}
	dst = f.begin(dst, TypeConnect, 0, remaining)
	dst = append(f.appendLength(dst, len(protocolName)), protocolName...)
	dst = append(dst, c.Version, flags)
	dst = binary.BigEndian.AppendUint16(dst, c.KeepAlive)
	return f.appendField(dst, c.Payload), nil
}

// AppendConnAck appends a to dst.
func (f Form) AppendConnAck(dst []byte, a ConnAck) []byte {
	return append(f.begin(dst, TypeConnAck, 0, 2), 0, byte(a.Code))
}

// AppendPingReq appends a PingReq to dst.
func (f Form) AppendPingReq(dst []byte) []byte {
	return f.begin(dst, TypePingReq, 0, 0)
}

// AppendPingResp appends a PingResp to dst.
func (f Form) AppendPingResp(dst []byte) []byte {
	return f.begin(dst, TypePingResp, 0, 0)
}

// AppendDisconnect appends d to dst.
func (f Form) AppendDisconnect(dst []byte, d Disconnect) []byte {
	return append(f.begin(dst, TypeDisconnect, 0, 1), byte(d.Type))
}

// AppendSendReq appends req to dst.
func (f Form) AppendSendReq(dst []byte, req SendReq) ([]byte, error) {
	remaining, err := f.sendReqRemaining(&req)
	if err != nil {
		return dst, err
	}
	flags := byte(req.Level) << 1
	if req.HasData {
		flags |= flagData
	}
	dst = f.begin(dst, TypeSendReq, flags, remaining)
	dst = binary.BigEndian.AppendUint16(dst, req.ID)
	dst = f.appendField(dst, req.Route)
	dst = f.appendField(dst, req.Payload)
	if req.HasData {
		dst = f.appendField(dst, req.Data)
	}
	return dst, nil
}

// SendReqSize is how many bytes AppendSendReq appends, or its error.
func (f Form) SendReqSize(req SendReq) (int, error) {
	remaining, err := f.sendReqRemaining(&req)
	if err != nil {
		return 0, err
	}
	return f.headerSize(remaining) + remaining, nil
}

func (f Form) sendReqRemaining(req *SendReq) (int, error) {
	if req.Level > flagsLevel>>1 {
		return 0, ErrLevel
	}
	longest := max(len(req.Route), len(req.Payload))
	if req.HasData {
		longest = max(longest, len(req.Data))
	}
	// Checked one by one first: the sum of any three lengths could overflow.
	if longest > f.MaxField() {
		return 0, ErrFieldTooLong
	}
	remaining := 2 + f.fieldSize(len(req.Route)) + f.fieldSize(len(req.Payload))
	if req.HasData {
		remaining += f.fieldSize(len(req.Data))
	}
	if remaining > maxRemaining {
		return 0, ErrPacketTooLong
	}
	return remaining, nil
}

// AppendSendResp appends resp to dst.
func (f Form) AppendSendResp(dst []byte, resp SendResp) ([]byte, error) {
	remaining, err := f.sendRespRemaining(len(resp.Payload))
	if err != nil {
		return dst, err
	}
	dst = f.begin(dst, TypeSendResp, 0, remaining)
	dst = binary.BigEndian.AppendUint16(dst, resp.ID)
	return f.appendField(dst, resp.Payload), nil
}

// SendRespSize is how many bytes AppendSendResp appends, or its error.
func (f Form) SendRespSize(resp SendResp) (int, error) {
	remaining, err := f.sendRespRemaining(len(resp.Payload))
	if err != nil {
		return 0, err
	}
	return f.headerSize(remaining) + remaining, nil
}

func (f Form) sendRespRemaining(payload int) (int, error) {
	if payload > f.MaxField() {
		return 0, ErrFieldTooLong
	}
	remaining := 2 + f.fieldSize(payload)
	if remaining > maxRemaining {
		return 0, ErrPacketTooLong
	}
	return remaining, nil
}

// begin makes room for a whole packet and appends its header.
func (f Form) begin(dst []byte, t Type, flags byte, remaining int) []byte {
	dst = slices.Grow(dst, f.headerSize(remaining)+remaining)
	return f.appendHeader(dst, t, flags, remaining)
}

// fieldSize is how many bytes a field of n bytes takes together with its length.
func (f Form) fieldSize(n int) int {
	if f == Fixed6 {
		return 2 + n
	}
	return varintSize(n) + n
}

func (f Form) appendLength(dst []byte, n int) []byte {
	if f == Fixed6 {
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	}
	return appendVarint(dst, n)
}

func (f Form) appendField(dst, field []byte) []byte {
	return append(f.appendLength(dst, len(field)), field...)
}
