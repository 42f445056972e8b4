package cluster

import (
	"encoding/binary"
	"errors"
)

// The bodies of frames of the control connection:
//
//	KindCommand  uint64 to, uint8 flags, uint64 number, uint32 part, payload
//	KindAnswer   uint64 to, uint8 flags, uint64 number, uint32 part, uint8 status, payload
//
// "to" is the incarnation of the process that the frame is for, since its server id, which is in the
// subject, may have been another's; 0 in KindCommand: every process. number is a command's, of which its
// sender gives none twice; an answer has its command's. A payload that is too long for one message of
// the Bus is in several frames of one number that follow one another on their subject, part 0 first.
const (
	flagWantsAnswer = 1 // of a command
	flagMore        = 2 // the payload goes on in the next frame
)

// A status is what an answer says of its command.
type status uint8

const (
	statusDone   status = iota // the payload is the answer
	statusBusy                 // too many commands wait: it was not carried out
	statusFailed               // it has failed
	numStatuses
)

const (
	commandHead = headerLen + 8 + 1 + 8 + 4
	answerHead  = commandHead + 1
)

// A commandFrame is a frame of KindCommand without its head.
type commandFrame struct {
	to      uint64
	flags   uint8
	number  uint64
	part    uint32
	payload []byte
}

// An answerFrame is the same of KindAnswer.
type answerFrame struct {
	to      uint64
	flags   uint8
	number  uint64
	part    uint32
	status  status
	payload []byte
}

// errFlags is that a frame has flags that this version does not know.
var errFlags = errors.New("cluster: a frame has unknown flags")

func (f *commandFrame) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, f.to)
	dst = append(dst, f.flags)
	dst = binary.BigEndian.AppendUint64(dst, f.number)
	dst = binary.BigEndian.AppendUint32(dst, f.part)
	return append(dst, f.payload...)
}

// read reads a body. The payload lies in it.
func (f *commandFrame) read(b []byte) error {
	if len(b) < commandHead-headerLen {
		return errShort
	}
	*f = commandFrame{
		to: binary.BigEndian.Uint64(b), flags: b[8], number: binary.BigEndian.Uint64(b[9:]),
		part: binary.BigEndian.Uint32(b[17:]), payload: b[21:],
	}
	if f.flags&^(flagWantsAnswer|flagMore) != 0 {
		return errFlags
	}
	return nil
}

func (f *answerFrame) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, f.to)
	dst = append(dst, f.flags)
	dst = binary.BigEndian.AppendUint64(dst, f.number)
	dst = binary.BigEndian.AppendUint32(dst, f.part)
	dst = append(dst, byte(f.status))
	return append(dst, f.payload...)
}

// read reads a body. The payload lies in it.
func (f *answerFrame) read(b []byte) error {
	if len(b) < answerHead-headerLen {
		return errShort
	}
	*f = answerFrame{
		to: binary.BigEndian.Uint64(b), flags: b[8], number: binary.BigEndian.Uint64(b[9:]),
		part: binary.BigEndian.Uint32(b[17:]), status: status(b[21]), payload: b[22:],
	}
	if f.flags&^flagMore != 0 || f.status >= numStatuses {
		return errFlags
	}
	return nil
}

// An assembly joins the parts of a payload.
type assembly struct {
	number uint64
	next   uint32 // the part that is to come; 0: none has come
	parts  []byte
}

// add takes a part. whole says that payload is all of it; bad, that a part is missing, or it is too long.
func (a *assembly) add(flags uint8, number uint64, part uint32, b []byte) (payload []byte, whole, bad bool) {
	last := flags&flagMore == 0
	switch {
	case part == 0:
		bad = a.next > 0 // what was begun is never finished
		*a = assembly{}
		if last {
			return b, true, bad
		}
		*a = assembly{number: number, next: 1, parts: append([]byte(nil), b...)}
		return nil, false, bad
	case a.next != part || a.number != number || len(a.parts)+len(b) > maxWhole:
		*a = assembly{}
		return nil, false, true
	}
	a.parts = append(a.parts, b...)
	a.next++
	if !last {
		return nil, false, false
	}
	payload = a.parts
	*a = assembly{}
	return payload, true, false
}

// split calls f for each part of a payload, of at most size bytes, with the flags it has.
func split(payload []byte, size int, f func(flags uint8, part uint32, b []byte)) {
	for part := uint32(0); ; part++ {
		if len(payload) <= size {
			f(0, part, payload)
			return
		}
		f(flagMore, part, payload[:size])
		payload = payload[size:]
	}
}
