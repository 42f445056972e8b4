package websocket

import (
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/sluicenet/sluice/codec/internal/blocks"
)

// Each message is compressed by itself (no context takeover, RFC 7692 7.1.1): a connection keeps
// no window, and the coders, of 40 KiB and more, are pooled.

// A Scratch is where Readers inflate messages to. One is enough for all Readers of a goroutine;
// the zero value is ready for use.
type Scratch struct{ buf []byte }

const (
	// keepScratch is how much memory a Scratch keeps from one message to the next. There are few.
	keepScratch = 1 << 20
	// keepFrame is how much a deflater does.
	keepFrame = 64 << 10
)

// inflate works with a nil s too, then the message has its own memory.
func (s *Scratch) inflate(src []byte, limit int) ([]byte, error) {
	if s == nil {
		return Inflate(nil, src, limit)
	}
	if cap(s.buf) > keepScratch {
		s.buf = nil
	}
	out, err := Inflate(s.buf[:0], src, limit)
	s.buf = out[:0]
	return out, err
}

// Deflate appends to dst the payload of a compressed message (RFC 7692 7.2.1), at the fastest
// level. Equal sources make equal bytes. It does not allocate if dst has room. dst and src must not
// overlap.
func Deflate(dst, src []byte) []byte {
	z := deflaters.Get().(*deflater)
	dst = z.deflate(dst, src)
	deflaters.Put(z)
	return dst
}

// flushed is the end of a flushed stream, which is not sent (RFC 7692 7.2.1).
const flushed = "\x00\x00\xff\xff"

// tail is what Inflate adds to a message: the flush's end, and an empty last block, which tells a
// whole stream from one cut short.
const tail = flushed + "\x01\x00\x00\xff\xff"

// AppendDeflatedFrame appends a server's unfragmented frame whose payload is compressed, or as
// it is if that is not longer. dst and payload must not overlap.
func AppendDeflatedFrame(dst []byte, op Opcode, payload []byte) []byte {
	start := len(dst)
	dst = AppendFrameHeader(dst, op, len(payload)) // room for a header: ours will not be longer
	room := len(dst)
	dst = Deflate(dst, payload)
	deflated := dst[room:]
	if len(deflated) >= len(payload) {
		return AppendFrame(dst[:start], op, payload)
	}
	h := FrameHeader{Fin: true, RSV1: true, Opcode: op, Length: int64(len(deflated))}
	return append(h.Append(dst[:start]), deflated...)
}

// DeflateFrame compresses, in its place, the frame that dst holds from start on: a server's, alone,
// unfragmented and uncompressed. A frame that would not get shorter is left as it is. So a packet
// can be encoded once, where it is to be sent from, whether it is to be compressed or not.
func DeflateFrame(dst []byte, start int) []byte {
	h, n, err := ParseHeader(dst[start:])
	if err != nil || n == 0 || h.Masked || h.RSV1 {
		return dst
	}
	payload := dst[start+n:]
	z := deflaters.Get().(*deflater)
	deflated := z.deflate(z.frame[:0], payload)
	if len(deflated) < len(payload) {
		h.RSV1, h.Length = true, int64(len(deflated))
		dst = append(h.Append(dst[:start]), deflated...)
	}
	if cap(deflated) <= keepFrame {
		z.frame = deflated
	}
	deflaters.Put(z)
	return dst
}

type deflater struct {
	out   appender
	flate *flate.Writer
	frame []byte // DeflateFrame's, at most keepFrame of it
}

func (z *deflater) deflate(dst, src []byte) []byte {
	z.out.b = dst
	z.flate.Reset(&z.out)
	z.flate.Write(src) // an appender does not fail, and neither does what writes to it
	z.flate.Flush()
	dst = z.out.b
	z.out.b = nil
	return dst[:len(dst)-len(flushed)] // a flush ends in just these bytes
}

// An appender is the io.Writer that flate writes its output to. It never fails.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

var deflaters = sync.Pool{New: func() any {
	z := new(deflater)
	z.flate, _ = flate.NewWriter(&z.out, flate.BestSpeed) // fails on an unknown level only
	return z
}}

const (
	// firstRoom is what Inflate makes room for when dst has none.
	firstRoom = 512
	// window is how far back DEFLATE refers.
	window = 32 << 10
	// maxFinal is how many blocks of a message may be marked as the last (RFC 7692 7.2.3.4):
	// each makes the inflater start over, which costs as much as some 100 KiB of plain inflating.
	maxFinal = 256
)

