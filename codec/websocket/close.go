package websocket

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// A CloseCode says why a connection ends (RFC 6455 7.4).
type CloseCode uint16

// The codes of RFC 6455 7.4.1, and three that IANA registered since, which servers send.
// 4000 to 4999 are for private use.
const (
	CloseNormal             CloseCode = 1000
	CloseGoingAway          CloseCode = 1001
	CloseProtocolError      CloseCode = 1002
	CloseUnsupportedData    CloseCode = 1003
	CloseNoStatus           CloseCode = 1005 // never on the wire: the frame held no code
	CloseAbnormal           CloseCode = 1006 // never on the wire: there was no frame
	CloseInvalidPayload     CloseCode = 1007
	ClosePolicyViolation    CloseCode = 1008
	CloseMessageTooBig      CloseCode = 1009
	CloseMandatoryExtension CloseCode = 1010
	CloseInternalError      CloseCode = 1011
	CloseServiceRestart     CloseCode = 1012
	CloseTryAgainLater      CloseCode = 1013
	CloseBadGateway         CloseCode = 1014
)

// Valid reports whether RFC 6455 7.4 allows c in a close frame: 1000-1003, 1007-1011, 3000-4999.
func (c CloseCode) Valid() bool {
	return c >= 1000 && c <= 1003 || c >= 1007 && c <= 1011 || c >= 3000 && c <= 4999
}

// fromServer reports whether c is one of the later codes that only servers and gateways have a
// use for. A client accepts them, so that it can hear of a restart.
func (c CloseCode) fromServer() bool {
	return c >= CloseServiceRestart && c <= CloseBadGateway
}

// maxReason is what a control frame leaves for the reason behind the code.
const maxReason = maxControl - 2

// AppendClose appends a server's close frame. A reason above 123 bytes is cut between two code
// points. Code 0 and CloseNoStatus make a frame without code and reason. What is not UTF-8 in
// reason is replaced, as the peer would have to refuse it.
func AppendClose(dst []byte, code CloseCode, reason string) []byte {
	if code == 0 || code == CloseNoStatus {
		return AppendFrameHeader(dst, OpClose, 0)
	}
	reason = closeReason(reason)
	dst = AppendFrameHeader(dst, OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// AppendClosePayload appends what AppendClose puts into its frame, for clients, who mask it.
func AppendClosePayload(dst []byte, code CloseCode, reason string) []byte {
	if code == 0 || code == CloseNoStatus {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, closeReason(reason)...)
}

func closeReason(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// parseClose reads the payload of a close frame (RFC 6455 5.5.1).
func parseClose(payload []byte, client bool) (CloseCode, []byte, error) {
	switch len(payload) {
	case 0:
		return CloseNoStatus, nil, nil
	case 1:
		return 0, nil, ErrClosePayload
	}
	code := CloseCode(binary.BigEndian.Uint16(payload))
	if !code.Valid() && !(client && code.fromServer()) {
		return 0, nil, ErrCloseCode
	}
	reason := payload[2:]
	if !utf8.Valid(reason) {
		return 0, nil, ErrUTF8
	}
	return code, reason, nil
}
