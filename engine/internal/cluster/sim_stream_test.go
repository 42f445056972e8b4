package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A simStore is a stream in a bubble of synctest: at a server of its own, to which nodes' requests take
// a while, and from which frames are sent on over the net's pipes. It remembers all that it has ever
// had. What is not said to be otherwise is of net.mu.
type simStore struct {
	asked  int // times for its state
	net    *simNet
	rng    *rand.Rand
	server *simBus

	there                    bool
	epoch                    uint64
	last                     uint64
	limits, want             StreamLimits // what it keeps, and what nodes want
	room                     int          // frames
	frames                   []Stored
	ids                      map[string]uint64
	stalled                  time.Time           // until then it has no leader
	ahead                    time.Duration       // by how much its server's clock is
	ever                     map[uint64][]Stored // by epoch
	lossy                    bool                // some answers are lost
	mute                     bool                // what is stored is not sent on
	kept                     int64               // how many frames of a subject it has kept,
	raised                   time.Time           // before it was told to keep more
	edits, mends, mendings   int
	wrong, low               []string // what else is said of it,
	refusal                  error    // and why that cannot be mended
	swallowed, refused, lost int
}

func newSimStore(net *simNet, rng *rand.Rand) *simStore {
	s := &simStore{net: net, rng: rng, server: net.bus(), want: simLimits, ever: make(map[uint64][]Stored)}
	s.server.connected = true
	return s
}

// now is what its server's clock says.
func (s *simStore) now() time.Time { return time.Now().Add(s.ahead) }

// expire takes away what is too old or too much.
func (s *simStore) expire() {
	now := s.now()
	gone := 0
	for gone < len(s.frames) && (len(s.frames)-gone > s.room || s.limits.Age > 0 && now.Sub(s.frames[gone].At) >= s.limits.Age) {
		gone++
	}
	s.frames = s.frames[gone:]
}

func (s *simStore) first() uint64 {
	if len(s.frames) == 0 {
		return s.last + 1
	}
	return s.frames[0].Seq
}

func (s *simStore) state() StreamState {
	s.expire()
	st := StreamState{Epoch: s.epoch, First: s.first(), Last: s.last, Limits: s.limits, Frames: uint64(len(s.frames)), Kept: s.limits.PerSubject}
	if n := len(s.frames); n > 0 {
		st.FirstAt, st.LastAt = s.frames[0].At, s.frames[n-1].At
		if !st.FirstAt.After(s.raised) && fault != 41 {
			st.Kept = lower(st.Kept, s.kept)
		}
	}
	st.Wrong, st.Low = s.wrong, s.low
	if s.mute {
		st.Wrong = []string{"republish is off"}
	}
	if less(s.limits.PerSubject, s.want.PerSubject) {
		st.Low = []string{"max-msgs-per-subject"}
	}
	return st
}

// store stores a frame and sends it on.
func (s *simStore) store(subject, id string, frame []byte) (uint64, bool) {
	if seq := s.ids[id]; seq > 0 {
		s.swallowed++
		return seq, true
	}
	s.expire()
	var prev uint64
	var of int64
	for i := range s.frames {
		if s.frames[i].Subject == subject {
			prev = s.frames[i].Seq
			of++
		}
	}
	s.last++
	k := Stored{subject, s.last, s.now(), slices.Clone(frame)}
	s.ids[id] = k.Seq
	s.frames = append(s.frames, k)
	s.ever[s.epoch] = append(s.ever[s.epoch], k)
	if of >= s.limits.PerSubject {
		s.drop(subject)
	}
	m := &nats.Msg{Subject: strings.Replace(subject, ".h.", ".t.", 1), Data: k.Frame, Header: nats.Header{
		headerStream: {"S"}, headerSeq: {fmt.Sprint(k.Seq)}, headerPrev: {fmt.Sprint(prev)},
		headerTime: {k.At.UTC().Format(time.RFC3339Nano)},
	}}
	for _, to := range s.net.buses {
		if to == s.server || s.mute || !s.server.known[to][m.Subject] {
			continue
		}
		p := s.net.pipe(s.server, to)
		if p.cut {
			continue
		}
		line := to.line
		time.AfterFunc(s.net.after(p), func() {
			s.net.mu.Lock()
			defer s.net.mu.Unlock()
			if to.line == line && !p.cut && to.subs[m.Subject] && !to.dead {
				to.messages <- m
			}
		})
	}
	return k.Seq, false
}

// drop takes the first frame of a subject away.
func (s *simStore) drop(subject string) {
	i := slices.IndexFunc(s.frames, func(k Stored) bool { return k.Subject == subject })
	s.frames = slices.Delete(s.frames, i, i+1)
}

// edit is what an administrator does who does not know better.
func (s *simStore) edit() {
	s.edits++
	if s.rng.IntN(3) == 0 {
		s.mute = true
		return
	}
	s.limits.PerSubject = min(s.limits.PerSubject, 1+s.rng.Int64N(10))
	of := make(map[string]int64)
	for i := range s.frames {
		of[s.frames[i].Subject]++
	}
	s.frames = slices.DeleteFunc(s.frames, func(k Stored) bool {
		of[k.Subject]--
		return of[k.Subject] >= s.limits.PerSubject
	})
}

