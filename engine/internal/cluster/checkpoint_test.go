package cluster

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// pointScenes are what checkpoints must get right. Each ends with a client that is resumed on another node,
// and has read everything then.
var pointScenes = map[string]func(t tester){
	"a session that has just lost its connection": func(t tester) {
		scene(t, 30*time.Millisecond, func(r *resort, c *guest, _ *reader) {
			r.guests[0].leave(c.ref)
			r.store.set(refuseSessions)
			r.publishSome(3 * time.Second)
			r.kill(0)
		})
	},
	"a connection that falls behind": func(t tester) {
		scene(t, 30*time.Millisecond, func(r *resort, c *guest, _ *reader) {
			time.Sleep(5 * time.Second)
			r.guests[0].mu.Lock()
			c.mail.latency = 4 * time.Second
			r.guests[0].mu.Unlock()
			r.store.set(refuseSessions)
			r.publishSome(3 * time.Second)
			r.kill(0)
		})
	},
	"a connection that is behind, whose session is written": func(t tester) {
		scene(t, 4*time.Second, func(r *resort, _ *guest, _ *reader) {
			r.publishSome(3 * time.Second)
			r.kill(0)
		})
	},
	"a connection that has all": func(t tester) {
		scene(t, 30*time.Millisecond, func(r *resort, _ *guest, _ *reader) {
			r.publishSome(3 * time.Second)
			r.kill(0)
		})
	},
	"a session that is given up without an answer": func(t tester) {
		for phase := range 10 {
			scene(t, 30*time.Millisecond, func(r *resort, c *guest, _ *reader) {
				time.Sleep(time.Duration(phase) * 50 * time.Millisecond)
				go r.publishSome(2 * time.Second)
				r.guests[0].mute.Store(true)
			})
		}
	},
	"a connection that has resumed and lacks much": func(t tester) {
		scene(t, 30*time.Millisecond, func(r *resort, c *guest, read *reader) {
			r.guests[0].leave(c.ref)
			read.read(t, 0, &c.mail)
			r.publishSome(5 * time.Second)
			next, err := r.guests[1].resume(c.issued.Ticket)
			if err != nil {
				t.Fatalf("not resumed: %v", err)
			}
			next.mail.latency = time.Hour // it gets nothing
			*c = *next
			r.publishSome(2 * time.Second)
			r.kill(1)
		})
	},
	"a session that was taken over for a connection that has gone": func(t tester) {
		scene(t, 30*time.Millisecond, func(r *resort, c *guest, _ *reader) {
			r.guests[0].leave(c.ref)
			r.publishSome(5 * time.Second)
			g := r.guests[1]
			ticket, err := g.local.Open(time.Now(), []byte(c.issued.Ticket))
			if err != nil {
				t.Fatalf("%v", err)
			}
			done := make(chan error, 1)
			g.Take(ticket, func(shared session.Shared, err error) {
				r.store.set(refuseSessions)
				done <- errors.Join(err, g.local.Adopt(time.Now(), shared))
			})
			if err := <-done; err != nil {
				t.Fatalf("not taken over: %v", err)
			}
			r.publishSome(2 * time.Second)
			r.kill(1)
		})
	},
	"a connection that has resumed, and lacks much, before that was written": func(t tester) {
		scene(t, 30*time.Millisecond, func(r *resort, c *guest, read *reader) {
			r.guests[0].leave(c.ref)
			read.read(t, 0, &c.mail)
			r.publishSome(5 * time.Second)
			r.guests[1].late = time.Hour
			next, err := r.guests[1].resume(c.issued.Ticket)
			if err != nil {
				t.Fatalf("not resumed: %v", err)
			}
			*c = *next
			r.store.set(refuseSessions)
			r.publishSome(2 * time.Second)
			r.kill(1)
		})
	},
}

func refuseSessions(s *fakeStore) {
	s.refuses = func(key string) bool { return !strings.HasPrefix(key, "node-") }
}

// publishSome publishes for a while.
func (r *resort) publishSome(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r.publish(0)
	}
}

