package websocket

import (
	"unicode/utf8"

	"github.com/sluicenet/sluice/codec/internal/blocks"
)

// A ReaderConfig says what Readers accept. Many of them share one; it must not change meanwhile.
// The zero value is a server's.
type ReaderConfig struct {
	// Client makes Readers take a server's frames, which are not masked.
	Client bool

	// MaxMessage is the longest message in bytes: of a frame as its header announces it, of
	// fragments together, and of a compressed message once inflated too. Zero or less means 16 MiB.
	MaxMessage int

	// MaxFragmented is the longest message in bytes that may come in fragments: what has come of one
	// is kept until the rest is there. Zero, less, or more than MaxMessage means MaxMessage.
	MaxFragmented int

	// SkipLimit, if above MaxMessage, is the length in bytes up to which a message longer than
	// MaxMessage is reported as EventTooLarge and skipped. Beyond it, or if it is zero, such a
	// message is ErrTooBig.
	SkipLimit int64

	// MaxFragments is how many frames a message may have, besides one for every 32 bytes of it:
	// frames of a few bytes, or none, cost as much as whole messages. Zero or less means 256.
	MaxFragments int

	// AnyText takes text messages that are not UTF-8, which RFC 6455 8.1 forbids: for protocols
	// whose clients send bytes in text frames.
	AnyText bool
}

const (
	defaultMaxMessage   = 16 << 20
	defaultMaxFragments = 256
	bytesPerFragment    = 32
)

var defaultConfig ReaderConfig

func (c *ReaderConfig) maxMessage() int {
	if c.MaxMessage <= 0 {
		return defaultMaxMessage
	}
	return c.MaxMessage
}

// maxFragmented is maxMessage for a message of more than one frame.
func (c *ReaderConfig) maxFragmented() int {
	limit := c.maxMessage()
	if c.MaxFragmented > 0 {
		limit = min(limit, c.MaxFragmented)
	}
	return limit
}

func (c *ReaderConfig) maxFragments() int {
	if c.MaxFragments <= 0 {
		return defaultMaxFragments
	}
	return c.MaxFragments
}

// An EventKind says what Reader.Next met.
type EventKind uint8

// The kinds of Event, with the fields they set.
const (
	EventNeedMore EventKind = iota // Need
	EventMessage                   // Opcode, Payload
	EventPing                      // Payload, to be repeated in a pong
	EventPong                      // Payload
	EventClose                     // Code, Payload: the reason. Nothing but EventNeedMore comes after it
	EventTooLarge                  // Opcode, Size: a message that is not delivered
)

// An Event is what Reader.Next met.
type Event struct {
	Kind   EventKind
	Opcode Opcode    // of the message: OpText or OpBinary
	Code   CloseCode // CloseNoStatus if the frame held none

	// Need is how many unconsumed bytes there must be before Next can get further. Less does
	// no harm; it is a wasted call.
	Need int

	// Compressed is how many bytes the message had before it was inflated, as far as that was done; 0
	// if it was not compressed.
	Compressed int
	// InflateCost is what it took to inflate the message, 0 if it was not compressed: the bytes that
	// came out, for EventTooLarge the limit, and 64 for each byte by which it was longer before.
	InflateCost int

	// Payload is valid until the bytes given to Next change or the Scratch is used again. Close
	// reasons are valid UTF-8, and so is text without ReaderConfig.AnyText.
	Payload []byte

	// Size is how many bytes on the wire a message is known to have, which may still be growing.
	Size int64
}

// A Reader makes messages and control events of one connection's bytes, in either role. While no
// fragmented message is under way it is 32 bytes and refers to nothing but its configuration. The
// zero value is a server's Reader with default limits and no compression.
type Reader struct {
	config    *ReaderConfig
	fragments *fragments // the message under way, if it has more than one frame
	skip      int64      // payload bytes still to come of a frame that is skipped
	deflate   bool
	ended     bool
}

// fragments is the beginning of a message whose last frame has not come.
type fragments struct {
	buf        []byte // uncompressed text is UTF-8 up to valid
	valid      int
	size       int64 // of the frames so far, skipped ones included
	frames     int
	opcode     Opcode
	compressed bool
	skipped    bool // too large: the rest is not wanted
}

// NewReader makes a Reader; deflate says that permessage-deflate was agreed on. A nil config
// means the defaults.
func NewReader(config *ReaderConfig, deflate bool) Reader {
	return Reader{config: config, deflate: deflate}
}

