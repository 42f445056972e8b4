package topic

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// newTestHistory makes a history of rules such as "room.*=10,1m" that keeps total bytes.
func newTestHistory(t testing.TB, total int64, rules ...string) *History {
	t.Helper()
	h := NewHistory(HistoryConfig{Loops: 2, Epoch: 100, Keep: 60_000})
	h.Set(parseRules(t, rules...), total, 1<<20, 0)
	return h
}

func parseRules(t testing.TB, texts ...string) (rules []Rule) {
	t.Helper()
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	return rules
}

// add appends payloads to a topic in one go and returns the number of the first.
func add(t testing.TB, h *History, name string, now int64, payloads ...string) uint64 {
	t.Helper()
	s := h.Stream([]byte(name), now)
	if s == nil {
		t.Fatalf("%s has no history", name)
	}
	var records []byte
	for _, p := range payloads {
		records = AppendRecord(records, "push", 100, []byte(p))
	}
	s.Lock()
	defer s.Unlock()
	first, n, ok := h.Append(s, now, records)
	if !ok || n != len(payloads) {
		t.Fatalf("Append(%s): %d messages of %d, %v", name, n, len(payloads), ok)
	}
	return first
}

// kept returns what can be read of a topic from a number on: the first that is there, then all as
// "seq:payload".
func kept(h *History, name string, from uint64, now int64) string {
	s := h.Find([]byte(name))
	if s == nil {
		return "none"
	}
	var v View
	h.Look(&v, s, from, 1<<62, now, 1<<30)
	if !v.Known {
		return "forgotten"
	}
	list := []string{strconv.FormatUint(v.First, 10)}
	for m := v.Read(); m != nil; m = v.Read() {
		list = append(list, fmt.Sprintf("%d:%s", m.Seq, m.Payload))
	}
	return strings.Join(list, " ")
}

