package netsvr

import (
	"encoding/binary"
	"unicode/utf8"
)

// A Foreign is another version of netsvr's protocol, of which a frame is a sign. Its numbers mean
// other commands there, so a gateway of dialect 2.0.2 must not carry them out.
type Foreign uint8

// The other versions.
const (
	NotForeign Foreign = iota
	Foreign1           // 1.x: a body is one protobuf message, which holds the command
	Foreign3To6
)

// String is what the version is called in logs and counters; empty for NotForeign.
func (f Foreign) String() string {
	switch f {
	case Foreign1:
		return "netsvr-1"
	case Foreign3To6:
		return "netsvr-3-to-6"
	}
	return ""
}

// ForeignBody reports whether the body of a frame is a certain sign of another version:
//
//	08 ...             1.x: the tag of the command's number
//	"~...~"            3 to 6: a heartbeat that was configured, but for the two of dialect 2.0.2
//	900002014 to 2017  3 to 6: TopicPublishBulk, ForceOffline, -ByCustomerId, -Guest
//	900003014 to 3018  3 to 6: TopicCustomerIdCount, ConnInfo, -ByCustomerId, Metrics, Limit
func (d Dialect) ForeignBody(body []byte) Foreign {
	switch {
	case len(body) < commandLen:
		return NotForeign
	case body[0] == 0x08:
		return Foreign1
	case body[0] == '~':
		if body[len(body)-1] == '~' && string(body) != d.Ping() && string(body) != d.Pong() {
			return Foreign3To6
		}
		return NotForeign
	}
	switch n := binary.BigEndian.Uint32(body); {
	case 900002014 <= n && n <= 900002017, 900003014 <= n && n <= 900003018:
		return Foreign3To6
	}
	return NotForeign
}

// A RegisterSign says what the fields of a RegisterReq tell of its sender.
type RegisterSign uint8

// The signs.
const (
	RegisterNeutral RegisterSign = iota
	// RegisterOurs has what only dialect 2.0.2 has: a server id, a worker id above 7, a field of ours.
	RegisterOurs
	// RegisterEvents could be an events mask of protocol 6: field 1 is 1 to 7, and nothing else is
	// there.
	RegisterEvents
)

// SignOf looks at an encoded RegisterReq.
func SignOf(register []byte) RegisterSign {
	d := decoder{within: "RegisterReq", rest: register}
	sign := RegisterNeutral
	alone := true
	for d.next() {
		switch {
		case d.field == 1 && d.uint() > 7 || d.field == 3 || d.field >= 100:
			return RegisterOurs
		case d.field == 1 && d.uint() > 0:
			sign = RegisterEvents
		default:
			alone = false
		}
	}
	if d.err != nil || !alone {
		return RegisterNeutral
	}
	return sign
}

// ForeignOffline reports whether a message of the command number that is ForceOffline here, and
// TopicUnsubscribe of one client in protocols 3 to 6, is certainly the latter: it has a field 3, or
// field 2 more than once. If it may be either, name is what is the topic there
// and the data here; else name is nil.
func ForeignOffline(message []byte) (certain bool, name []byte) {
	d := decoder{within: "ForceOffline", rest: message}
	ids, names := 0, 0
	for d.next() {
		switch d.field {
		case 1:
			ids++
		case 2:
			names++
			name = d.bytes()
		case 3:
			return true, nil
		}
	}
	switch {
	case d.err != nil:
		return false, nil
	case names > 1:
		return true, nil
	case names == 1 && ids == 1 && utf8.Valid(name):
		return false, name
	}
	return false, nil
}
