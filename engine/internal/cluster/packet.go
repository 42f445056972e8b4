package cluster

import (
	"sync"

	"github.com/sluicenet/sluice/topic"
)

// A packet is a frame of messages that waits.
type packet struct {
	target  *target // nil: there are too many topics
	name    string
	frame   []byte
	class   int
	count   uint32
	records int // bytes
}

// packetClasses are the sizes of frames that are used again, in bytes.
var packetClasses = [...]int{512, 4 << 10, 18 << 10, 36 << 10, 72 << 10}

var packetPools [len(packetClasses)]sync.Pool

func newPacket(size int) *packet {
	for c, n := range packetClasses {
		if size > n {
			continue
		}
		if p, ok := packetPools[c].Get().(*packet); ok {
			return p
		}
		return &packet{frame: make([]byte, 0, n), class: c}
	}
	return &packet{frame: make([]byte, 0, size), class: -1}
}

// grow makes room for size bytes, and returns how many more the packet has then.
func (p *packet) grow(size int) int64 {
	q := newPacket(size)
	more := int64(cap(q.frame) - cap(p.frame))
	q.frame = append(q.frame[:0], p.frame...)
	p.frame, q.frame = q.frame, p.frame
	p.class, q.class = q.class, p.class
	q.free()
	return more
}

func (p *packet) free() {
	if p.class >= 0 {
		p.target, p.name, p.frame, p.count, p.records = nil, "", p.frame[:0], 0, 0
		packetPools[p.class].Put(p)
	}
}

// eachChunk calls f with as many names at a time as fit into a frame.
func eachChunk(names []string, f func([]string)) {
	for len(names) > 0 {
		n, size := 0, 0
		for n < len(names) && (n == 0 || size+len(names[n])+2 <= maxStatement) {
			size += len(names[n]) + 2
			n++
		}
		f(names[:n])
		names = names[n:]
	}
}

// eachRecord calls f for each of n records.
func eachRecord(records []byte, f func(record []byte)) {
	var m topic.Message
	for len(records) > 0 {
		n, err := m.Read(records)
		if err != nil {
			return
		}
		f(records[:n])
		records = records[n:]
	}
}