// SetConfig changes the limits, for instance after a login. They hold from the next frame header
// on. The role must stay the same.
func (r *Reader) SetConfig(config *ReaderConfig) { r.config = config }

// Deflates reports whether permessage-deflate was agreed on.
func (r *Reader) Deflates() bool { return r.deflate }

// Buffered is the memory in bytes that an unfinished message holds: 0 nearly always.
func (r *Reader) Buffered() int {
	if r.fragments == nil {
		return 0
	}
	return cap(r.fragments.buf)
}

// Unfinished is how much has come of a message that has some of its frames and not the last: their
// payload in bytes, and 1 for each. It is 0 while there is no such message, grows with what Next
// consumes, and is not changed by control frames.
func (r *Reader) Unfinished() int {
	f := r.fragments
	if f == nil {
		return 0
	}
	return int(f.size-r.skip) + f.frames
}

// Drop lets go of an unfinished message. It is for a connection that has ended: afterwards Next
// consumes and ignores all it is given.
func (r *Reader) Drop() { r.ended, r.fragments, r.skip = true, nil, 0 }

// Next reads on to the next event in src, which begins where the last call stopped consuming, and
// reports the n bytes used up. n may be above 0 with EventNeedMore too: fragments and skipped bytes
// are taken as they come. Those n bytes may have been unmasked in place and must not be fed again;
// behind them nothing was changed.
//
// Compressed messages are inflated into s, which may be nil: then they are allocated.
//
// An error is an *Error and final: afterwards, as after EventClose, Next consumes and ignores all
// it is given, so a loop may go on feeding until the socket is closed.
func (r *Reader) Next(src []byte, s *Scratch) (ev Event, n int, err error) {
	for {
		if r.ended {
			return Event{Need: 1}, len(src), nil
		}
		if r.skip > 0 {
			n += r.discard(len(src) - n)
			if r.skip > 0 {
				return Event{Need: 1}, n, nil
			}
		}
		rest := src[n:]
		h, size, err := ParseHeader(rest)
		if err != nil {
			return r.fail(n, err)
		}
		if size == 0 {
			return Event{Need: headerSize(rest)}, n, nil
		}
		verdict, err := r.judge(h)
		if err != nil {
			return r.fail(n, err)
		}
		if verdict != wanted {
			n += size
			ev = r.startSkip(h)
			n += r.discard(len(src) - n)
			if verdict == tooLarge {
				return ev, n, nil
			}
			continue
		}

		end := size + int(h.Length) // judge has seen to it that this is a small number
		if len(rest) < end {
			return Event{Need: end}, n, nil
		}
		payload := rest[size:end:end]
		if h.Masked {
			Mask(payload, h.Mask, 0)
		}
		n += end
		if err := r.take(&ev, h, payload, s); err != nil {
			return r.fail(n, err)
		}
		if ev.Kind != EventNeedMore {
			return ev, n, nil
		}
	}
}

func (r *Reader) fail(n int, err error) (Event, int, error) {
	r.ended, r.fragments = true, nil
	return Event{}, n, err
}

func (r *Reader) limits() *ReaderConfig {
	if r.config == nil {
		return &defaultConfig
	}
	return r.config
}

// A verdict is what is to be done with a frame, as far as its header tells.
type verdict uint8

const (
	wanted   verdict = iota
	tooLarge         // the first frame with which its message is known to be too large
	unwanted         // belongs to a message that was too large before
)

// judge checks a header against the connection's state and limits. It changes nothing, since it is
// called again when the rest of the frame has come.
func (r *Reader) judge(h FrameHeader) (verdict, error) {
	config, f := r.limits(), r.fragments
	if h.Masked == config.Client {
		if h.Masked {
			return 0, ErrMasked
		}
		return 0, ErrNotMasked
	}
	if h.RSV1 && (!r.deflate || h.Opcode.IsControl() || h.Opcode == OpContinuation) {
		return 0, ErrReservedBits
	}
	if h.Opcode.IsControl() {
		return wanted, nil
	}
	if f == nil {
		if h.Opcode == OpContinuation {
			return 0, ErrContinuation
		}
		if !h.Fin {
			return config.judgeSize(0, h.Length, config.maxFragmented())
		}
		return config.judgeSize(0, h.Length, config.maxMessage())
	}
	if h.Opcode != OpContinuation {
		return 0, ErrInterleaved
	}
	v, err := config.judgeSize(f.size, h.Length, config.maxFragmented())
	if err != nil {
		return 0, err
	}
	if int64(f.frames) >= int64(config.maxFragments())+(f.size+h.Length)/bytesPerFragment {
		return 0, ErrManyFragments
	}
	if f.skipped {
		v = unwanted
	}
	return v, nil
}

