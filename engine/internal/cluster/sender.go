package cluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// The sender is the goroutine that publishes on the data connection and changes its subscriptions, since
// that may block for a second. It has two queues: what other nodes are told or answered (jobs) goes
// before messages.

const (
	// maxJoined is how long the records of a frame that others join may be, in bytes.
	maxJoined = 64 << 10
	// maxJoining is from when on a run is a frame of its own: the bigger ones are cheap enough.
	maxJoining = 16 << 10
)

type sender struct {
	t     *topics
	limit int64 // bytes above which publishers wait
	pace  uint64

	mu   sync.Mutex
	jobs []job
	told int64 // bytes of jobs
	data []*packet
	head int // of data
	// How many packets have been queued and taken off since the start, and how many all others have
	// passed on, as far as somebody has waited for it; and who does.
	queuedEver, poppedEver, passedOn uint64
	passings                         []passing
	ended                            bool

	wakes chan struct{}
	done  chan struct{}

	queued    atomic.Int64 // bytes, written with mu held
	congested atomic.Bool

	// Of the goroutine.
	number, series uint64
	announce       []*ownTopic // for the next barrier
	first          bool        // the next barrier is a connection's first one
	barrierAt      time.Time   // when a barrier was sent to all
	sent, marked   uint64      // bytes; at the last barrier for the pace
	bypassed       idSet       // nodes that are sent no messages
	unpaced        idSet       // those, and others that set no pace
	scratch        []byte
}

func (s *sender) wake() {
	select {
	case s.wakes <- struct{}{}:
	default:
	}
}

// post queues a job. What others cause is bounded, and refused beyond: they ask again.
func (s *sender) post(j job) {
	n := j.size()
	s.mu.Lock()
	if n > 0 && s.told+n > s.limit {
		s.mu.Unlock()
		s.t.counts.refusedAnswers.Add(1)
		return
	}
	s.told += n
	s.jobs = append(s.jobs, j)
	s.mu.Unlock()
	if n > 0 {
		s.t.charge(n)
	}
	s.wake()
}

// put queues messages of a topic. It reports false when there is no room. e is nil for one of too many
// topics.
func (s *sender) put(e *target, name, records []byte, n int) bool {
	size := runHead(len(name)) + len(records)
	s.mu.Lock()
	if e != nil && e.dead.Load() {
		s.mu.Unlock()
		return s.put(s.t.interest.get(name), name, records, n)
	}
	if s.queued.Load()+int64(size) > 2*s.limit {
		s.mu.Unlock()
		return false
	}
	if last := len(s.data) - 1; last >= s.head && e != nil && len(records) <= maxJoining {
		p := s.data[last]
		if p.target == e && p.records+len(records) <= maxJoined && p.class >= 0 {
			s.join(p, records, n)
			s.mu.Unlock()
			return true
		}
	}
	p := newPacket(size)
	p.target, p.count, p.records = e, uint32(n), len(records)
	if e == nil {
		p.name = string(name)
	}
	p.frame = append(appendRunHead(p.frame, s.t.self, name), records...)
	if s.head > 64 && 2*s.head >= len(s.data) {
		k := copy(s.data, s.data[s.head:])
		clear(s.data[k:])
		s.data, s.head = s.data[:k], 0
	}
	s.data = append(s.data, p)
	s.queuedEver++
	s.account(int64(cap(p.frame)))
	empty := len(s.data)-s.head == 1
	s.mu.Unlock()
	if empty {
		s.wake()
	}
	return true
}

// join appends records to a packet that waits. mu is held.
func (s *sender) join(p *packet, records []byte, n int) {
	if len(p.frame)+len(records) > cap(p.frame) {
		s.account(p.grow(len(p.frame) + len(records)))
	}
	p.frame = append(p.frame, records...)
	p.records += len(records)
	p.count += uint32(n)
}

// account counts bytes of the queue. mu is held.
func (s *sender) account(n int64) {
	s.t.charge(n)
	s.congested.Store(s.queued.Add(n) > s.limit)
}

// pop returns the next packet, nil if there is none.
func (s *sender) pop() *packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == len(s.data) {
		return nil
	}
	p := s.data[s.head]
	s.data[s.head] = nil
	s.poppedEver++
	if s.head++; s.head == len(s.data) {
		s.data, s.head = s.data[:0], 0
		if cap(s.data) > 1024 {
			s.data = nil
		}
	}
	s.account(-int64(cap(p.frame)))
	return p
}

// takeJobs returns the jobs that wait.
func (s *sender) takeJobs() []job {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := s.jobs
	s.jobs = nil
	if s.told > 0 {
		s.t.charge(-s.told)
		s.told = 0
	}
	return jobs
}

