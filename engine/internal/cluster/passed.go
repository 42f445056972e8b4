package cluster

// A change that a worker makes goes over the control connection, and what it has published before over
// the data connection. For the change not to come first it is waited for that the other nodes have passed
// the messages on to their loops: a barrier says so that is sent behind them.

// A passing is somebody who waits for that.
type passing struct {
	mark uint64           // how many packets had been queued
	f    func(whole bool) // told whether all have answered
}

// tells returns what tells all of list.
func tells(list []passing, whole bool) []func() {
	due := make([]func(), len(list))
	for i, p := range list {
		due[i] = func() { p.f(whole) }
	}
	return due
}

// Passed has f called once, on a goroutine of the node's, when the other nodes have passed on to their
// loops what was published here before. whole is false if some of them do not answer, or the connection
// is lost: then that is not known. It returns false if there is nothing to wait for, and f is not called.
// It does not block, and any goroutine may call it.
func (t *topics) Passed(f func(whole bool)) (later bool) {
	if len(t.nodes.all()) == 0 || !t.connected.Load() {
		return false
	}
	return t.sender.passing(f)
}

func (s *sender) passing(f func(bool)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queuedEver == s.passedOn || s.ended {
		return false
	}
	s.passings = append(s.passings, passing{s.queuedEver, f})
	s.wake()
	return true
}

// pass sends a barrier behind the messages that somebody waits for, if they have gone.
func (s *sender) pass() {
	s.mu.Lock()
	n := 0
	for n < len(s.passings) && (s.passings[n].mark <= s.poppedEver || fault == 11) {
		n++
	}
	if n == 0 || s.t.barriers.has(forPassed) > 0 { // the next one is for all that come meanwhile
		s.mu.Unlock()
		return
	}
	due := s.passings[:n:n]
	if s.passings = s.passings[n:]; len(s.passings) == 0 {
		s.passings = nil
	}
	s.mu.Unlock()
	s.number++
	s.raise(&barrier{number: s.number, use: forPassed, passings: due}, nil)
}

// passed notes that a barrier's messages have been passed on by all.
func (s *sender) passed(b *barrier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(b.passings) - 1; last >= 0 {
		s.passedOn = max(s.passedOn, b.passings[last].mark)
	}
}

// end has nobody wait any more.
func (s *sender) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.t.later(tells(s.takePassings(), false))
}

// takePassings returns those who wait for messages that have not gone.
func (s *sender) takePassings() []passing {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.passings
	s.passings = nil
	return list
}
