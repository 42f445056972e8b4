package netsvr

import (
	"encoding/binary"
	"math"
)

const (
	// DefaultFrameLimit is ReceivePackLimit of a netsvr gateway, in bytes of a body.
	DefaultFrameLimit = 2 << 20

	// MaxFrameLen is the longest body a frame can announce to every worker: many
	// read the length as a signed number.
	MaxFrameLen = math.MaxInt32

	lengthLen  = 4
	commandLen = 4
)

// FrameSize reads the length of the frame at the front of src and returns the
// bytes it takes in all, length included; 0 if src is shorter than a length. A
// limit of zero or less means DefaultFrameLimit; a body of exactly limit bytes
// is good. The errors are ErrFrameTooLarge and ErrNoCommand, for less than a
// command.
func FrameSize(src []byte, limit int) (int, error) {
	if len(src) < lengthLen {
		return 0, nil
	}
	if limit <= 0 {
		limit = DefaultFrameLimit
	}
	n := binary.BigEndian.Uint32(src)
	if uint64(n) > uint64(min(limit, MaxFrameLen)) {
		return 0, ErrFrameTooLarge
	}
	if n < commandLen {
		return 0, ErrNoCommand
	}
	return lengthLen + int(n), nil
}

// ParseFrame reads one frame from the front of src and reports the n bytes it
// used. n == 0 with a nil error means src ends inside a frame: call again with
// more. Limit and errors are those of FrameSize, and known as soon as the length
// is there. The body, at least 4 bytes, points into src.
func ParseFrame(src []byte, limit int) (body []byte, n int, err error) {
	n, err = FrameSize(src, limit)
	if err != nil || n == 0 || n > len(src) {
		return nil, 0, err
	}
	return src[lengthLen:n:n], n, nil
}

// BeginFrame starts a frame after dst. Append the message next, then call
// EndFrame with the length that dst had before.
func (d Dialect) BeginFrame(dst []byte, c Command) []byte {
	dst = append(dst, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(dst, d.number(c))
}

// EndFrame writes the length of the frame that begins at dst[start]. A body of
// more than limit bytes (zero or less: MaxFrameLen) is ErrFrameTooLarge, and dst
// comes back as it was before BeginFrame. The frames of a worker are limited by
// its gateway, DefaultFrameLimit if nothing else is known; a gateway's frames by
// no rule of the protocol.
func EndFrame(dst []byte, start, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = MaxFrameLen
	}
	n := len(dst) - start - lengthLen
	if n > min(limit, MaxFrameLen) {
		return dst[:start], ErrFrameTooLarge
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(n))
	return dst, nil
}

// AppendFrame writes a whole frame after dst, around a message already encoded.
// The limit is that of EndFrame.
func (d Dialect) AppendFrame(dst []byte, c Command, payload []byte, limit int) ([]byte, error) {
	start := len(dst)
	dst = d.BeginFrame(dst, c)
	return EndFrame(append(dst, payload...), start, limit)
}

// AppendPing writes the worker's heartbeat as a frame after dst.
func (d Dialect) AppendPing(dst []byte) []byte { return appendHeartbeat(dst, d.Ping()) }

// AppendPong writes the gateway's answer to a heartbeat as a frame after dst.
func (d Dialect) AppendPong(dst []byte) []byte { return appendHeartbeat(dst, d.Pong()) }

func appendHeartbeat(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}
