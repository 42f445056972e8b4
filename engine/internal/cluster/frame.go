package cluster

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/sluicenet/sluice/topic"
)

// The bodies of frames of the data connection. A name is a uint16, its length, which is not 0, and the
// bytes. A list is a uint32, how many names there are, and these. "to" is the incarnation of the node
// that a frame is for: its server id, which is in the subject, may have been another process's.
//
//	KindMessages       uint8 flags, name, uint64 series, uint64 first, uint64 offset, uint32 count, and
//	                   count records of topic.AppendRecord
//	KindCredit         uint64 to, uint64 series, uint64 offset, name
//	KindBarrier        uint64 number, list
//	KindBarrierAnswer  uint64 to, uint64 number (of the barrier)
//	KindLetGo          uint64 number, list
//	KindWhether        list
//	KindInterest       uint64 to, uint64 number, list of those with subscribers, list of those without
//	KindExcluded       uint64 to, uint64 number, uint8: 1 it is not waited for, 0 it is again
//	KindEcho           uint64: when it was sent, by the node's own clock
//
// A series is what a node has sent of a topic without forgetting that it has; each has a higher number
// than those before it. first is the number in its series, from 1 on, of the frame's first message, so
// that who gets frames knows how many messages are missing between them. offset is how many bytes of
// records the series has had before.
//
// number counts what a node has said of its interest, in whatever kind of frame. Of an old connection
// something may arrive late: what has a number no higher than the last one is ignored.

// Flags of KindMessages: flagWantAck asks for a KindCredit. flagHistory is on frames that a Stream keeps,
// whose numbers count: a series of theirs has historySeries, and first is StreamState.Epoch of the stream
// as the sender knows it.
const (
	flagWantAck = 1
	flagHistory = 2

	historySeries = 1 << 63
)

// errBody is the error of a body that is longer, or says something else, than its kind allows.
var errBody = errors.New("cluster: a frame whose body cannot be read")

// maxName is the longest name that is carried, in bytes.
const maxName = math.MaxUint16

func appendName(dst []byte, name string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(name))), name...)
}

// readName returns the name at the front of b, and what is behind it.
func readName(b []byte) (name, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errShort
	}
	n := int(binary.BigEndian.Uint16(b))
	switch {
	case n == 0:
		return nil, nil, errBody
	case len(b) < 2+n:
		return nil, nil, errShort
	}
	return b[2 : 2+n], b[2+n:], nil
}

// A list is names that have been looked through.
type list struct {
	left int
	b    []byte
}

func appendList(dst []byte, names []string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(names)))
	for _, name := range names {
		dst = appendName(dst, name)
	}
	return dst
}

// readList returns the list at the front of b, and what is behind it.
func readList(b []byte) (l list, rest []byte, err error) {
	if len(b) < 4 {
		return l, nil, errShort
	}
	l = list{int(binary.BigEndian.Uint32(b)), b[4:]}
	rest = l.b
	for range l.left {
		if _, rest, err = readName(rest); err != nil {
			return list{}, nil, err
		}
	}
	return l, rest, nil
}

// next returns the next name, which lies in the frame, and false at the end.
func (l *list) next() (name []byte, ok bool) {
	if l.left == 0 {
		return nil, false
	}
	l.left--
	name, l.b, _ = readName(l.b)
	return name, true
}

// A run is the body of KindMessages.
type run struct {
	wantAck, history      bool
	name                  []byte
	series, first, offset uint64
	count                 uint32
	records               []byte
}

// runFixed is the length of what is between a run's name and its records.
const runFixed = 8 + 8 + 8 + 4

// runHead is how many bytes are before the records of a frame of KindMessages.
func runHead(name int) int { return headerLen + 1 + 2 + name + runFixed }

// appendRunHead begins a frame of KindMessages. What is not known before it is sent is for putRun.
func appendRunHead(dst []byte, from origin, name []byte) []byte {
	dst = append(appendHeader(dst, KindMessages, from), 0)
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(name))), name...)
	return append(dst, make([]byte, runFixed)...)
}

// putRun fills in the head of a frame that appendRunHead has begun.
func putRun(frame []byte, name int, wantAck bool, series, first, offset uint64, count uint32) {
	frame[headerLen] = 0
	if wantAck {
		frame[headerLen] = flagWantAck
	}
	if series&historySeries != 0 {
		frame[headerLen] |= flagHistory
	}
	b := frame[headerLen+3+name:]
	binary.BigEndian.PutUint64(b, series)
	binary.BigEndian.PutUint64(b[8:], first)
	binary.BigEndian.PutUint64(b[16:], offset)
	binary.BigEndian.PutUint32(b[24:], count)
}

