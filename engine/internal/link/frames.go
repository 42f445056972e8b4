package link

import "github.com/sluicenet/sluice/codec/netsvr"

// A frameReader cuts what a worker sends into frames. Read into what space returns, say with filled
// how much came, and call next until it has no more.
type frameReader struct {
	limit int // bytes of a body
	buf   []byte
	start int // of what next has not returned yet
}

const (
	readBuffer = 64 << 10
	// keepBuffer is how big a read buffer may stay after a big frame, in bytes.
	keepBuffer = 256 << 10
)

func newFrameReader(limit int) frameReader {
	return frameReader{limit: limit, buf: make([]byte, 0, readBuffer)}
}

// next returns the body of the next frame, nil if it has not arrived whole. The body is valid until
// space is called.
func (r *frameReader) next() (body []byte, err error) {
	body, n, err := netsvr.ParseFrame(r.buf[r.start:], r.limit)
	r.start += n
	return body, err
}

// space returns where the next bytes go. It grows for a frame as that arrives, not as it is
// announced: up to the frame's length, which the limit bounds.
func (r *frameReader) space() []byte {
	rest := r.buf[r.start:]
	switch {
	case len(rest) == 0:
		if r.buf = r.buf[:0]; cap(r.buf) > keepBuffer {
			r.buf = make([]byte, 0, readBuffer)
		}
		r.start = 0
	case r.start > 0 && cap(r.buf)-len(r.buf) < readBuffer/2:
		r.buf = r.buf[:copy(r.buf[:cap(r.buf)], rest)]
		r.start = 0
	}
	want, _ := netsvr.FrameSize(r.buf[r.start:], r.limit)
	if cap(r.buf)-r.start < want || len(r.buf) == cap(r.buf) {
		rest := r.buf[r.start:]
		grown := make([]byte, len(rest), min(max(want, readBuffer), 2*len(rest)+readBuffer))
		copy(grown, rest)
		r.buf, r.start = grown, 0
	}
	return r.buf[len(r.buf):cap(r.buf)]
}

// filled says that n bytes of the space are filled.
func (r *frameReader) filled(n int) { r.buf = r.buf[:len(r.buf)+n] }

// size returns what the buffer takes, in bytes.
func (r *frameReader) size() int { return cap(r.buf) }
