package engine

import (
	"iter"
)

// A simWorker is a publisher outside the loops: a coroutine that runs the engine's own code, whose
// sleeps give the turn back to the driver.
type simWorker struct {
	w      *simWorld
	source int
	mode   simMode
	pb     *Publisher
	next   func() (struct{}, bool)
	yield  func(struct{}) bool
	wakeAt int64 // us
	ended  bool
	period int64

	inbox  []simRequest
	topics []int
	calls  int // engine calls on its stack
	bytes  int // of the message in hand
	topic  int // of the publish in hand, -1: none
	direct int32
	cast   int32
	refs   []Ref
	buf    []byte

	// P3
	begun    int64 // us, when the wait in hand began
	silent   int64 // us waited in silence, beyond the time that shows that it is one
	started  int64
	waits    int
	slept    int64
	longest  int64 // us, wait
	messages int
}

type simMode uint8

const (
	simSteady simMode = iota
	simFlatOut
	simBurst  // stops, then answers all at once
	simEnding // ends, and another takes its place
	simModes
)

func (w *simWorld) startWorker(source int, mode simMode) *simWorker {
	k := &simWorker{w: w, source: source, mode: mode, topic: -1, started: w.clock}
	k.period = 1000 + int64(w.pick(w.opt.workerPeriod))
	for range 1 + w.pick(3) {
		k.topics = append(k.topics, w.pick(w.opt.topics))
	}
	return k
}

func (k *simWorker) start() {
	k.pb = k.w.engine.NewPublisher()
	k.ended = false
	k.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		k.yield = yield
		k.run()
	})
}

// step runs the worker until it sleeps.
func (k *simWorker) step() {
	k.w.running = k
	if _, ok := k.next(); !ok {
		k.ended = true
	}
	k.w.running = nil
}

// sleep gives the turn to the driver for us. Once the world has been given up it returns at once: a
// coroutine that is stopped must not be waited for.
func (k *simWorker) sleep(us int64) {
	w := k.w
	if w.aborting {
		w.elapse(us)
		return
	}
	silent := k.calls > 0 && w.checkWait(k)
	k.wakeAt = w.clock + us
	slept := w.fair()
	k.yield(struct{}{})
	if slept = w.fair() - slept; k.calls > 0 {
		k.waits++
		k.slept += slept
		k.longest = max(k.longest, w.clock-k.begun)
	}
	if silent {
		k.silent += slept
	}
}

func (k *simWorker) run() {
	w := k.w
	for n := 0; w.phase == simRunning || len(k.inbox) > 0; n++ {
		if w.aborting {
			return
		}
		if k.mode == simEnding && n > 0 && w.oneIn(60) {
			break
		}
		switch k.mode {
		case simBurst:
			if w.phase == simRunning && len(k.inbox) < 20 && !w.oneIn(200) {
				k.sleep(k.period)
				continue
			}
			k.answer(len(k.inbox))
		case simFlatOut:
			k.answer(4)
			for range 8 {
				k.publish()
			}
			if w.oneIn(3) {
				k.flush()
			}
			k.sleep(int64(1 + w.pick(100)))
			continue
		default:
			k.answer(2)
			k.something()
		}
		k.flush()
		k.sleep(k.period/2 + int64(w.pick(int(k.period))))
	}
	k.flush()
}

func (k *simWorker) flush() {
	k.pb.Flush()
}

// publish publishes a message to one of the worker's topics.
func (k *simWorker) publish() {
	w := k.w
	if w.phase != simRunning {
		return
	}
	k.publishTo(k.topics[w.pick(len(k.topics))], 1+w.pick(w.opt.size))
}

func (k *simWorker) publishTo(t, size int) {
	w := k.w
	seq := w.published[k.source][t] + 1
	k.buf = simPush(k.buf[:0], 'p', size, t, k.source, int(seq))
	k.topic = t
	k.enter(len(k.buf))
	err := k.pb.Publish(w.topics[t], Push{Payload: k.buf})
	k.leave()
	if err == nil {
		w.published[k.source][t] = seq
		k.messages++
	} else if err != ErrStopped {
		w.fail("a worker's publish: %v", err)
	}
	w.elapse(w.publishCost)
}

func (k *simWorker) enter(bytes int) {
	k.calls++
	k.bytes = bytes
	k.begun = k.w.clock
}

func (k *simWorker) leave() {
	k.calls--
	k.bytes, k.topic = 0, -1
}

// something does one of the things that a worker does.
func (k *simWorker) something() {
	w := k.w
	if w.phase != simRunning {
		return
	}
	switch w.pick(8) {
	case 0:
		k.direct++
		if ref := w.anyRef(); ref != 0 {
			k.buf = simPush(k.buf[:0], 'd', w.pick(w.opt.size), k.source, int(k.direct))
			k.enter(len(k.buf))
			k.check(k.pb.Send(ref, Push{Payload: k.buf}))
			k.leave()
		}
	case 1:
		k.direct++
		k.refs = k.refs[:0]
		for range w.pick(6) {
			if ref := w.anyRef(); ref != 0 && !k.named(ref) {
				k.refs = append(k.refs, ref)
			}
		}
		k.buf = simPush(k.buf[:0], 'd', w.pick(w.opt.size), k.source, int(k.direct))
		k.enter(len(k.buf))
		k.check(k.pb.Multicast(k.refs, Push{Payload: k.buf}))
		k.leave()
	case 2:
		k.cast++
		k.buf = simPush(k.buf[:0], 'b', w.pick(w.opt.size), k.source, int(k.cast))
		k.enter(len(k.buf))
		k.check(k.pb.Broadcast(Push{Payload: k.buf}))
		k.leave()
	default:
		for range 1 + w.pick(8) {
			k.publish()
		}
	}
}

func (k *simWorker) named(ref Ref) bool {
	for _, r := range k.refs {
		if r == ref {
			return true
		}
	}
	return false
}

func (k *simWorker) check(err error) {
	if err != nil && err != ErrStopped {
		k.w.fail("a worker's message: %v", err)
	}
}

// answer answers up to n requests.
func (k *simWorker) answer(n int) {
	w := k.w
	for ; n > 0 && len(k.inbox) > 0; n-- {
		r := k.inbox[0]
		k.inbox = k.inbox[:copy(k.inbox, k.inbox[1:])]
		k.enter(r.size)
		k.check(k.pb.Mail(r.ref, simMail{k}, uint32(r.n), 0, simDots[:r.size]))
		k.leave()
		w.elapse(w.publishCost)
	}
}
