package cluster

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A Kind says what a frame's body is.
type Kind uint8

// The kinds. Bodies are described where they are encoded.
const (
	KindMessages      Kind = iota + 1 // t.TOPIC: messages of a topic
	KindCredit                        // n.ID: how far a node is with a topic
	KindBarrier                       // n.all: topics that a node has subscribers to from now on
	KindBarrierAnswer                 // n.ID: the barrier is known
	KindLetGo                         // n.all: topics that a node has no subscribers to any more
	KindWhether                       // n.all: who has subscribers to these topics?
	KindInterest                      // n.ID: the answer
	KindCommand                       // c.ID, c.all: something to do, with an answer if one is wanted
	KindAnswer                        // c.ID: the answer
	KindExcluded                      // n.ID: whether the node is not waited for
	KindEcho                          // n.ID: of the node itself, to see whether it hears
	numKinds
)

const (
	magic     = 'S'
	version   = 1
	headerLen = 12
	sumLen    = 4
)

// Errors of a frame: whose fault is told by counters, nobody answers them.
var (
	errForeign = errors.New("cluster: no frame of ours")
	errVersion = errors.New("cluster: a frame of another version")
	errOwn     = errors.New("cluster: a frame of this node itself")
	errShort   = errors.New("cluster: a frame is cut off")
	errSum     = errors.New("cluster: a frame is not what was sent")
	errTopic   = errors.New("cluster: a frame of another topic than its subject's")
	errAgain   = errors.New("cluster: a command that has come before")
	errSender  = errors.New("cluster: a frame of a node that is not in the table")
)

// An origin is which process a frame comes from.
type origin struct {
	id          uint8
	incarnation uint64
}

// appendHeader begins a frame.
func appendHeader(dst []byte, k Kind, from origin) []byte {
	dst = append(dst, magic, version, byte(k), from.id)
	return binary.BigEndian.AppendUint64(dst, from.incarnation)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal ends a frame that is whole.
func seal(frame []byte) []byte {
	return binary.BigEndian.AppendUint32(frame, crc32.Checksum(frame, castagnoli))
}

// unseal takes off what seal has added. What is not what a node has sent must not be believed: one wrong
// number would make all that follows late.
func unseal(b []byte) ([]byte, error) {
	switch {
	case len(b) < 1 || b[0] != magic:
		return nil, errForeign
	case len(b) < 2:
		return nil, errShort
	case b[1] != version:
		return nil, errVersion
	case len(b) < headerLen+sumLen:
		return nil, errShort
	}
	frame := b[:len(b)-sumLen]
	if crc32.Checksum(frame, castagnoli) != binary.BigEndian.Uint32(b[len(frame):]) {
		return nil, errSum
	}
	return frame, nil
}

// parseHeader returns what a frame is, who it is from, and its body, which lies in b.
func parseHeader(b []byte) (k Kind, from origin, body []byte, err error) {
	switch {
	case len(b) < 1 || b[0] != magic:
		return 0, from, nil, errForeign
	case len(b) < 2:
		return 0, from, nil, errShort
	case b[1] != version:
		return 0, from, nil, errVersion
	case len(b) < headerLen:
		return 0, from, nil, errShort
	case b[2] == 0 || Kind(b[2]) >= numKinds:
		return 0, from, nil, errForeign
	}
	return Kind(b[2]), origin{b[3], binary.BigEndian.Uint64(b[4:])}, b[headerLen:], nil
}
