package engine

// AtStepEnd has f called once, when the loop has handled what it was called for: bytes of a connection,
// or a turn's messages. It is for what costs less for many packets at once than for each. No connection
// ends before that. f must not panic.
func (l *Loop) AtStepEnd(f func()) { l.atStepEnd = append(l.atStepEnd, f) }

// runStepEnd calls what AtStepEnd was given.
func (l *Loop) runStepEnd() {
	for i := 0; i < len(l.atStepEnd); i++ {
		l.atStepEnd[i]()
	}
	l.atStepEnd = l.atStepEnd[:0]
}
