package gosoc

import "strconv"

// Version is the protocol version that clients write into Connect. 0 is accepted too.
const Version = 1

// Connect is the client's first packet.
type Connect struct {
	Version   byte   // written as it is: Version, normally
	Gzip      bool   // this and every later payload, in both directions, is a gzip stream
	KeepAlive uint16 // seconds; 0 means no limit
	Payload   []byte // for the login, JSON by habit
}

// ConnAck is the server's answer to Connect. After any code but Accepted the server closes.
type ConnAck struct {
	Code ReturnCode
}

// A ReturnCode is the outcome of a login. Clients in the field reconnect at once, again and again,
// on all of them but Accepted and NotAuthorized.
type ReturnCode uint8

const (
	Accepted          ReturnCode = 0
	ServerUnavailable ReturnCode = 1
	BadLoginInfo      ReturnCode = 2
	NotAuthorized     ReturnCode = 3 // the one refusal that makes the C++ client stop
	AlreadyConnected  ReturnCode = 4 // to a second Connect
	ConcurrentLogin   ReturnCode = 5
	BadToken          ReturnCode = 6
	InvalidUID        ReturnCode = 7
)

var returnCodeNames = [...]string{
	Accepted:          "accepted",
	ServerUnavailable: "server unavailable",
	BadLoginInfo:      "bad login info",
	NotAuthorized:     "not authorized",
	AlreadyConnected:  "already connected",
	ConcurrentLogin:   "concurrent login",
	BadToken:          "bad token",
	InvalidUID:        "invalid uid",
}

func (c ReturnCode) String() string {
	if int(c) >= len(returnCodeNames) {
		return "return code " + strconv.Itoa(int(c))
	}
	return returnCodeNames[c]
}

// Disconnect announces the end of the connection.
type Disconnect struct {
	Type DisconnectType
}

// A DisconnectType says why. Others than these two are decoded as they are.
type DisconnectType uint8

const (
	DisconnectNormal  DisconnectType = 0
	DisconnectKickOut DisconnectType = 1 // the user logged in elsewhere; clients do not reconnect
)

// SendReq is a client's request, or a server's push: level LevelNoReply, id 0 and no data, which
// the clients in the field cannot read.
type SendReq struct {
	Level   Level
	ID      uint16 // the client's choice, echoed in SendResp; repeats are fine
	Route   []byte // "controller.action"
	Payload []byte
	HasData bool   // Data is there, if only of no bytes
	Data    []byte // an attachment; ignored by AppendSendReq without HasData
}

// A Level tells whether a request is answered.
type Level uint8

const (
	LevelNoReply Level = 0
	LevelReply   Level = 1 // after the action
)

// Valid reports whether the level means something. The header has room for 2 and 3 as well, which
// nothing sends; they are decoded and left to the caller.
func (l Level) Valid() bool { return l <= LevelReply }

// SendResp is the reply to a request.
type SendResp struct {
	ID      uint16 // the request's
	Payload []byte
}
