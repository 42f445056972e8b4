package topic

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sort"
	"unsafe"
)

// A kept message is a record:
//
//	offset  0  uint32, ms that it came behind the first of its segment
//	        4  command
//	        5  uint16, length of the route
//	        7  uint32, length of the payload
//	       11  route, then payload
const recordHead = 11

// AppendRecord appends a message as History.Append wants it, which fills in the time. Of a route the
// first 64 KiB count.
func AppendRecord(dst []byte, route string, cmd uint8, payload []byte) []byte {
	route = route[:min(len(route), math.MaxUint16)]
	dst = append(dst, 0, 0, 0, 0, cmd)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(route)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, route...)
	return append(dst, payload...)
}

// recordLen returns the length of the record at the front of b.
func recordLen(b []byte) int {
	return recordHead + int(binary.LittleEndian.Uint16(b[5:])) + int(binary.LittleEndian.Uint32(b[7:]))
}

// ErrRecord means that bytes are no record of AppendRecord.
var ErrRecord = errors.New("topic: no record")

// Read makes m the record at the front of b and returns the record's length. Seq and At stay as they
// are; Payload lies in b. A route that m had already is kept. The error is ErrRecord.
func (m *Message) Read(b []byte) (int, error) {
	if len(b) < recordHead || uint64(len(b)) < recordHead+uint64(binary.LittleEndian.Uint16(b[5:]))+uint64(binary.LittleEndian.Uint32(b[7:])) {
		return 0, ErrRecord
	}
	at := m.At
	n := m.decode(b, 0)
	m.At = at
	return n, nil
}

// A Message is what a topic has kept.
type Message struct {
	Seq     uint64
	At      int64 // ms on the clock of who appended it
	Route   string
	Cmd     uint8
	Payload []byte // the history's own: read only
}

// decode makes m the record at the front of b, which came in a segment that began at ms, and returns
// the record's length. A route that m had already is kept.
func (m *Message) decode(b []byte, at int64) int {
	n := recordLen(b)
	m.At = at + int64(binary.LittleEndian.Uint32(b))
	m.Cmd = b[4]
	route := b[recordHead : recordHead+int(binary.LittleEndian.Uint16(b[5:]))]
	if string(route) != m.Route {
		m.Route = string(route)
	}
	m.Payload = b[recordHead+len(route) : n : n]
	return n
}

// A segment is records of one topic that followed one another. What is in data stays as it is: more may
// be appended, as far as there is room, until the next segment begins.
type segment struct {
	stream     *Stream
	data       []byte
	first      uint64 // number of the first record
	count      uint32
	begun      int64 // ms, of the first record
	last       int64 // ms, of the last one
	jumps      *jumps
	prev, next *segment
}

// A jump is a record of a segment whose number is not the next one behind the record before it. Numbers
// that are given by others have them; they are kept for themselves, since most streams have none.
type jump struct {
	at     uint32 // the record, from 0 on
	number uint64
}

type jumps struct{ list []jump }

const (
	jumpsSize = int64(unsafe.Sizeof(jumps{}))
	jumpSize  = int64(unsafe.Sizeof(jump{}))
)

const (
	// maxSegment is how long a segment of many messages may be, in bytes: what is dropped at once.
	maxSegment = 16 << 10
	// sealAfter is how many ms behind its first record the last one of a segment may come: segments
	// go in the order of their first ones.
	sealAfter = 1000
	// segmentOverhead is what a segment costs beside its data, in bytes: itself and its place in its
	// stream.
	segmentOverhead = int64(unsafe.Sizeof(segment{}) + unsafe.Sizeof((*segment)(nil)))
)

func (g *segment) cost() int64 {
	n := int64(cap(g.data)) + segmentOverhead
	if g.jumps != nil {
		n += jumpsSize + jumpSize*int64(cap(g.jumps.list))
	}
	return n
}

// end returns the number behind the last record's.
func (g *segment) end() uint64 {
	if g.jumps == nil {
		return g.first + uint64(g.count)
	}
	last := g.jumps.list[len(g.jumps.list)-1]
	return last.number + uint64(g.count-last.at)
}

// number returns the number of record i.
func (g *segment) number(i uint32) uint64 {
	if g.jumps == nil {
		return g.first + uint64(i)
	}
	list := g.jumps.list
	k := sort.Search(len(list), func(k int) bool { return list[k].at > i })
	if k == 0 {
		return g.first + uint64(i)
	}
	return list[k-1].number + uint64(i-list[k-1].at)
}

// index returns how many records have lower numbers than number.
func (g *segment) index(number uint64) uint32 {
	first, at, end := g.first, uint32(0), g.count
	if g.jumps != nil {
		list := g.jumps.list
		k := sort.Search(len(list), func(k int) bool { return list[k].number > number })
		if k > 0 {
			first, at = list[k-1].number, list[k-1].at
		}
		if k < len(list) {
			end = list[k].at
		}
	}
	if number <= first {
		return at
	}
	return at + uint32(min(number-first, uint64(end-at)))
}

func (g *segment) jumpList() []jump {
	if g.jumps == nil {
		return nil
	}
	return g.jumps.list
}

// jumpTo gives the next record a number that is not the next one, and returns what that takes in bytes.
func (g *segment) jumpTo(number uint64) (bytes int64) {
	before := g.cost()
	if g.jumps == nil {
		g.jumps = new(jumps)
	}
	g.jumps.list = append(g.jumps.list, jump{g.count, number})
	return g.cost() - before
}

// takes reports whether a record of size bytes at a time may be appended.
func (g *segment) takes(size int, now int64) bool {
	return len(g.data)+size <= cap(g.data) && now-g.begun < sealAfter && now >= g.begun
}

// append adds a record behind the others.
func (g *segment) append(record []byte, now int64) {
	at := len(g.data)
	g.data = append(g.data, record...)
	binary.LittleEndian.PutUint32(g.data[at:], uint32(now-g.begun))
	g.count++
	g.last = max(g.last, now)
}

// newSegment makes the segment for a record of size bytes, the first of so many bytes of them. A topic
// that is busy gets room for more: twice as much each time the one before was filled, but for no more
// than an eighth of what it may keep.
func newSegment(s *Stream, size, all, count int, first uint64, now int64) *segment {
	room := all
	if n := len(s.segments); n > s.head {
		switch before := s.segments[n-1]; {
		case now-before.last >= sealAfter:
		case len(before.data)+size > cap(before.data):
			room = max(room, 2*cap(before.data))
		default:
			room = max(room, len(before.data)*9/8)
		}
	}
	room = max(size, min(room, maxSegment, size*max(count/8, 1)))
	return &segment{stream: s, data: slices.Grow([]byte(nil), room), first: first, begun: now, last: now}
}
