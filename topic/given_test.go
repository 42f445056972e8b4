package topic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A numbered message is one of an order that others give.
type numbered struct {
	seq  uint64
	at   int64 // ms
	text string
}

// An order is all messages of a topic, in frames, as something else has them; what a stream keeps of it
// has to agree with it.
type order struct {
	frames []Frame
	list   []numbered
	number uint64
}

// grow adds a frame of n messages behind a gap.
func (o *order) grow(n int, gap uint64, at int64, size int) Frame {
	o.number = (o.number | 4095) + gap<<12 + 4096 // the last message of a frame ends a stretch of 4,096 numbers
	f := Frame{Seq: o.number, At: at}
	for i := range n {
		text := strings.Repeat(string(rune('a'+i%26)), size)
		f.Records = AppendRecord(f.Records, "push", 100, []byte(text))
		o.list = append(o.list, numbered{o.number - uint64(n-1-i), at, text})
	}
	o.frames = append(o.frames, f)
	return f
}

// between returns the frames from a bound up to another.
func (o *order) between(first, end uint64) (list []Frame) {
	for _, f := range o.frames {
		if f.Seq >= first && f.Seq < end {
			list = append(list, f)
		}
	}
	return list
}

// from returns the messages from a bound on.
func (o *order) from(bound uint64) []numbered {
	for i, m := range o.list {
		if m.seq >= bound {
			return o.list[i:]
		}
	}
	return nil
}

// playNumbers has a stream begin, grow, end, age and be filled in front, as a seed says, and compares it
// with the order of everything.
func playNumbers(t *testing.T, seed uint64) {
	const count, age = 60, 5000
	rng := rand.New(rand.NewPCG(seed, 9))
	total := int64(1 << 24)
	if seed%4 == 0 {
		total = 20_000
	}
	h := NewHistory(HistoryConfig{Loops: 2, Keep: 60_000, Given: true})
	h.Set(parseRules(t, fmt.Sprintf("a=%d,5s", count)), total, 1<<20, 0)
	name := []byte("a")
	var o order
	o.grow(1, 3, 0, 5)
	var s *Stream
	now, filled := int64(0), 0
	for range 300 {
		switch rng.IntN(10) {
		case 0:
			if s != nil && rng.IntN(2) == 0 {
				s.Lock()
				h.End(s)
				s.Unlock()
				s = nil
			}
		case 1:
			now += int64(rng.IntN(2000))
		case 2:
			h.Expire(now, 1+rng.IntN(4))
		case 3, 4:
			if s == nil {
				if rng.IntN(2) == 0 {
					s = h.Stream(name, now)
					if _, _, ok := h.AppendAt(s, now, now, 1<<40, AppendRecord(nil, "", 0, nil)); ok || s.Begun() {
						t.Fatal("a stream takes something before it has begun")
					}
				}
				s, _ = h.Begin(name, Position{5, o.number}, now)
				s.Unlock()
				break
			}
			if first := fill(t, h, s, &o, rng, now); first > 0 {
				filled++
			}
		default:
			f := o.grow(1+rng.IntN(5), uint64(rng.IntN(3)), now, rng.IntN(1+rng.IntN(600)))
			if s == nil {
				break
			}
			n, _ := f.Count()
			last := h.Last(s)
			s.Lock()
			before, got, ok := h.AppendAt(s, now, f.At, f.Seq-uint64(n)+1, f.Records)
			s.Unlock()
			if !ok || got != n || before != last+1 {
				t.Fatalf("seed %d: %d of %d messages behind %d, %v, want behind %d", seed, got, n, before, ok, last+1)
			}
			if _, _, ok := h.AppendAt(s, now, f.At, f.Seq, f.Records); ok {
				t.Fatal("a number is taken twice")
			}
		}
		if h.Bytes() > total && h.Stats().Messages > 0 {
			t.Fatalf("seed %d: %d bytes", seed, h.Bytes())
		}
		if s != nil {
			checkNumbers(t, seed, h, s, &o, rng, now, count, age)
		}
	}
	if s != nil {
		s.Lock()
		h.End(s)
		s.Unlock()
	}
	st := h.Stats()
	if st.Bytes != 0 || st.Messages != 0 || st.Topics != 0 || st.Appended+st.Fetched != st.Over+st.Aged+st.Evicted+st.Ended {
		t.Errorf("seed %d: left over: %+v", seed, st)
	}
	if seed == 1 && filled == 0 {
		t.Error("nothing was ever filled in")
	}
}

// fill puts some of what is older in front of an open stream, and returns from where on.
func fill(t *testing.T, h *History, s *Stream, o *order, rng *rand.Rand, now int64) (first uint64) {
	t.Helper()
	var v View
	h.Look(&v, s, 0, 1<<62, now, 1)
	if !v.Open || len(o.frames) == 0 {
		return 0
	}
	closed := rng.IntN(2) == 0
	first = o.frames[rng.IntN(len(o.frames))].Seq + 1
	if rng.IntN(2) == 0 { // within a frame, perhaps
		first = o.list[rng.IntN(len(o.list))].seq
	}
	if closed {
		first = 1
	}
	if first >= v.First {
		return 0
	}
	if h.Prepend(s, now, 0, first, v.First-1, nil, closed) {
		t.Fatal("a stream takes in front what does not reach up to it")
	}
	if !h.Prepend(s, now, 0, first, v.First, o.between(first, v.First|4095+1), closed) {
		t.Fatalf("an open stream takes nothing in front from %d on", first)
	}
	return first
}