func TestHistoryKeeps(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name string
		run  func(t *testing.T) string
		want string
	}{
		{"nothing yet", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=3,1s")
			h.Stream([]byte("a"), 0)
			return kept(h, "a", 0, 0)
		}, "1"},
		{"no rule", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=3,1s")
			return fmt.Sprint(h.Stream([]byte("b"), 0) == nil, h.Keeps([]byte("b")), " ", kept(h, "b", 0, 0))
		}, "true false none"},
		{"count 0 rules out", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "room.secret*=0,0s", "room.*=3,1s")
			return fmt.Sprint(h.Keeps([]byte("room.secrets")), h.Keeps([]byte("room.1")))
		}, "false true"},
		{"count", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=3,1s")
			add(t, h, "a", 0, "p", "q", "r", "s", "t")
			return kept(h, "a", 0, 0)
		}, "3 3:r 4:s 5:t"},
		{"count, one by one", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=2,1m")
			for i := range 5 {
				add(t, h, "a", int64(i)*300, strconv.Itoa(i))
			}
			return kept(h, "a", 0, 1500)
		}, "4 4:3 5:4"},
		{"from a number", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=9,1s")
			add(t, h, "a", 0, "p", "q", "r")
			return kept(h, "a", 3, 0)
		}, "1 3:r"},
		{"from behind the last", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=9,1s")
			add(t, h, "a", 0, "p", "q", "r")
			return kept(h, "a", 4, 0)
		}, "1"},
		{"age, though nobody has expired", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=9,1s")
			add(t, h, "a", 0, "p")
			add(t, h, "a", 400, "q")
			add(t, h, "a", 500, "r")
			return kept(h, "a", 0, 999) + "; " + kept(h, "a", 0, 1000) + "; " + kept(h, "a", 0, 1400) + "; " + kept(h, "a", 0, 1500)
		}, "1 1:p 2:q 3:r; 2 2:q 3:r; 3 3:r; 4"},
		{"age and nobody publishes", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=90,1s")
			add(t, h, "a", 0, "p", "q")
			n := h.Expire(999, 10)
			m := h.Expire(1000, 10)
			return fmt.Sprint(n, m, " ", kept(h, "a", 0, 1000), " ", h.Stats().Aged, h.Stats().Messages)
		}, "0 1 3 2 0"},
		{"numbers go on when all is old", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=9,1s")
			add(t, h, "a", 0, "p", "q")
			h.Expire(5000, 10)
			add(t, h, "a", 5000, "r")
			return kept(h, "a", 0, 5000)
		}, "3 3:r"},
		{"larger than the total", func(t *testing.T) string {
			h := newTestHistory(t, 2000, "*=9,1m")
			add(t, h, "a", 0, "p")
			add(t, h, "a", 1, strings.Repeat(big, 3))
			gone := kept(h, "a", 0, 1)
			add(t, h, "a", 2, "q")
			return gone + "; " + kept(h, "a", 0, 2) + fmt.Sprint("; ", h.Stats().Large)
		}, "3; 3 3:q; 1"},
		{"the oldest of all topics goes first", func(t *testing.T) string {
			h := newTestHistory(t, 9000, "a*=9,1m", "*=9,1m")
			for i := range 12 {
				add(t, h, []string{"a1", "b", "a2"}[i%3], int64(2000*i), strconv.Itoa(i)+big)
			}
			first := func(name string) string { return strings.Fields(kept(h, name, 0, 24000))[0] }
			return first("a1") + " " + first("b") + " " + first("a2") + fmt.Sprint(" ", h.Bytes() <= 9000)
		}, "3 3 2 true"},
		{"forgotten when it has kept nothing for long", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a=9,1s")
			add(t, h, "a", 0, "p")
			s := h.Find([]byte("a"))
			h.Expire(2000, 10)
			h.Touch(s, 30_000) // somebody has a position in it
			h.Expire(80_000, 10)
			still := kept(h, "a", 0, 80_000)
			h.Expire(90_000, 10)
			_, _, ok := h.Append(s, 90_000, AppendRecord(nil, "", 0, nil))
			again := h.Stream([]byte("a"), 90_000)
			return fmt.Sprint(still, " ", ok, again.Epoch()-s.Epoch(), " ", kept(h, "a", 0, 90_000))
		}, "2 false 1 1"},
		{"the total takes topics that keep nothing, too", func(t *testing.T) string {
			h := newTestHistory(t, 10_000, "*=9,1m")
			for i := range 1000 {
				h.Stream(fmt.Appendf(nil, "topic %d", i), int64(i))
			}
			st := h.Stats()
			return fmt.Sprint(st.Bytes <= 10_000, st.Topics > 10, h.Find([]byte("topic 999")) != nil)
		}, "true true true"},
		{"trim", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "*=100,1m")
			for i := range 40 {
				add(t, h, "a", int64(2000*i), big)
			}
			n := h.Trim(8, 80_000)
			return fmt.Sprint(n >= 5 && n <= 6, h.Stats().Trimmed == uint64(n))
		}, "true true"},
		{"other rules", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "a*=9,1m", "*=9,1m")
			for i := range 3 {
				for _, name := range []string{"a1", "a2", "b", "c"} {
					add(t, h, name, int64(i)*1500, strconv.Itoa(i))
				}
			}
			h.Set(parseRules(t, "a1=2,1m", "b=9,2s", "a*=9,1m"), 1<<20, 1<<20, 4000)
			list := []string{kept(h, "a1", 0, 4000), kept(h, "a2", 0, 4000), kept(h, "b", 0, 4000), kept(h, "c", 0, 4000)}
			h.Expire(100_000, 100)
			list = append(list, fmt.Sprint(h.Stats().Messages))
			h.Set(nil, 1<<20, 1<<20, 100_000)
			return strings.Join(append(list, fmt.Sprint(h.On(), h.Bytes(), h.Stats().Topics)), "; ")
		}, "2 2:1 3:2; 1 1:0 2:1 3:2; 3 3:2; none; 0; false 0 0"},
		{"a smaller total", func(t *testing.T) string {
			h := newTestHistory(t, 1<<20, "*=100,1m")
			for i := range 20 {
				add(t, h, "a", int64(2000*i), big)
			}
			h.Set(parseRules(t, "*=100,1m"), 5000, 1<<20, 40_000)
			return fmt.Sprint(h.Bytes() <= 5000, h.Stats().Messages)
		}, "true 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.run(t); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A reader keeps what it has looked at, whatever is appended and dropped meanwhile.
func TestViewStays(t *testing.T) {
	t.Parallel()
	h := newTestHistory(t, 1<<20, "a=50,1m")
	add(t, h, "a", 0, "p", "q")
	var v View
	h.Look(&v, h.Find([]byte("a")), 1, 2, 0, 1<<20)
	for i := range 500 {
		add(t, h, "a", int64(i), "later")
	}
	for _, want := range []string{"p", "q"} {
		if m := v.Read(); m == nil || string(m.Payload) != want || m.Route != "push" || m.Cmd != 100 {
			t.Fatalf("read %+v, want %s", m, want)
		}
	}
	if m := v.Read(); m != nil {
		t.Errorf("read %d behind the end", m.Seq)
	}
}

// A modelled topic is what a stream has to agree with.
type modelled struct {
	first, next uint64
	messages    []Message // from first on
}

// playHistory carries out steps that a seed or a fuzzer makes, and compares what is kept with a plain
// list. The total is large enough: what it takes away is for TestHistoryKeeps.
func playHistory(t testing.TB, steps []byte) {
	rules := []string{"a=5,3s", "b*=40,10s"}
	h := newTestHistory(t, 1<<24, rules...)
	names := []string{"a", "b1", "b2"}
	counts, ages := map[string]int{"a": 5, "b1": 40, "b2": 40}, map[string]int64{"a": 3000, "b1": 10_000, "b2": 10_000}
	model := make(map[string]*modelled)
	now := int64(0)
	for len(steps) >= 2 {
		op, arg := steps[0], int(steps[1])
		steps = steps[2:]
		name := names[int(op>>4)%len(names)]
		m := model[name]
		switch op % 5 {
		case 0, 1:
			if m == nil {
				m = &modelled{first: 1, next: 1}
				model[name] = m
			}
			var payloads []string
			for i := range arg%7 + 1 {
				p := strings.Repeat(string(rune('a'+i)), (arg*arg)%900)
				payloads = append(payloads, p)
				m.messages = append(m.messages, Message{Seq: m.next, At: now, Payload: []byte(p)})
				m.next++
			}
			if first := add(t, h, name, now, payloads...); first != m.next-uint64(len(payloads)) {
				t.Fatalf("%s: first %d, want %d", name, first, m.next-uint64(len(payloads)))
			}
		case 2:
			now += int64(arg) * 10
		case 3:
			h.Expire(now, arg)
		case 4:
			if arg%16 == 0 {
				h.Set(parseRules(t, rules...), 1<<24, 1<<20, now)
			}
		}
		for name, m := range model {
			for len(m.messages) > 0 && (len(m.messages) > counts[name] || now-m.messages[0].At >= ages[name]) {
				m.messages = m.messages[1:]
			}
			m.first = m.next - uint64(len(m.messages))
			s := h.Find([]byte(name))
			if s == nil {
				if len(m.messages) > 0 {
					t.Fatalf("%s is forgotten", name)
				}
				delete(model, name)
				continue
			}
			compare(t, h, s, m, now, uint64(arg))
		}
	}
	for _, later := range []int64{20_000, 100_000} { // messages, then topics
		for h.Expire(now+later, 3) == 3 {
		}
	}
	if st := h.Stats(); st.Bytes != 0 || st.Topics != 0 || st.Messages != 0 ||
		st.Appended != st.Over+st.Aged+st.Trimmed+st.Evicted {
		t.Fatalf("left over: %+v", st)
	}
}

// compare reads a stream from a number on in one go, and in stretches of a few bytes.
func compare(t testing.TB, h *History, s *Stream, m *modelled, now int64, skip uint64) {
	t.Helper()
	from := m.first + skip%8
	for _, bytes := range []int{1, 1 << 30} {
		next := from
		for {
			var v View
			h.Look(&v, s, next, m.next-1, now, bytes)
			if !v.Known || v.First != m.first || v.Next != m.next {
				t.Fatalf("%s at %d: kept %d to %d, want %d to %d", s.Name(), now, v.First, v.Next, m.first, m.next)
			}
			n := 0
			for got := v.Read(); got != nil; got = v.Read() {
				want := m.messages[next-m.first]
				if got.Seq != want.Seq || got.At != want.At || string(got.Payload) != string(want.Payload) {
					t.Fatalf("%s: %d of %d ms, want %d of %d", s.Name(), got.Seq, got.At, want.Seq, want.At)
				}
				next++
				n++
			}
			if n == 0 {
				break
			}
		}
		if next < m.next {
			t.Fatalf("%s: read up to %d, want %d", s.Name(), next, m.next)
		}
	}
}

func TestHistoryAgreesWithModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		steps := make([]byte, 400)
		for i := range steps {
			steps[i] = byte(rng.Uint32())
		}
		playHistory(t, steps)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte{0, 3, 2, 200, 16, 9, 3, 1, 2, 255, 3, 255})
	f.Add(bytes.Repeat([]byte{0, 6, 2, 90, 16, 50, 3, 2, 4, 16}, 20))
	f.Fuzz(func(t *testing.T, steps []byte) { playHistory(t, steps[:min(len(steps), 400)]) })
}

