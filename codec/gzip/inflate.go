package gzip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/sluicenet/sluice/codec/internal/blocks"
)

var (
	// ErrTooLarge says that more would come out than the caller allows.
	ErrTooLarge = errors.New("gzip: inflated size exceeds limit")

	// ErrManyMembers says that the source has more members than the caller allows.
	ErrManyMembers = errors.New("gzip: too many members")

	// ErrCorrupt says that the source is not one or more whole gzip members and nothing else.
	// The error returned wraps the cause too; for a stream cut short that is io.ErrUnexpectedEOF.
	ErrCorrupt = errors.New("gzip: corrupt stream")
)

// DefaultMembers is how many members Inflate takes. Each costs about as much as a kilobyte, and one
// of nothing is 20 bytes long. Programs that compress in blocks, as bgzip does for random access, make
// one of every 64 KiB.
const DefaultMembers = 1024

// perMember is what each member but the first adds to a cost.
const perMember = 1 << 10

// firstRoom is what Inflate makes room for when dst has none: most payloads are small JSON
// texts, and growing from here by doubling costs a large one little.
const firstRoom = 512

// An inflater is pooled: its flate state is some 40 KiB.
type inflater struct {
	src   bytes.Reader // a flate.Reader, so flate takes not one byte more than its stream
	flate io.ReadCloser

	// The blocks of a long source are counted. counted is nil for others, otherwise it is in flate's
	// place, and rest is what it has not taken yet.
	counted io.Reader
	rest    []byte
	meter   blocks.Meter

	// probe catches what follows when dst is full, so that a payload which just fits does not
	// make dst grow, and one byte over the limit is seen without room for it.
	probe [64]byte
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.flate = flate.NewReader(&z.src)
	return z
}}

// Inflate appends to dst what src inflates to: one gzip member, or several joined.
//
// At most limit bytes are appended, counted while they come out; if there would be more, the
// error is ErrTooLarge, and a limit below 0 counts as 0. More than DefaultMembers members are
// ErrManyMembers. Anything that is not whole members to the last byte is ErrCorrupt. With an error
// the slice returned is as long as dst was; what is behind it in its capacity may have been written
// to.
//
// A src above 64 KiB is ErrCorrupt too if it is of very small blocks, more than 16,384 and one for
// every 128 bytes that come out: each costs as much as some hundred bytes.
//
// Inflate does not allocate if dst has room, but some 80 KiB for each member of a src above 64 KiB.
// If dst has none, it grows with what really comes out, at most to limit bytes behind what dst
// held. dst and src must not overlap.
func Inflate(dst, src []byte, limit int) ([]byte, error) {
	out, _, err := InflateMembers(dst, src, limit, DefaultMembers)
	return out, err
}

// InflateMembers is Inflate of at most so many members; zero or less means DefaultMembers. The cost is
// for those who bound what a peer may have inflated: the bytes that came out, 1 KiB for each member
// but the first, and 64 for each byte by which a member's stream is longer than what came out of it,
// as one of blocks of nothing is. With an error it is 0.
func InflateMembers(dst, src []byte, limit, members int) (out []byte, cost int, err error) {
	if members <= 0 {
		members = DefaultMembers
	}
	z := inflaters.Get().(*inflater)
	out, cost, err = z.members(dst, src, max(limit, 0), members)
	z.src.Reset(nil)
	z.counted, z.rest, z.meter = nil, nil, blocks.Meter{}
	inflaters.Put(z)

	if err != nil {
		out = out[:len(dst)]
		if err != ErrTooLarge && err != ErrManyMembers {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return out, cost, err
}

// members inflates one member after the other, at most so many, until src is used up.
func (z *inflater) members(dst, src []byte, limit, most int) (_ []byte, cost int, _ error) {
	start := len(dst)
	long := len(src) > blocks.Unmetered
	for {
		if most--; most < 0 {
			return dst, 0, ErrManyMembers
		}
		n, err := skipHeader(src)
		if err != nil {
			return dst, 0, err
		}
		if src = src[n:]; long {
			z.src.Reset(nil)
			z.rest, z.counted = src, blocks.NewReader(&z.src, nil)
		} else {
			z.src.Reset(src)
			if err := z.flate.(flate.Resetter).Reset(&z.src, nil); err != nil {
				return dst, 0, err
			}
		}
		member := len(dst)
		if dst, err = z.stream(dst, start, limit); err != nil {
			return dst, 0, err
		}
		cost += blocks.Cost(len(src)-z.left(), len(dst)-member)
		src = src[len(src)-z.left():]
		if err := checkTrailer(src, dst[member:]); err != nil {
			return dst, 0, err
		}
		if src = src[trailerSize:]; len(src) == 0 {
			return dst, cost, nil
		}
		cost += perMember
	}
}

// stream appends one DEFLATE stream to dst, which holds len(dst)-start inflated bytes already.
func (z *inflater) stream(dst []byte, start, limit int) ([]byte, error) {
	for {
		room := min(cap(dst)-len(dst), limit-(len(dst)-start))
		into := dst[len(dst) : len(dst)+room]
		if room == 0 {
			into = z.probe[:]
		}
		n, err := z.read(into)
		switch {
		case room > 0:
			dst = dst[:len(dst)+n]
		case n > limit-(len(dst)-start):
			return dst, ErrTooLarge
		case n > 0:
			dst = append(grow(dst, start, limit), z.probe[:n]...)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// read reads from flate. If blocks are counted, flate is given no more of the source than it may
// take at one time, so that blocks of nothing come to an end.
func (z *inflater) read(p []byte) (int, error) {
	if z.counted == nil {
		return z.flate.Read(p)
	}
	window := z.rest[:min(len(z.rest), blocks.Window)]
	z.src.Reset(window)
	n, err := z.counted.Read(p)
	taken := len(window) - z.src.Len()
	z.rest = z.rest[taken:]
	if err == io.ErrUnexpectedEOF && len(z.rest) > 0 {
		err = blocks.ErrTooMany
	}
	if tooMany := z.meter.Add(taken, n); tooMany != nil {
		err = tooMany
	}
	return n, err
}

// left is how much of the source is behind the stream that has been read.
func (z *inflater) left() int {
	if z.counted == nil {
		return z.src.Len()
	}
	return len(z.rest)
}

// grow doubles the room for inflated bytes, which begin at start, but not beyond limit.
// It is called with dst full and the limit not reached.
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