// checkNumbers compares what is kept: it must be all from the stream's bound on, and where the stream is
// closed, all that the rule wants, unless the total has had some.
func checkNumbers(t *testing.T, seed uint64, h *History, s *Stream, o *order, rng *rand.Rand, now int64, count int, age int64) {
	t.Helper()
	var v View
	h.Look(&v, s, 0, 1<<62, now, 1<<30)
	want := o.from(v.First)
	if len(want) > 0 && (now-want[0].at >= age || len(want) > count) {
		t.Fatalf("seed %d: %d messages from one of %d on at %d", seed, len(want), want[0].at, now)
	}
	if v.End != v.Next && v.First < v.Next {
		t.Fatalf("seed %d: the view ends at %d of %d", seed, v.End, v.Next)
	}
	if before := len(o.list) - len(want); !v.Open && before > 0 && h.Stats().Evicted == 0 && s.Begun() {
		if m := o.list[before-1]; now-m.at < age && len(want) < count && m.seq > s.Began() {
			t.Fatalf("seed %d: %d of %d ms is gone at %d, with %d behind it", seed, m.seq, m.at, now, len(want))
		}
	}
	from := v.First
	if len(want) > 0 && rng.IntN(2) == 0 {
		from = want[rng.IntN(len(want))].seq + uint64(rng.IntN(2))
	}
	want = o.from(from)
	for _, bytes := range []int{1, 1 << 30} {
		next, left := from, want
		for next < v.Next {
			var part View
			h.Look(&part, s, next, v.Next-1, now, bytes)
			for m := part.Read(); m != nil; m = part.Read() {
				if len(left) == 0 || m.Seq != left[0].seq || m.At > now || m.At < left[0].at || string(m.Payload) != left[0].text {
					t.Fatalf("seed %d: read %d of %d ms from %d on, want %v", seed, m.Seq, m.At, next, left[:min(len(left), 1)])
				}
				left = left[1:]
			}
			if part.End <= next {
				t.Fatalf("seed %d: from %d on it ends at %d", seed, next, part.End)
			}
			next = part.End
		}
		if len(left) > 0 {
			t.Fatalf("seed %d: %d messages from %d on are not there", seed, len(left), left[0].seq)
		}
	}
	all := o.from(v.First)
	n := rng.IntN(8)
	tail, open := h.Tail(s, n, v.Next-1, now)
	old := now-s.opened >= age
	if got := len(o.from(tail)); got != min(n, len(all)) || open != (v.Open && !old && n > len(all)) {
		t.Fatalf("seed %d: the last %d of %d begin at %d, which are %d, open %v", seed, n, len(all), tail, got, open)
	}
}

func TestNumbersAgreeWithModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		playNumbers(t, seed)
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	h := NewHistory(HistoryConfig{Loops: 1, Keep: 60_000, Given: true})
	h.Set(parseRules(t, "a=5,1m"), 1<<20, 2, 0)
	name, record := []byte("a"), AppendRecord(nil, "", 0, []byte("x"))
	begin := func(at Position) (s, old *Stream) {
		s, old = h.Begin(name, at, 0)
		s.Unlock()
		return s, old
	}
	s, old := begin(Position{1, 100})
	if old != nil || s.Heard(0) != 100 || h.Last(s) != 100 {
		t.Errorf("it begins at %d, heard %d", h.Last(s), s.Heard(0))
	}
	h.AppendAt(s, 0, 0, 200, record)
	for _, at := range []uint64{100, 150, 200} { // it reaches up to there
		if again, old := begin(Position{1, at}); again != s || old != nil {
			t.Errorf("it does not go on at %d", at)
		}
	}
	for _, at := range []Position{{1, 201}, {2, 10}} {
		again, old := begin(at)
		if again == s || old != s || h.Known(s) || !h.Known(again) || h.Last(again) != at.Seq {
			t.Errorf("%v: it goes on", at)
		}
		s = again
	}
	if h.Expire(1<<40, 10); !h.Known(s) {
		t.Error("it is forgotten though it has not ended")
	}
	if st, _ := h.Begin([]byte("other"), Position{1, 1}, 0); st != nil {
		t.Error("a topic without a rule begins")
	}
	if !h.Prepend(s, 0, 0, 4, 1<<60, nil, false) {
		t.Error("nothing may be put in front")
	}
	var v View
	if h.Look(&v, s, 0, 1<<60, 0, 1); v.First != 4 || !v.Open || v.Next != 11 {
		t.Errorf("there is nothing from 4 on, and it keeps %d to %d, open %v", v.First, v.Next, v.Open)
	}
	s.Lock()
	h.End(s)
	s.Unlock()
	if st := h.Stats(); st.Topics != 0 || st.Bytes != 0 || st.Ended != 1 {
		t.Errorf("%+v is left", st)
	}
}

// A stream with numbers that are given costs little more.
func TestNumbersAllocateLittle(t *testing.T) {
	h := NewHistory(HistoryConfig{Loops: 1, Given: true})
	h.Set(parseRules(t, "a=1000,1h"), 1<<20, 10, 0)
	s, _ := h.Begin([]byte("a"), Position{1, 0}, 0)
	s.Unlock()
	record := AppendRecord(nil, "push", 100, make([]byte, 100))
	number, now := uint64(0), int64(0)
	if n := testing.AllocsPerRun(5000, func() {
		now++
		number += 4096
		h.AppendAt(s, now/100, now/100, number, record)
	}); n > 0.2 {
		t.Errorf("%v allocations per message", n)
	}
}