// judgeSize judges a frame of length bytes behind frames of size bytes, of a message that may have
// limit bytes. What it does not refuse makes a sum that does not overflow.
func (c *ReaderConfig) judgeSize(size, length int64, limit int) (verdict, error) {
	switch {
	case length <= int64(limit)-size:
		return wanted, nil
	case length <= c.SkipLimit-size:
		return tooLarge, nil
	}
	return 0, ErrTooBig
}

// startSkip begins to skip the frame of header h, and with it the rest of its message.
func (r *Reader) startSkip(h FrameHeader) Event {
	f := r.fragments
	if f == nil {
		f = &fragments{opcode: h.Opcode}
	}
	f.buf, f.skipped = nil, true
	f.size += h.Length
	f.frames++
	r.skip, r.fragments = h.Length, f
	if h.Fin {
		r.fragments = nil
	}
	return Event{Kind: EventTooLarge, Opcode: f.opcode, Size: f.size}
}

// discard takes up to n bytes off what is to be skipped and reports how many.
func (r *Reader) discard(n int) int {
	skipped := min(r.skip, int64(n))
	r.skip -= skipped
	return int(skipped)
}

// take handles a whole frame. It leaves ev alone if there is nothing to report.
func (r *Reader) take(ev *Event, h FrameHeader, payload []byte, s *Scratch) error {
	f := r.fragments
	switch {
	case h.Opcode.IsControl():
		return r.control(ev, h.Opcode, payload)
	case f == nil && h.Fin: // nearly always
		return r.finish(ev, h.Opcode, h.RSV1, payload, 0, s)
	case f == nil:
		f = &fragments{opcode: h.Opcode, compressed: h.RSV1}
		r.fragments = f
	}
	if err := f.add(payload, r.limits().AnyText); err != nil || !h.Fin {
		return err
	}
	r.fragments = nil
	return r.finish(ev, f.opcode, f.compressed, f.buf, f.valid, s)
}

// control handles a control frame.
func (r *Reader) control(ev *Event, op Opcode, payload []byte) error {
	ev.Payload = payload
	switch op {
	case OpPing:
		ev.Kind = EventPing
	case OpPong:
		ev.Kind = EventPong
	case OpClose:
		code, reason, err := parseClose(payload, r.limits().Client)
		if err != nil {
			return err
		}
		ev.Kind, ev.Code, ev.Payload = EventClose, code, reason
		r.ended, r.fragments = true, nil
	}
	return nil
}

// add copies payload to the message and checks text as far as it is there, unless any will do: what
// is wrong with a text is known before its end.
func (f *fragments) add(payload []byte, any bool) error {
	f.buf = append(f.buf, payload...)
	f.size += int64(len(payload))
	f.frames++
	if f.opcode != OpText || f.compressed || any {
		return nil
	}
	n, ok := utf8Prefix(f.buf[f.valid:])
	if !ok {
		return ErrUTF8
	}
	f.valid += n
	return nil
}

// finish reports a whole message, whose first valid bytes are known to be UTF-8.
func (r *Reader) finish(ev *Event, op Opcode, compressed bool, payload []byte, valid int, s *Scratch) error {
	ev.Opcode = op
	if compressed {
		limit := r.limits().maxMessage()
		inflated, err := s.inflate(payload, limit)
		if err == ErrTooBig && r.limits().SkipLimit > int64(limit) {
			ev.Kind, ev.Size, ev.Compressed = EventTooLarge, int64(len(payload)), len(payload)
			ev.InflateCost = blocks.Cost(len(payload), limit)
			return nil
		}
		if err != nil {
			return err
		}
		ev.Compressed, ev.InflateCost = len(payload), blocks.Cost(len(payload), len(inflated))
		payload = inflated
	}
	if op == OpText && !r.limits().AnyText && !utf8.Valid(payload[valid:]) {
		return ErrUTF8
	}
	ev.Kind, ev.Payload = EventMessage, payload
	return nil
}