// scene has a client on node 0, lets happen what is to, and resumes it on node 2.
func scene(t tester, latency time.Duration, happen func(r *resort, c *guest, read *reader)) {
	r := newResort(t, 1, 3)
	defer r.close()
	g := r.guests[0]
	g.late = latency
	c := g.login("ann")
	g.subscribe(c, "news")
	read := newReader(&r.news)
	read.begin("news")
	time.Sleep(2 * time.Second)
	r.publishSome(2 * time.Second)
	happen(r, c, &read)
	read.repeats()
	r.store.set(func(s *fakeStore) { s.refuses = nil })
	next, err := r.guests[2].resume(c.issued.Ticket)
	if err != nil {
		t.Fatalf("not resumed: %v", err)
	}
	time.Sleep(10 * time.Second)
	read.read(t, 1, &c.mail)
	read.before = time.Now().Add(-time.Hour) // enough that nothing is missed
	read.read(t, 2, &next.mail)
	read.hasAll(t, []string{"news"})
}

func TestCheckpoints(t *testing.T) {
	for name, play := range pointScenes {
		t.Run(name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) { play(t) })
		})
	}
}

// A checkpoint does not go past those that are too many to be written.
func TestCheckpointsStayBehindTheRest(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		r := newResort(t, 1, 1)
		defer r.close()
		g := r.guests[0].sessions
		var behind []gateway.Laggard
		for i := range maxBehindWrites + 10 {
			c := r.guests[0].login(fmt.Sprint(i))
			behind = append(behind, gateway.Laggard{ID: c.issued.ID, At: topic.Position{Epoch: newsEpoch, Seq: uint64(1000 - i)}})
		}
		time.Sleep(3 * time.Second)
		at, ok := g.plan(topic.Position{Epoch: newsEpoch, Seq: 2000}, slices.Clone(behind))
		if want := behind[9].At; !ok || at != want {
			t.Errorf("it may go to %v, %v, want %v", at, ok, want)
		}
		old := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.points.old
		}
		if n := old(); n != maxBehindWrites {
			t.Errorf("it waits for %d sessions, want %d", n, maxBehindWrites)
		}
		time.Sleep(3 * time.Second)
		if n := old(); n != 0 {
			t.Errorf("%d sessions were not written", n)
		}
	})
}

// A write of a session that is under way says where its connection is by the checkpoint before. The next one
// waits for another, though the session's key says at the time that it is behind.
func TestCheckpointsWaitForWritesBehindThem(t *testing.T) {
	for _, writing := range []bool{false, true} {
		faketime.Test(t, func(t *testing.T) {
			r := newResort(t, 1, 1)
			defer r.close()
			g := r.guests[0].sessions
			c := r.guests[0].login("ann")
			time.Sleep(3 * time.Second)
			g.mu.Lock()
			e := g.entry(c.issued.ID)
			g.setBehind(e, true)
			e.writing = writing
			g.mu.Unlock()
			behind := []gateway.Laggard{{ID: c.issued.ID, At: topic.Position{Epoch: newsEpoch, Seq: 1000}}}
			g.plan(topic.Position{Epoch: newsEpoch, Seq: 2000}, behind)
			g.mu.Lock()
			if waits := g.points.old == 1; waits != writing {
				t.Errorf("written at the time: %v; it is waited for: %v", writing, waits)
			}
			if writing { // the write ends
				e.writing = false
				g.enqueue(e, time.Now())
				g.wake()
			}
			g.mu.Unlock()
			time.Sleep(3 * time.Second)
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.points.old != 0 {
				t.Errorf("written at the time: %v; %d writes have not come", writing, g.points.old)
			}
		})
	}
}

func TestPointRoundTrip(t *testing.T) {
	t.Parallel()
	by, p := origin{3, 77}, point{topic.Position{Epoch: 1 << 60, Seq: 1 << 62}, 1234}
	b := appendPoint(nil, by, p)
	if gotBy, got, err := parsePoint(b); err != nil || gotBy != by || got != p {
		t.Errorf("got %v %v, %v, want %v %v", gotBy, got, err, by, p)
	}
	for i := range b {
		if _, _, err := parsePoint(b[:i]); err == nil {
			t.Errorf("the first %d bytes are a checkpoint", i)
		}
	}
	b[1]++
	if _, _, err := parsePoint(b); !errors.Is(err, errVersion) {
		t.Errorf("of another version: %v, want %v", err, errVersion)
	}
	if _, _, _, err := parseSession(b); err == nil {
		t.Error("a checkpoint is a session, too")
	}
}

