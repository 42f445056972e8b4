package gzip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// The member header, RFC 1952 section 2.3.
const (
	id1           = 0x1f
	id2           = 0x8b
	methodDeflate = 8

	flagHeaderCRC = 0x02
	flagExtra     = 0x04
	flagName      = 0x08
	flagComment   = 0x10
	flagsReserved = 0xe0

	headerSize  = 10 // its fixed part
	trailerSize = 8  // CRC-32, ISIZE
)

// What a corrupt stream has got wrong; each comes wrapped together with ErrCorrupt.
var (
	errNotGzip   = errors.New("no gzip member")
	errMethod    = errors.New("unknown compression method")
	errFlags     = errors.New("reserved header flag set")
	errHeaderCRC = errors.New("header checksum mismatch")
	errChecksum  = errors.New("checksum mismatch")
	errLength    = errors.New("length mismatch")
)

// HasMagic reports whether b begins like a gzip member: 1F 8B.
func HasMagic(b []byte) bool {
	return len(b) >= 2 && b[0] == id1 && b[1] == id2
}

// skipHeader reports the size of the member header at the front of src. Time, name and the
// like mean nothing inside a packet and are stepped over without being copied.
func skipHeader(src []byte) (n int, err error) {
	if len(src) >= 2 && !HasMagic(src) {
		return 0, errNotGzip
	}
	if len(src) < headerSize {
		return 0, io.ErrUnexpectedEOF
	}
	if src[2] != methodDeflate {
		return 0, errMethod
	}
	flags := src[3]
	if flags&flagsReserved != 0 {
		return 0, errFlags
	}
	n = headerSize
	if flags&flagExtra != 0 {
		if len(src)-n < 2 {
			return 0, io.ErrUnexpectedEOF
		}
		n += 2 + int(binary.LittleEndian.Uint16(src[n:]))
		if n > len(src) {
			return 0, io.ErrUnexpectedEOF
		}
	}
	for _, text := range [...]byte{flagName, flagComment} {
		if flags&text == 0 {
			continue
		}
		end := bytes.IndexByte(src[n:], 0)
		if end < 0 {
			return 0, io.ErrUnexpectedEOF
		}
		n += end + 1
	}
	if flags&flagHeaderCRC != 0 {
		if len(src)-n < 2 {
			return 0, io.ErrUnexpectedEOF
		}
		if binary.LittleEndian.Uint16(src[n:]) != uint16(crc32.ChecksumIEEE(src[:n])) {
			return 0, errHeaderCRC
		}
		n += 2
	}
	return n, nil
}

// checkTrailer compares the trailer at the front of src with what was inflated.
func checkTrailer(src, inflated []byte) error {
	if len(src) < trailerSize {
		return io.ErrUnexpectedEOF
	}
	if binary.LittleEndian.Uint32(src) != crc32.ChecksumIEEE(inflated) {
		return errChecksum
	}
	// ISIZE is the length modulo 2^32.
	if binary.LittleEndian.Uint32(src[4:]) != uint32(len(inflated)) {
		return errLength
	}
	return nil
}