// mend undoes that.
func (s *simStore) mend() bool {
	if !s.mute && s.limits == s.want && s.wrong == nil && s.low == nil {
		return false
	}
	s.wrong, s.low = nil, nil
	if s.mends++; s.limits != s.want {
		now := s.now()
		if s.kept == 0 || now.Sub(s.raised) >= s.limits.Age {
			s.kept = s.limits.PerSubject
		}
		s.kept, s.raised = lower(s.kept, s.limits.PerSubject), now
	}
	s.mute, s.limits = false, s.want
	return true
}

// make makes the stream.
func (s *simStore) make() {
	s.there, s.epoch, s.ids = true, uint64(s.now().UnixMicro()), make(map[string]uint64)
}

// lose has the stream be gone, with all that it has. One that is lost before it has had anything leaves
// no trace that could be seen.
func (s *simStore) lose() {
	if s.last < 20 || time.Since(time.UnixMicro(int64(s.epoch))) < 5*time.Second {
		return
	}
	s.there, s.frames, s.last, s.mute = false, nil, 0, false
	s.lost++
}

// simLimits are what nodes want of it, where a test says nothing else.
var simLimits = StreamLimits{PerSubject: 1001, Age: time.Minute}

// A simStream is a node's way to the store.
type simStream struct {
	store *simStore
	bus   *simBus
	acks  chan StreamAck
}

// ask has f be run at the store, and waits for the answer.
func (s *simStream) ask(ctx context.Context, f func()) error {
	n := s.store.net
	n.mu.Lock()
	line, ok := s.bus.line, s.bus.connected
	n.note(s.bus, "asks", "", nil)
	there, back := s.bus.asks.rng.Int64N(int64(n.slow)), s.bus.asks.rng.Int64N(int64(n.slow))
	n.mu.Unlock()
	if !ok {
		return errSimAway
	}
	wait := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	if err := wait(time.Duration(there)); err != nil {
		return err
	}
	for {
		n.mu.Lock()
		stalled, turn := time.Until(s.store.stalled), n.turn()
		if s.bus.line == line && stalled <= 0 {
			f()
			n.mu.Unlock()
			break
		}
		n.mu.Unlock()
		if err := wait(max(stalled, 10*time.Millisecond) + turn); err != nil {
			return err
		}
	}
	return wait(time.Duration(back))
}

func (s *simStream) Open(ctx context.Context, limits StreamLimits) (st StreamState, err error) {
	err = s.ask(ctx, func() {
		t := s.store
		if !t.there {
			t.make()
			t.limits = limits
		}
		st = t.state()
	})
	return st, err
}

func (s *simStream) Mend(ctx context.Context, _ StreamLimits) (changed bool, err error) {
	var refusal error
	err = s.ask(ctx, func() {
		t := s.store
		t.mendings++
		if refusal = t.refusal; t.there && refusal == nil {
			changed = t.mend()
		}
	})
	return changed, cmp.Or(err, refusal)
}

func (s *simStream) State(ctx context.Context) (st StreamState, err error) {
	gone := false
	err = s.ask(ctx, func() {
		st, gone = s.store.state(), !s.store.there
		s.store.asked++
	})
	if gone {
		return st, ErrNoStream
	}
	return st, err
}

func (s *simStream) Append(subject, id string, frame []byte, ticket uint64) error {
	n, t := s.store.net, s.store
	n.mu.Lock()
	defer n.mu.Unlock()
	if !s.bus.connected || s.bus.dead {
		return errSimAway
	}
	b := s.bus
	line := b.line
	n.note(b, "appends", subject, frame)
	frame = slices.Clone(frame)
	ack := func(k StreamAck) {
		if t.lossy && t.rng.IntN(20) == 0 {
			return
		}
		time.AfterFunc(time.Duration(b.up.rng.Int64N(int64(n.slow))), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if b.line == line && !b.dead {
				s.acks <- k
			}
		})
	}
	var arrive func()
	arrive = func() { // with net.mu held
		k := StreamAck{Ticket: ticket}
		switch wait := time.Until(t.stalled); {
		case wait > 0 && t.rng.IntN(2) == 0: // it waits, and is stored late
			time.AfterFunc(wait+n.turn(), func() {
				n.mu.Lock()
				defer n.mu.Unlock()
				arrive()
			})
			return
		case wait > 0, !t.there:
			t.refused++
			k.Err = ErrNoStream
		default:
			k.Seq, k.Duplicate = t.store(subject, id, frame)
		}
		ack(k)
	}
	b.send(func(bool) { arrive() })
	return nil
}

func (s *simStream) Acks() <-chan StreamAck { return s.acks }

func (s *simStream) Last(ctx context.Context, subjects []string, from uint64) (map[string]uint64, error) {
	last := make(map[string]uint64)
	gone := false
	err := s.ask(ctx, func() {
		s.store.expire()
		gone = !s.store.there
		for _, k := range s.store.frames {
			if k.Seq >= from && slices.Contains(subjects, k.Subject) {
				last[k.Subject] = k.Seq
			}
		}
	})
	if gone {
		return nil, ErrNoStream
	}
	return last, err
}

func (s *simStream) Read(ctx context.Context, subjects []string, from uint64, each func(Stored) bool) error {
	var frames []Stored
	gone := false
	err := s.ask(ctx, func() {
		s.store.expire()
		gone = !s.store.there
		for _, k := range s.store.frames {
			if k.Seq >= from && slices.Contains(subjects, k.Subject) {
				frames = append(frames, k)
			}
		}
	})
	switch {
	case gone:
		return ErrNoStream
	case err != nil:
		return err
	}
	for _, k := range frames {
		if !each(k) {
			break
		}
	}
	return nil
}