// Where a session is whose owner is silent: what was written of it and the owner's checkpoint say so.
func TestPlaces(t *testing.T) {
	mark := func(topic string, seq uint64) session.Mark {
		return session.Mark{Topic: topic, Epoch: 7, Seq: seq, At: 5}
	}
	point := session.Mark{Topic: "b", Epoch: 7, Seq: 50, At: 9}
	for _, c := range []struct {
		name     string
		attached bool
		behind   bool
		unknown  bool
		owner    uint8
		marks    []session.Mark
		want     []session.Mark
		lost     bool
	}{
		{"detached", false, false, false, 1, []session.Mark{mark("b", 3)}, []session.Mark{mark("b", 3)}, false},
		{"behind", true, true, false, 1, []session.Mark{mark("b", 3)}, []session.Mark{mark("b", 3)}, false},
		{"before the checkpoint", true, false, false, 1, []session.Mark{mark("b", 3)}, []session.Mark{point}, false},
		{"past it", true, false, false, 1, []session.Mark{mark("b", 60)}, []session.Mark{{Topic: "b", Epoch: 7, Seq: 60, At: 9}}, false},
		{"never written", true, false, false, 1, nil, []session.Mark{point}, false},
		{"the owner does not know it", true, false, true, 1, []session.Mark{mark("b", 3)}, []session.Mark{mark("b", 3)}, false},
		{"no checkpoint", true, false, false, 2, []session.Mark{mark("b", 3)}, []session.Mark{mark("b", 3)}, false},
		{"nor a mark", true, false, false, 2, nil, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				r := newResort(t, 1, 1)
				defer r.close()
				s := r.guests[0].sessions
				s.holder = keepsB{r.guests[0]}
				by := origin{1, 77}
				if _, err := s.store.Create(t.Context(), keyOfPoint(by), appendPoint(nil, by, point2(point))); err != nil {
					t.Fatal(err)
				}
				shared := session.Shared{
					Attached: c.attached, Behind: c.behind,
					Snapshot: session.Snapshot{Topics: []string{"a", "b"}, Marks: c.marks},
				}
				s.place(t.Context(), origin{c.owner, 77}, c.unknown, &shared)
				if n := shared.Snapshot; !reflect.DeepEqual(n.Marks, c.want) || n.MarksLost != c.lost {
					t.Errorf("it is at %v, lost: %v, want %v, %v", n.Marks, n.MarksLost, c.want, c.lost)
				}
			})
		})
	}
}

func point2(m session.Mark) point { return point{topic.Position{Epoch: m.Epoch, Seq: m.Seq}, m.At} }

// keepsB is a holder where topic b alone has history.
type keepsB struct{ *guesthouse }

func (keepsB) Keeps(topic string) bool { return topic == "b" }

// Of a session with too many places, or too long a value, the places go first.
func TestSessionsWithTooManyMarks(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		r := newResort(t, 1, 1)
		defer r.close()
		s := r.guests[0].sessions
		shared := session.Shared{User: "ann"}
		for i := range maxMarks + 1 {
			name := fmt.Sprintf("%06d", i)
			shared.Snapshot.Topics = append(shared.Snapshot.Topics, name)
			shared.Snapshot.Marks = append(shared.Snapshot.Marks, session.Mark{Topic: name, Epoch: 1 << 50, Seq: 1 << 50})
		}
		all := shared
		all.Snapshot.Marks = shared.Snapshot.Marks[:maxMarks]
		for _, c := range []struct {
			name          string
			shared        session.Shared
			max           int
			topics, marks int
			lost          bool
		}{
			{"enough", all, 1 << 20, maxMarks + 1, maxMarks, false},
			{"too many marks", shared, 1 << 20, maxMarks + 1, 0, true},
			{"too long", all, 40_000, maxMarks + 1, 0, true},
			{"much too long", all, 4000, 0, 0, false},
		} {
			s.max = c.max
			b, _ := s.value(&c.shared)
			_, got, _, err := parseSession(b)
			if n := got.Snapshot; err != nil || len(b) > c.max || len(n.Topics) != c.topics || len(n.Marks) != c.marks ||
				n.MarksLost != c.lost || n.Lost != (c.topics == 0) {
				t.Errorf("%s: %d topics, %d marks, marks lost %v, lost %v, %v in %d bytes", c.name, len(n.Topics), len(n.Marks),
					n.MarksLost, n.Lost, err, len(b))
			}
		}
		if n := s.counts().MarksCut; n != 3 {
			t.Errorf("%d were counted, want 3", n)
		}
	})
}
