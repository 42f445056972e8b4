package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The commands of the worker protocol 2.0.2, and those that this gateway adds.
const (
	workerConnOpen  = 900001001
	workerConnClose = 900001002
	workerTransfer  = 900001003

	workerConnInfoUpdate    = 900002001
	workerConnInfoDelete    = 900002002
	workerBroadcast         = 900002003
	workerMulticast         = 900002004
	workerSingleCast        = 900002005
	workerSingleCastBulk    = 900002006
	workerTopicSubscribe    = 900002007
	workerTopicUnsubscribe  = 900002008
	workerTopicDelete       = 900002009
	workerTopicPublish      = 900002010
	workerForceOffline      = 900002011
	workerForceOfflineGuest = 900002012
	workerTopicPublishBulk  = 900002013

	workerRegister         = 900003001
	workerUnregister       = 900003002
	workerCheckOnline      = 900003003
	workerUniqIDList       = 900003004
	workerUniqIDCount      = 900003005
	workerTopicCount       = 900003006
	workerTopicList        = 900003007
	workerTopicUniqIDList  = 900003008
	workerTopicUniqIDCount = 900003009
	workerConnInfo         = 900003010
	workerMetrics          = 900003011
	workerLimit            = 900003012
	workerCustomToken      = 900003013

	workerRequest = 900009001
	workerReply   = 900009002
	workerPush    = 900009003

	workerUserForceOffline = 900009004
	workerUserSubscribe    = 900009005
	workerUserUnsubscribe  = 900009006
	workerUserConnList     = 900009007
)

// The heartbeats, whole bodies of frames and of customers' messages.
const (
	workerPing = "~3yPvmnz~"
	workerPong = "~u38NvZ~"
)

// workerFrame is a frame around body.
func workerFrame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// workerCommand is the frame of a command.
func workerCommand(cmd uint32, m workerMsg) []byte {
	return workerFrame(append(binary.BigEndian.AppendUint32(nil, cmd), m...))
}

// A workerMsg is a protobuf message. Its methods append fields, and write zero values too.
type workerMsg []byte

func (m workerMsg) num(field int, v int64) workerMsg {
	m = binary.AppendUvarint(m, uint64(field)<<3)
	return binary.AppendUvarint(m, uint64(v))
}

func (m workerMsg) bytes(field int, v []byte) workerMsg {
	m = binary.AppendUvarint(m, uint64(field)<<3|2)
	m = binary.AppendUvarint(m, uint64(len(v)))
	return append(m, v...)
}

func (m workerMsg) text(field int, list ...string) workerMsg {
	for _, v := range list {
		m = m.bytes(field, []byte(v))
	}
	return m
}

// workerCast is a SingleCast, and every other message of one string and data.
func workerCast(id, data string) workerMsg { return workerMsg(nil).text(1, id).text(2, data) }

// workerList is a message of strings in field 1.
func workerList(items ...string) workerMsg { return workerMsg(nil).text(1, items...) }

// workerWith is a message of strings in field 1 and data, one or several, in field 2.
func workerWith(items []string, data ...string) workerMsg {
	return workerMsg(nil).text(1, items...).text(2, data...)
}

// workerFields are the fields of a message that was received, by number.
type workerFields map[int][]workerValue

type workerValue struct {
	num   uint64
	bytes []byte
}

var errWorkerMessage = errors.New("the gateway sent a malformed message")

// workerParse takes a message apart and is strict: only the two wire types that the protocol's
// messages need beside the floats of the metrics, and those.
func workerParse(b []byte) (workerFields, error) {
	fields := make(workerFields)
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1000 {
			return nil, errWorkerMessage
		}
		b = b[n:]
		var v workerValue
		switch tag & 7 {
		case 0:
			if v.num, n = binary.Uvarint(b); n <= 0 {
				return nil, errWorkerMessage
			}
			b = b[n:]
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return nil, errWorkerMessage
			}
			v.bytes, b = b[n:n+int(size)], b[n+int(size):]
		case 5:
			if len(b) < 4 {
				return nil, errWorkerMessage
			}
			v.num, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		default:
			return nil, fmt.Errorf("%w: wire type %d", errWorkerMessage, tag&7)
		}
		fields[int(tag>>3)] = append(fields[int(tag>>3)], v)
	}
	return fields, nil
}

// num is a field of an integer type, 0 when it is not there.
func (f workerFields) num(field int) int64 {
	if v := f[field]; len(v) > 0 {
		return int64(v[len(v)-1].num)
	}
	return 0
}

func (f workerFields) float(field int) float32 { return math.Float32frombits(uint32(f.num(field))) }

// text is a field of type string or bytes, empty when it is not there.
func (f workerFields) text(field int) string {
	if v := f[field]; len(v) > 0 {
		return string(v[len(v)-1].bytes)
	}
	return ""
}

func (f workerFields) texts(field int) (all []string) {
	for _, v := range f[field] {
		all = append(all, string(v.bytes))
	}
	return all
}

// nums is a repeated integer field, packed or not.
func (f workerFields) nums(field int) (all []int64) {
	for _, v := range f[field] {
		if v.bytes == nil {
			all = append(all, int64(v.num))
		}
		for b := v.bytes; len(b) > 0; {
			n, size := binary.Uvarint(b)
			if size <= 0 {
				return all
			}
			all, b = append(all, int64(n)), b[size:]
		}
	}
	return all
}

// subs are the messages of a repeated field.
func (f workerFields) subs(field int) (all []workerFields) {
	for _, v := range f[field] {
		sub, err := workerParse(v.bytes)
		if err != nil {
			sub = nil
		}
		all = append(all, sub)
	}
	return all
}

// textMap is a field of type map<string, message>.
func (f workerFields) textMap(field int) map[string]workerFields {
	all := make(map[string]workerFields)
	for _, entry := range f.subs(field) {
		if v := entry.subs(2); len(v) > 0 {
			all[entry.text(1)] = v[0]
		} else {
			all[entry.text(1)] = workerFields{}
		}
	}
	return all
}

// countMap is a field of type map<string, int32>.
func (f workerFields) countMap(field int) map[string]int64 {
	all := make(map[string]int64)
	for _, entry := range f.subs(field) {
		all[entry.text(1)] = entry.num(2)
	}
	return all
}