// run is the goroutine. It ends when stop is closed, and what is queued for a connection that is there
// has been sent, or has not within a second.
func (s *sender) run(stop <-chan struct{}) {
	defer close(s.done)
	timer := time.NewTimer(never)
	defer timer.Stop()
	var deadline time.Time
	for {
		select {
		case <-stop:
			if deadline.IsZero() {
				deadline = time.Now().Add(time.Second)
			}
		default:
		}
		again := s.turn(deadline)
		if !deadline.IsZero() {
			if s.queued.Load() == 0 || !s.t.connected.Load() || !time.Now().Before(deadline) {
				s.drop()
				s.end()
				return
			}
			again = min(again, 5*time.Millisecond)
		}
		stopping := stop
		if !deadline.IsZero() {
			stopping = nil
		}
		timer.Reset(again)
		select {
		case <-s.wakes:
		case <-timer.C:
		case <-stopping:
		}
	}
}

// drop counts and frees what is queued.
func (s *sender) drop() {
	s.takeJobs()
	for p := s.pop(); p != nil; p = s.pop() {
		s.t.counts.refused.Add(uint64(p.count))
		p.free()
	}
	s.t.later(tells(s.takePassings(), false))
}

// turn sends what may be sent, and returns when it wants to be called again.
func (s *sender) turn(deadline time.Time) time.Duration {
	for {
		s.work(s.takeJobs())
		again := s.sendBarriers()
		s.ask()
		if !s.t.connected.Load() {
			s.drop()
			return again
		}
		s.pass()
		if s.mayHold() {
			return again
		}
		p := s.pop()
		if p == nil {
			return again
		}
		s.send(p)
		p.free()
		if !deadline.IsZero() && time.Now().After(deadline) {
			return again
		}
	}
}

// mayHold reports whether messages must not be sent yet: before others know that this node is there
// they ignore them, and what is under way is bounded.
func (s *sender) mayHold() bool {
	b := &s.t.barriers
	if s.first || b.has(forEverybody) > 0 {
		return fault != 7
	}
	return s.sent-b.pace(s.marked) > s.share()
}

func (s *sender) publish(subject string, frame []byte) bool {
	return s.publishSealed(subject, seal(frame))
}

func (s *sender) publishSealed(subject string, frame []byte) bool {
	err := s.t.bus.Publish(subject, frame)
	if err != nil {
		s.t.counts.errors.Add(1)
		s.t.log.Warn("what is for other nodes could not be sent", "err", err)
		return false
	}
	s.t.counts.framesOut.Add(1)
	s.t.counts.bytesOut.Add(uint64(len(frame)))
	return true
}

// send sends messages.
func (s *sender) send(p *packet) {
	e := p.target
	var series, first, offset uint64
	subject, name, ask := "", len(p.name), false
	if e == nil {
		s.series++
		series, first, subject = s.series, 1, s.t.subs.topic(p.name)
	} else {
		if e.series == 0 {
			s.series++
			e.series = s.series
		}
		name, subject = len(e.name), e.subject
		series, first, offset = e.series, e.sent+1, e.offset
		e.sent += uint64(p.count)
		e.offset += uint64(p.records)
		var woke bool
		if ask, woke = s.t.credits.sent(e, e.offset, s.wants); woke {
			s.t.wake()
		}
	}
	putRun(p.frame, name, ask, series, first, offset, p.count)
	s.carry(p, subject)
	s.sent += uint64(len(p.frame))
	if s.sent-s.marked >= s.share()/4 {
		s.look()
		s.number++
		b := &barrier{number: s.number, use: forPace, from: s.marked}
		s.marked = s.sent
		s.raise(b, nil)
	}
}

// raise sends a barrier, to all or to one node.
func (s *sender) raise(b *barrier, to *uint8) {
	if !s.t.barriers.add(b, to) {
		of := b.use == forTopics || b.use == forEverybody
		if of && (b.partial || len(b.topics) > 0 && s.t.history.follows()) && fault != 18 {
			// Who is not waited for sends everything as soon as the server knows the subscriptions, and so does
			// the stream of histories.
			_ = s.t.bus.Flush() // an error means that the connection is lost
		}
		s.t.passed(b)
		return
	}
	subject := s.t.subs.nodes()
	if to != nil {
		subject = s.t.subs.node(*to)
	}
	s.announceTo(b, b.number, subject)
	s.t.wake()
}

// announceTo sends a barrier that is registered.
func (s *sender) announceTo(b *barrier, number uint64, subject string) {
	names := make([]string, len(b.topics))
	for i, t := range b.topics {
		names[i] = t.name
	}
	s.scratch = appendStatement(s.scratch[:0], KindBarrier, s.t.self, number, names)
	s.publish(subject, s.scratch)
}

