// Package blocks bounds what the blocks of a DEFLATE stream cost its receiver.
//
// A block that has Huffman codes of its own takes about a microsecond to begin, whatever is in it,
// and one of nothing is 12 bytes long. So 16 MiB of such blocks hold a goroutine up for more than a
// second, though little or nothing comes out, and the limits of what comes out do not help.
//
// # Data flow
//
//	source, at most Window of it at a time -> a reader of NewReader's -> Meter.Add -> go on, or ErrTooMany
//
// # Ownership and goroutines
//
// A Meter belongs to the one who inflates. There are no goroutines.
package blocks

import (
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// ErrTooMany says that a source has more blocks than Free and one for each PerBlock bytes.
var ErrTooMany = errors.New("too many blocks")

const (
	// Unmetered is the longest source that need not be counted: there is no room in it for so many
	// blocks that it would matter.
	Unmetered = 64 << 10

	// Free is how many blocks there may be anyway. Programs that flush what they have every few
	// bytes make two each time.
	Free = 16 << 10

	// PerBlock is for how many inflated bytes there may be another. Compressors begin a block after
	// some 16,000 symbols; zlib, told to be content with the least memory, after 127.
	PerBlock = 128

	// Window is how much a reader may take for what it gives at one time, at most 32 KiB. Stored as
	// they are these take little more.
	Window = 64 << 10

	// smallest is the length of a block of nothing that has Huffman codes of its own.
	smallest = 11

	// perEmpty is what a byte of blocks of nothing costs, in bytes that come out of others: such a
	// block takes about as long as some 700 of them.
	perEmpty = 64
)

// Cost is what it takes to inflate a source of in bytes to out bytes, in bytes that come out of what
// compressors make. Whatever is longer than what comes out of it is made of blocks of nothing.
func Cost(in, out int) int { return out + perEmpty*max(0, in-out) }

// NewReader returns a reader for a Meter, which gives what it has after each block. What it reads
// may refer to history.
func NewReader(src io.Reader, history []byte) io.Reader {
	return flate.NewReaderOpts(src, flate.WithPartialBlock(), flate.WithDict(history))
}

// A Meter counts the blocks of one source, whatever streams it is made of. The zero value is ready
// for use.
type Meter struct {
	spent, total int
	in, out      int // what was taken for the latest block, and what has come out of it
}

// Add tells of a Read that has taken in bytes of the source and given out bytes. An error is
// ErrTooMany.
func (m *Meter) Add(in, out int) error {
	if in > 0 {
		// Whatever is longer than what comes out of it has blocks of nothing before it.
		m.spent += 1 + max(0, m.in-m.out)/smallest
		m.in, m.out = in, 0
	}
	m.out += out
	m.total += out
	if m.spent > Free+m.total/PerBlock {
		return ErrTooMany
	}
	return nil
}
