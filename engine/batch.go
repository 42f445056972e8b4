package engine

// Loop returns the index of the connection's loop, from 0 to Engine.Loops - 1.
func (r Ref) Loop() int { return r.loop() }

// DoOn runs fn on a loop, behind what this Publisher sent there. bytes is how much fn holds: so
// much of the room in the loop's mailbox it takes. fn must not publish.
func (pb *Publisher) DoOn(loop, bytes int, fn func(*Loop)) error {
	pb.Flush()
	if loop < 0 || loop >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[loop]
	return pb.post(l, message{fn: fn, bytes: uint32(64 + bytes)})
}
