package longbridge

import "strconv"

// Control commands. Every other number is business and means what the workers
// behind the gateway make of it.
const (
	CmdClose     uint8 = 0 // push from the server: Close
	CmdHeartbeat uint8 = 1 // request either way; the response has the same body, byte for byte
	CmdAuth      uint8 = 2 // AuthRequest, AuthResponse
	CmdReconnect uint8 = 3 // ReconnectRequest, ReconnectResponse
)

// A Status is the outcome in a response. The body of one that is not
// StatusSuccess is an Error.
type Status uint8

const (
	StatusSuccess Status = iota
	StatusServerTimeout
	StatusClientTimeout
	StatusBadRequest
	StatusBadResponse
	StatusUnauthenticated
	StatusPermissionDenied
	StatusServerInternalError
	StatusClientInternalError
)

var statusNames = [...]string{
	"success", "server timeout", "client timeout", "bad request", "bad response",
	"unauthenticated", "permission denied", "server internal error", "client internal error",
}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "status " + strconv.Itoa(int(s))
}

// A CloseCode is the reason in a Close. Send a Close right before the end of the
// stream, in one write with it, or the vendor's Go client locks itself up.
type CloseCode int32

const (
	CloseHeartbeatTimeout CloseCode = iota // nothing heard from the client
	CloseServerError
	CloseServerShutdown
	CloseUnpackError      // the client's bytes cannot be parsed
	CloseAuthError        // token refused, or no auth where it was due
	CloseSessExpired      // reconnect with an unknown or expired session
	CloseConnectDuplicate // to the older of two connections of one session
)

var closeNames = [...]string{
	"HeartbeatTimeout", "ServerError", "ServerShutdown", "UnpackError", "AuthError", "SessExpired", "ConnectDuplicate",
}

func (c CloseCode) String() string {
	if c >= 0 && int(c) < len(closeNames) {
		return closeNames[c]
	}
	return "CloseCode " + strconv.Itoa(int(c))
}

// WebSocketStatus is c as the status of a WebSocket close frame, for servers that
// send one in place of a Close: 4000 and c, from the range for private use. Codes
// without a name become CloseServerError's.
func (c CloseCode) WebSocketStatus() uint16 {
	if c < 0 || int(c) >= len(closeNames) {
		c = CloseServerError
	}
	return 4000 + uint16(c)
}