// The bytes that are counted are those that are allocated.
func TestHistoryBytes(t *testing.T) {
	t.Parallel()
	h := newTestHistory(t, 1<<20, "*=100000,1h")
	payload := strings.Repeat("x", 100)
	for i := range 20_000 {
		add(t, h, "t"+strconv.Itoa(i%10), int64(i), payload)
		if b := h.Bytes(); b > 1<<20 {
			t.Fatalf("%d bytes after %d messages", b, i)
		}
	}
	st := h.Stats()
	if useful := int64(st.Messages) * (100 + recordHead + 4); useful < 600_000 {
		t.Errorf("%d messages in 1 MiB: %d bytes of it are theirs", st.Messages, useful)
	}
}

func TestHistoryAllocatesLittle(t *testing.T) {
	h := newTestHistory(t, 1<<20, "*=1000,1h")
	s := h.Stream([]byte("a"), 0)
	record := AppendRecord(nil, "push", 100, make([]byte, 100))
	now := int64(0)
	var v View
	if n := testing.AllocsPerRun(5000, func() {
		now++
		h.Append(s, now/100, record)
	}); n > 0.1 {
		t.Errorf("%v allocations per message", n)
	}
	h.Look(&v, s, 1, 1<<62, now/100, 4096)
	for v.Read() != nil {
	}
	last := h.Last(s)
	if n := testing.AllocsPerRun(500, func() {
		h.Look(&v, s, last-20, last, now/100, 4096)
		for v.Read() != nil {
		}
	}); n != 0 {
		t.Errorf("%v allocations per look", n)
	}
}

func BenchmarkHistoryAppend(b *testing.B) {
	h := newTestHistory(b, 64<<20, "*=1000,1h")
	s := h.Stream([]byte("a"), 0)
	record := AppendRecord(nil, "push", 100, make([]byte, 100))
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		i++
		h.Append(s, i/1000, record)
	}
}

func BenchmarkHistoryMatch(b *testing.B) {
	h := newTestHistory(b, 64<<20, "room.*=1000,1h", "news=1,1h", "prices.*=1,1h")
	name := []byte("chat.lobby")
	b.ReportAllocs()
	for b.Loop() {
		h.Stream(name, 0)
	}
}