// Inflate appends to dst what the payload of a compressed message holds (RFC 7692 7.2.2), at most
// limit bytes, counted while they come out; if there would be more, the error is ErrTooBig. What is
// not a whole DEFLATE stream is ErrInflate. With an error the slice returned is as long as dst was;
// what is behind it in its capacity may have been written to.
//
// A src above 64 KiB is ErrManyBlocks if it is of very small blocks, more than 16,384 and one for
// every 128 bytes that come out: each costs as much as some hundred bytes.
//
// Inflate does not allocate if dst has room, but some 80 KiB for a src above 64 KiB. If dst has
// none, it grows with what really comes out. dst and src must not overlap.
func Inflate(dst, src []byte, limit int) ([]byte, error) {
	if len(src) == 0 { // some write an empty message like this
		return dst, nil
	}
	z := inflaters.Get().(*inflater)
	out, err := z.message(dst, src, limit)
	z.src, z.counted, z.meter = source{}, nil, blocks.Meter{}
	inflaters.Put(z)
	if err != nil {
		return out[:len(dst)], err
	}
	return out, nil
}

type inflater struct {
	src   source
	flate io.ReadCloser

	// The blocks of a long message are counted. counted is in flate's place then, otherwise nil.
	counted io.Reader
	meter   blocks.Meter

	// probe catches what follows when there is no room, so that a message which just fits does
	// not make dst grow, and one byte over the limit is seen without room for it.
	probe [64]byte
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.flate = flate.NewReader(&z.src)
	return z
}}

// message inflates src. A block marked as the last does not end a message, others may follow from
// the next byte on and refer to what was before.
func (z *inflater) message(dst, src []byte, limit int) ([]byte, error) {
	start := len(dst)
	z.src = source{b: src, most: math.MaxInt}
	for range maxFinal {
		history := dst[max(start, len(dst)-window):]
		if len(src) > blocks.Unmetered {
			z.counted = blocks.NewReader(&z.src, history)
		} else if err := z.flate.(flate.Resetter).Reset(&z.src, history); err != nil {
			return dst, ErrInflate
		}
		var err error
		if dst, err = z.stream(dst, start, limit); err != nil {
			return dst, err
		}
		if z.src.inTail || len(z.src.b) == 0 { // the latter: its padding byte was left out
			return dst, nil
		}
	}
	return dst, ErrInflate
}

// stream appends what comes out up to a last block. dst holds len(dst)-start inflated bytes
// already.
func (z *inflater) stream(dst []byte, start, limit int) ([]byte, error) {
	for {
		left := limit - (len(dst) - start)
		room := min(cap(dst)-len(dst), left)
		into := z.probe[:]
		if room > 0 {
			into = dst[len(dst) : len(dst)+room]
		}
		n, err := z.read(into)
		switch {
		case n > left:
			return dst, ErrTooBig
		case room > 0:
			dst = dst[:len(dst)+n]
		case n > 0:
			dst = append(grow(dst, start, limit), z.probe[:n]...)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err == blocks.ErrTooMany {
			return dst, ErrManyBlocks
		}
		if err != nil {
			return dst, ErrInflate
		}
	}
}

// read reads from flate. If blocks are counted, flate is given no more of the message than it may
// take at one time, so that blocks of nothing come to an end.
func (z *inflater) read(p []byte) (int, error) {
	if z.counted == nil {
		return z.flate.Read(p)
	}
	z.src.most = blocks.Window
	n, err := z.counted.Read(p)
	if err == io.ErrUnexpectedEOF && z.src.most == 0 {
		err = blocks.ErrTooMany
	}
	if tooMany := z.meter.Add(blocks.Window-z.src.most, n); tooMany != nil {
		err = tooMany
	}
	return n, err
}

// grow doubles the room for inflated bytes, which begin at start, but not beyond limit. The room
// is for more than a probe, unless the limit is less.
func grow(dst []byte, start, limit int) []byte {
	inflated := len(dst) - start
	room := limit
	if inflated < limit/2 {
		room = min(max(2*inflated, firstRoom), limit)
	}
	grown := make([]byte, len(dst), start+room)
	copy(grown, dst)
	return grown
}

// A source gives flate a message and then the tail, but only so many bytes of it.
type source struct {
	b      []byte
	inTail bool
	most   int
}

func (s *source) next() bool {
	if s.inTail {
		return false
	}
	s.b, s.inTail = tailBytes, true
	return true
}

// tailBytes is only read.
var tailBytes = []byte(tail)

func (s *source) ReadByte() (byte, error) {
	if s.most == 0 || len(s.b) == 0 && !s.next() {
		return 0, io.EOF
	}
	c := s.b[0]
	s.b = s.b[1:]
	s.most--
	return c, nil
}

func (s *source) Read(p []byte) (int, error) {
	if s.most == 0 || len(s.b) == 0 && !s.next() {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.most)], s.b)
	s.b = s.b[n:]
	s.most -= n
	return n, nil
}
