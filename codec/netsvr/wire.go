package netsvr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// A decoder walks the fields of one message. Its first error ends the walk, so
// that only end has to be looked at.
type decoder struct {
	rest   []byte
	val    []byte           // of a length-delimited field
	num    uint64           // of a varint field
	field  protowire.Number // 0 outside of a field
	typ    protowire.Type
	err    error
	within string // the message, for errors
}

// next reads a field whole, whether the message knows it or not.
func (d *decoder) next() bool {
	if d.err != nil || len(d.rest) == 0 {
		return false
	}
	d.field = 0
	tag := uint64(d.rest[0])
	if tag < 0x80 { // all our fields
		d.rest = d.rest[1:]
	} else if tag = d.varint(); d.err != nil {
		return false
	}
	n := tag >> 3
	if n < uint64(protowire.MinValidNumber) || n > uint64(protowire.MaxValidNumber) {
		return d.fail(ErrTag)
	}
	d.field, d.typ = protowire.Number(n), protowire.Type(tag&7)
	switch d.typ {
	case protowire.BytesType:
		d.val = d.delimited()
	case protowire.VarintType:
		d.num = d.varint()
	default:
		d.skip()
	}
	return d.err == nil
}

func (d *decoder) varint() uint64 {
	v, n := protowire.ConsumeVarint(d.rest)
	if n >= 0 {
		d.rest = d.rest[n:]
		return v
	}
	if len(d.rest) < binary.MaxVarintLen64 {
		d.fail(ErrTruncated)
	} else {
		d.fail(ErrVarint)
	}
	return 0
}

func (d *decoder) delimited() []byte {
	var size uint64
	if len(d.rest) > 0 && d.rest[0] < 0x80 {
		size = uint64(d.rest[0])
		d.rest = d.rest[1:]
	} else if size = d.varint(); d.err != nil {
		return nil
	}
	if size > uint64(len(d.rest)) {
		d.fail(ErrTruncated)
		return nil
	}
	v := d.rest[:size:size]
	d.rest = d.rest[size:]
	return v
}

// skip passes over a fixed-size number or a group; no message of ours has one.
func (d *decoder) skip() {
	n := protowire.ConsumeFieldValue(d.field, d.typ, d.rest)
	if n >= 0 {
		d.rest = d.rest[n:]
		return
	}
	switch {
	case errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF):
		d.fail(ErrTruncated)
	case d.typ == protowire.StartGroupType || d.typ == protowire.EndGroupType:
		d.fail(ErrGroup)
	default:
		d.fail(ErrTag)
	}
}

func (d *decoder) fail(err error) bool {
	d.err = err
	return false
}

// bytes is the value of a field of type bytes.
func (d *decoder) bytes() []byte {
	if d.typ != protowire.BytesType {
		d.fail(ErrWireType)
		return nil
	}
	return d.val
}

// text is the value of a field of type string.
func (d *decoder) text() []byte {
	v := d.bytes()
	if !utf8.Valid(v) {
		d.fail(ErrUTF8)
		return nil
	}
	return v
}

// uint is the value of an integer field, to be cut to its size as protobuf does.
func (d *decoder) uint() uint64 {
	if d.typ != protowire.VarintType {
		d.fail(ErrWireType)
		return 0
	}
	return d.num
}

func (d *decoder) end() error {
	if d.err == nil {
		return nil
	}
	return &DecodeError{Message: d.within, Field: int(d.field), Err: d.err}
}

// maxKept is how many entries of a repeated field a message keeps room for. A
// frame of DefaultFrameLimit full of uniqIds has 104,857.
const maxKept = 128 << 10

// reuse empties the slice of a repeated field.
func reuse[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	return s[:0]
}

// Text is how a list of strings may be held.
type Text interface{ ~string | ~[]byte }

// The append functions leave out what is zero, as proto3 does, except in lists.

func appendTag(dst []byte, field protowire.Number, typ protowire.Type) []byte {
	if field < 16 { // nearly always
		return append(dst, byte(field<<3)|byte(typ))
	}
	return protowire.AppendTag(dst, field, typ)
}

func appendDelimited(dst []byte, field protowire.Number, v []byte) []byte {
	if field < 16 && len(v) < 0x80 { // nearly always
		return append(append(dst, byte(field<<3)|byte(protowire.BytesType), byte(len(v))), v...)
	}
	return protowire.AppendBytes(appendTag(dst, field, protowire.BytesType), v)
}

func appendBytes(dst []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendDelimited(dst, field, v)
}

func appendText(dst []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendItem(dst, field, v)
}

func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(appendTag(dst, field, protowire.VarintType), v)
}

func appendBool(dst []byte, field protowire.Number, v bool) []byte {
	if !v {
		return dst
	}
	return append(appendTag(dst, field, protowire.VarintType), 1)
}

// appendItem writes a string that may be empty: an element of a list, a key.
func appendItem(dst []byte, field protowire.Number, v []byte) []byte {
	if utf8.Valid(v) {
		return appendDelimited(dst, field, v)
	}
	return appendDelimited(dst, field, bytes.ToValidUTF8(v, []byte("\uFFFD")))
}

func appendTexts[T Text](dst []byte, field protowire.Number, list []T) []byte {
	for _, v := range list {
		dst = appendItem(dst, field, []byte(v))
	}
	return dst
}

func appendList(dst []byte, field protowire.Number, list [][]byte) []byte {
	for _, v := range list {
		dst = appendDelimited(dst, field, v)
	}
	return dst
}
