// Package gzip inflates and deflates whole payloads with a bound on what comes out.
//
// It is shared by the codecs, whose packets carry gzip streams of a few dozen bytes to a few
// megabytes. The member format (RFC 1952) is read and written here; the DEFLATE streams inside
// (RFC 1951) are klauspost/compress's business.
//
// # Data flow
//
//	Inflate:  src -> member header -> flate -> dst, counted against the limit -> CRC-32, ISIZE
//	Deflate:  src -> flate, fastest level -> dst
//
// A peer decides what is in src, so nothing it announces is believed: the output grows with the
// bytes that really come out and stops at the limit, whatever the trailer says. Members are counted:
// one of nothing costs as much as a kilobyte. So are the blocks of a long source, see package blocks.
//
// # Ownership
//
// src is only read, dst is appended to as the append built-in would, and neither is kept: the
// pooled coders forget both before they go back to their pool.
//
// # Goroutines
//
// None of its own. Every function may be called from any goroutine.
package gzip