// sendBarriers sends the topics that wait for a barrier, if it is time, and returns when it will be.
func (s *sender) sendBarriers() time.Duration {
	if len(s.announce) == 0 && !s.first || !s.t.connected.Load() || s.t.barriers.has(forTopics) > 0 {
		return never
	}
	if wait := barrierPause - time.Since(s.barrierAt); wait > 0 && !s.first {
		return wait
	}
	s.barrierAt = time.Now()
	use := forTopics
	if s.first {
		use = forEverybody
	}
	s.first = false
	topics := s.announce
	s.announce = nil
	s.tell(topics, use, nil)
	return never
}

// tell sends topics in as many barriers as it takes, at least one.
func (s *sender) tell(topics []*ownTopic, use barrierUse, to *uint8) {
	for begun := false; !begun || len(topics) > 0; begun = true {
		b := &barrier{use: use}
		size := 0
		for len(topics) > 0 && (size == 0 || size+len(topics[0].name)+2 <= maxStatement) {
			if t := topics[0]; !t.gone.Load() {
				b.topics = append(b.topics, t)
				size += len(t.name) + 2
			}
			topics = topics[1:]
		}
		s.number++
		b.number = s.number
		s.raise(b, to)
	}
}

// ask asks who wants topics.
func (s *sender) ask() {
	questions := s.t.interest.takeQuestions()
	if !s.t.connected.Load() {
		return // they are asked again
	}
	eachChunk(questions, func(names []string) {
		s.scratch = appendWhether(s.scratch[:0], s.t.self, names)
		s.publish(s.t.subs.nodes(), s.scratch)
	})
}

// work does jobs, in their order.
func (s *sender) work(jobs []job) {
	connected := s.t.connected.Load()
	for i := 0; i < len(jobs); i++ {
		j := &jobs[i]
		switch j.kind {
		case jobSubscribe:
			s.subscribe(j.topic.subject)
			if connected {
				s.announce = append(s.announce, j.topic)
			}
			continue
		case jobLetGo:
			k := i + 1
			for k < len(jobs) && jobs[k].kind == jobLetGo {
				k++
			}
			s.letGo(jobs[i:k])
			i = k - 1
			continue
		case jobConnected:
			s.rejoin()
			continue
		}
		if !connected {
			continue
		}
		switch j.kind {
		case jobAnswer:
			s.reached(j.to.id)
			s.scratch = appendBarrierAnswer(s.scratch[:0], s.t.self, j.to.incarnation, j.number)
			s.publish(s.t.subs.node(j.to.id), s.scratch)
		case jobCredit:
			k := &j.ack
			s.scratch = appendCredit(s.scratch[:0], s.t.self, k.to.incarnation, k.series, k.offset, k.name)
			s.publish(s.t.subs.node(k.to.id), s.scratch)
		case jobInterest:
			s.number++
			some, none := s.t.ours.has(j.names)
			s.scratch = appendInterest(s.scratch[:0], s.t.self, j.to.incarnation, s.number, some, none)
			s.publish(s.t.subs.node(j.to.id), s.scratch)
		case jobWarn:
			s.warn(j.ids)
		case jobProbe:
			for _, id := range j.ids {
				s.t.barriers.toldAgain(id, s.exclude(id, true))
				s.number++
				s.scratch = appendStatement(s.scratch[:0], KindBarrier, s.t.self, s.number, nil)
				s.publish(s.t.subs.node(id), s.scratch)
			}
		case jobReadmit:
			s.exclude(j.to.id, false)
			s.look()
		case jobAgain:
			if s.number++; s.t.barriers.renew(j.barrier, s.number) {
				s.announceTo(j.barrier, s.number, s.t.subs.nodes())
			}
		case jobTellAll:
			s.tell(s.t.ours.all(), forOne, &j.to.id)
		}
	}
}

func (s *sender) subscribe(subject string) {
	if err := s.t.bus.Subscribe(subject); err != nil {
		s.t.counts.errors.Add(1)
		s.t.log.Warn("other nodes' messages could not be subscribed to", "err", err)
	}
}

// rejoin makes all subscriptions, as far as the Bus does not have them, and has all topics announced.
func (s *sender) rejoin() {
	s.subscribe(s.t.subs.nodes())
	s.subscribe(s.t.subs.node(s.t.self.id))
	s.announce = s.t.ours.all()
	for _, t := range s.announce {
		s.subscribe(t.subject)
	}
	s.first = true
	s.marked = s.sent
	s.look() // nobody is slow yet
}

// letGo says that there are no subscribers to some topics any more.
func (s *sender) letGo(jobs []job) {
	names := make([]string, len(jobs))
	for i := range jobs {
		names[i] = jobs[i].topic.name
	}
	if s.t.connected.Load() {
		eachChunk(names, func(names []string) {
			s.number++
			s.scratch = appendStatement(s.scratch[:0], KindLetGo, s.t.self, s.number, names)
			s.publish(s.t.subs.nodes(), s.scratch)
		})
	}
	for i := range jobs {
		if err := s.t.bus.Unsubscribe(jobs[i].topic.subject); err != nil {
			s.t.counts.errors.Add(1)
		}
	}
}
