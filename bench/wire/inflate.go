package wire

import (
	"bytes"
	"encoding/binary"

	"github.com/sluicenet/sluice/codec/gzip"
)

// An inflateMemo inflates gzip streams and remembers the last ones: in a fan-out every subscriber of a
// loop receives the same bytes, and only the first of them has to pay.
type inflateMemo struct {
	entries []inflated
}

type inflated struct {
	packed, plain []byte
}

// memoSize is how many streams are remembered, by their checksum.
const memoSize = 1024

// inflate returns what packed holds; it is good until the next call. An empty stream is empty.
func (m *inflateMemo) inflate(packed []byte) ([]byte, error) {
	if len(packed) < 8 {
		if len(packed) == 0 {
			return nil, nil
		}
		return nil, gzip.ErrCorrupt
	}
	if m.entries == nil {
		m.entries = make([]inflated, memoSize)
	}
	e := &m.entries[binary.LittleEndian.Uint32(packed[len(packed)-8:])%memoSize]
	if bytes.Equal(e.packed, packed) {
		return e.plain, nil
	}
	plain, err := gzip.Inflate(e.plain[:0], packed, maxInflated)
	if err != nil {
		e.packed = e.packed[:0]
		return nil, err
	}
	e.packed, e.plain = append(e.packed[:0], packed...), plain
	return plain, nil
}
