package longbridge

import (
	"fmt"

	"github.com/sluicenet/sluice/codec/gzip"
)

// Inflate returns body as its sender meant it, which is body itself unless the
// packet has the gzip bit. With the bit, the result overwrites scratch from its
// start, grown where it must be; scratch may be nil and must not overlap body.
//
// At most limit bytes come out, counted while inflating: the size announced in
// the gzip trailer is not believed. The limit is for inflated bodies only, and so
// is that of gzip members (zero: see gzip.DefaultMembers). The errors are
// ErrGzipEmpty and those of package gzip, wrapped. The cost is that of
// gzip.InflateMembers, 0 for a body without the bit.
func (h *Header) Inflate(scratch, body []byte, limit, members int) (plain []byte, cost int, err error) {
	if !h.Gzip {
		return body, 0, nil
	}
	if len(body) == 0 {
		return nil, 0, ErrGzipEmpty
	}
	plain, cost, err = gzip.InflateMembers(scratch[:0], body, limit, members)
	if err != nil {
		return nil, 0, fmt.Errorf("longbridge: body: %w", err)
	}
	return plain, cost, nil
}

// MaybeDeflate returns body, or body deflated into scratch if it has at least
// threshold bytes and gets shorter by it; the second result is the packet's gzip
// bit. Scratch is overwritten from its start, grown where it must be, and must
// not overlap body. A threshold below 1 means never.
func MaybeDeflate(scratch, body []byte, threshold int) (payload []byte, gzipped bool) {
	if threshold < 1 || len(body) < threshold {
		return body, false
	}
	deflated := gzip.Deflate(scratch[:0], body)
	if len(deflated) >= len(body) {
		return body, false
	}
	return deflated, true
}
