package engine

import "time"

// A client that sends more than can be handled at once lets others go first now and then: when a
// slice of its input is handled and that, with those before, has taken longer than inputTime. What
// costs little is handled to its end, for a turn costs some microseconds.
const (
	inputSlice = 16 << 10
	inputTime  = time.Millisecond
)

// inputSlices say when a long input is to be left for another turn. They are made anew for each.
type inputSlices struct {
	loop  *Loop
	begun int64 // ns; 0: the input is short
}

// window is how much of avail bytes the handler is shown, which wants to see least.
func (s *inputSlices) window(avail, least int) int {
	if avail > inputSlice && s.begun == 0 {
		s.begun = s.loop.engine.system.now()
	}
	return min(avail, max(least, inputSlice))
}

// next is called when c's handler has taken n bytes and left more are there. It has c yield if others
// should have their turn, with its reading paused: more would arrive meanwhile than is handled. So who
// has taken nothing goes on, for it may wait for what has not arrived. To a half-closed one, whose socket
// is nil, nothing comes.
func (s *inputSlices) next(c *Conn, n, left int) {
	if s.begun == 0 || n == 0 || left == 0 || left < int(c.need) || !c.Open() {
		return
	}
	took := s.loop.engine.system.now() - s.begun
	if took >= int64(inputTime) && (c.sock == nil || s.loop.pause(c)) {
		c.Yield()
	}
}