// readRun reads the body of KindMessages. It looks through the records; m is room for that.
func readRun(b []byte, m *topic.Message) (r run, err error) {
	if len(b) < 1 {
		return r, errShort
	}
	if b[0]&^(flagWantAck|flagHistory) != 0 {
		return r, errBody
	}
	r.wantAck, r.history = b[0]&flagWantAck != 0, b[0]&flagHistory != 0
	if r.name, b, err = readName(b[1:]); err != nil {
		return run{}, err
	}
	if len(b) < runFixed {
		return run{}, errShort
	}
	r.series, r.first = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	r.offset, r.count = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint32(b[24:])
	r.records = b[runFixed:]
	if r.series == 0 || r.first == 0 || r.count == 0 || r.first > math.MaxUint64-uint64(r.count) ||
		r.history != (r.series&historySeries != 0) || r.history && r.count > maxFrameRecords {
		return run{}, errBody
	}
	b = r.records
	for range r.count {
		n, err := m.Read(b)
		if err != nil {
			return run{}, errShort
		}
		b = b[n:]
	}
	m.Payload = nil
	if len(b) > 0 {
		return run{}, errBody
	}
	return r, nil
}

func appendCredit(dst []byte, from origin, to, series, offset uint64, name string) []byte {
	dst = binary.BigEndian.AppendUint64(appendHeader(dst, KindCredit, from), to)
	dst = binary.BigEndian.AppendUint64(dst, series)
	return appendName(binary.BigEndian.AppendUint64(dst, offset), name)
}

// readCredit reads the body of KindCredit.
func readCredit(b []byte) (to, series, offset uint64, name []byte, err error) {
	if len(b) < 24 {
		return 0, 0, 0, nil, errShort
	}
	name, rest, err := readName(b[24:])
	if err == nil && len(rest) > 0 {
		err = errBody
	}
	if err != nil {
		return 0, 0, 0, nil, err
	}
	u := binary.BigEndian.Uint64
	return u(b), u(b[8:]), u(b[16:]), name, nil
}

// appendStatement makes a frame of KindBarrier or KindLetGo.
func appendStatement(dst []byte, k Kind, from origin, number uint64, names []string) []byte {
	return appendList(binary.BigEndian.AppendUint64(appendHeader(dst, k, from), number), names)
}

// readStatement reads the body of KindBarrier or KindLetGo.
func readStatement(b []byte) (number uint64, names list, err error) {
	if len(b) < 8 {
		return 0, list{}, errShort
	}
	names, rest, err := readList(b[8:])
	if err == nil && len(rest) > 0 {
		err = errBody
	}
	if err != nil {
		return 0, list{}, err
	}
	return binary.BigEndian.Uint64(b), names, nil
}

func appendBarrierAnswer(dst []byte, from origin, to, number uint64) []byte {
	dst = binary.BigEndian.AppendUint64(appendHeader(dst, KindBarrierAnswer, from), to)
	return binary.BigEndian.AppendUint64(dst, number)
}

// readBarrierAnswer reads the body of KindBarrierAnswer.
func readBarrierAnswer(b []byte) (to, number uint64, err error) {
	switch {
	case len(b) < 16:
		return 0, 0, errShort
	case len(b) > 16:
		return 0, 0, errBody
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), nil
}

func appendWhether(dst []byte, from origin, names []string) []byte {
	return appendList(appendHeader(dst, KindWhether, from), names)
}

// readWhether reads the body of KindWhether.
func readWhether(b []byte) (list, error) {
	names, rest, err := readList(b)
	if err == nil && len(rest) > 0 {
		return list{}, errBody
	}
	return names, err
}

func appendInterest(dst []byte, from origin, to, number uint64, some, none []string) []byte {
	dst = binary.BigEndian.AppendUint64(appendHeader(dst, KindInterest, from), to)
	dst = binary.BigEndian.AppendUint64(dst, number)
	return appendList(appendList(dst, some), none)
}

// readInterest reads the body of KindInterest.
func readInterest(b []byte) (to, number uint64, some, none list, err error) {
	if len(b) < 16 {
		return 0, 0, list{}, list{}, errShort
	}
	to, number = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	some, rest, err := readList(b[16:])
	if err == nil {
		none, rest, err = readList(rest)
	}
	if err == nil && len(rest) > 0 {
		err = errBody
	}
	if err != nil {
		return 0, 0, list{}, list{}, err
	}
	return to, number, some, none, nil
}

func appendExcluded(dst []byte, from origin, to, number uint64, is bool) []byte {
	dst = binary.BigEndian.AppendUint64(appendHeader(dst, KindExcluded, from), to)
	dst = binary.BigEndian.AppendUint64(dst, number)
	if is {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// readExcluded reads the body of KindExcluded.
func readExcluded(b []byte) (to, number uint64, is bool, err error) {
	switch {
	case len(b) < 17:
		return 0, 0, false, errShort
	case len(b) > 17 || b[16] > 1:
		return 0, 0, false, errBody
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[16] == 1, nil
}

func appendEcho(dst []byte, self origin, sent int64) []byte {
	return binary.BigEndian.AppendUint64(appendHeader(dst, KindEcho, self), uint64(sent))
}

// readEcho reads the body of KindEcho.
func readEcho(b []byte) (sent int64, err error) {
	if len(b) != 8 {
		return 0, errBody
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
