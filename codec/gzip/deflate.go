package gzip

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/flate"
)

// header is the same for every member: no flags, no time, XFL 4 for the fastest level and OS 255
// for unknown, so that equal payloads deflate to equal bytes on every machine.
const header = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

// A deflater is pooled: its hash tables are some 100 KiB.
type deflater struct {
	out   appender
	flate *flate.Writer
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

// Deflate appends src to dst as one gzip member, at the fastest level. An empty src makes a valid
// member of nothing. Equal sources make equal bytes.
//
// Deflate does not allocate if dst has room. dst and src must not overlap.
func Deflate(dst, src []byte) []byte {
	z := deflaters.Get().(*deflater)
	z.out.b = append(dst, header...)
	z.flate.Reset(&z.out)
	z.flate.Write(src) // an appender does not fail, and neither does what writes to it
	z.flate.Close()
	dst = z.out.b
	z.out.b = nil
	deflaters.Put(z)

	dst = binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(src))
	return binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
}
