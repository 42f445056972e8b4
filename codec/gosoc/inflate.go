package gosoc

import "github.com/sluicenet/sluice/codec/gzip"

// InflatePayload returns the plain payload of a connection whose Connect said gzip: it is inflated
// into dst's room behind what dst holds, and grown is dst with it appended. An empty payload is
// plain already. The payload must be gzip to its last byte, in at most so many members (zero: see
// gzip.DefaultMembers), else the error is gzip.ErrManyMembers; more than limit bytes are
// gzip.ErrTooLarge, anything else wrong is gzip.ErrCorrupt, and plain is then nil. The cost is
// InflateMembers', 0 for what is plain already.
func InflatePayload(dst, payload []byte, limit, members int) (plain, grown []byte, cost int, err error) {
	if len(payload) == 0 {
		return payload, dst, 0, nil
	}
	grown, cost, err = gzip.InflateMembers(dst, payload, limit, members)
	if err != nil {
		return nil, grown, 0, err
	}
	end := len(grown)
	return grown[len(dst):end:end], grown, cost, nil
}

// InflateData is InflatePayload for an attachment, which no flag describes: one that begins 1F 8B
// is inflated, once, and any other is plain already, whatever its size; plain is then data itself.
func InflateData(dst, data []byte, limit, members int) (plain, grown []byte, cost int, err error) {
	if !gzip.HasMagic(data) {
		return data, dst, 0, nil
	}
	return InflatePayload(dst, data, limit, members)
}
