package clustertest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A stranger is somebody on the bus who is no gateway. It hears all that gateways say there.
type stranger struct {
	t  *testing.T
	nc *nats.Conn

	mu    sync.Mutex
	heard []*nats.Msg
}

func newStranger(t *testing.T, url string) *stranger {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	s := &stranger{t: t, nc: nc}
	if _, err := nc.Subscribe("sluice.default.>", func(m *nats.Msg) {
		s.mu.Lock()
		s.heard = append(s.heard, m)
		s.mu.Unlock()
	}); err != nil {
		t.Fatal(err)
	}
	s.flush()
	return s
}

// take returns what was heard, and forgets it.
func (s *stranger) take() []*nats.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.heard
	s.heard = nil
	return list
}

// await waits until it has heard something on a subject that begins so.
func (s *stranger) await(prefix string) {
	s.t.Helper()
	await(s.t, "a frame on "+prefix, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.heard, func(m *nats.Msg) bool { return strings.HasPrefix(m.Subject, prefix) })
	})
}

func (s *stranger) publish(subject string, data []byte) {
	s.t.Helper()
	if err := s.nc.Publish(subject, data); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stranger) flush() {
	s.t.Helper()
	if err := s.nc.FlushTimeout(patience); err != nil {
		s.t.Fatal(err)
	}
}

// sealed is a frame of some version whose checksum is right.
func sealed(frame []byte, version byte) []byte {
	f := slices.Clone(frame)
	f[1] = version
	sum := crc32.Checksum(f[:len(f)-4], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(f[len(f)-4:], sum)
	return f
}

func subjectOf(kind, topic string) string {
	return "sluice.default." + kind + "." + base64.RawURLEncoding.EncodeToString([]byte(topic))
}

// strangeSubjects are all subjects that gateways 1 and 2 listen to.
func strangeSubjects() []string {
	list := []string{subjectOf("t", "news"), subjectOf("t", "room.1"), subjectOf("h", "room.1")}
	for _, s := range []string{"n.01", "n.02", "n.all", "c.01", "c.02", "c.all"} {
		list = append(list, "sluice.default."+s)
	}
	return append(list, "_R.default.x.1")
}

// sum adds up a metric of all labels.
func (g *gateway) sum(name string) (sum float64) {
	g.t.Helper()
	_, body := g.get("/metrics")
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			var v float64
			_, _ = fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v)
			sum += v
		}
	}
	return sum
}

// What strangers publish on any of the gateways' subjects, garbage, frames that are cut off, changed, of
// another version, or said once before, is counted and ignored: nothing comes twice, is lost, or ends.
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, append(rooms, "--cluster", s.url())...)
	x := newStranger(t, s.url())
	w, ctx := startWorker(t, list[0])
	pub := list[0].login()
	var subs []*client
	var ids []string
	for _, g := range list {
		c := g.login()
		ids = append(ids, c.uniqID())
		c.subscribe("news", "room.1")
		subs = append(subs, c)
	}
	n := 0
	rounds := func() { // all from gateway 1
		n += 10
		pub.publish("news", n)
		pub.publish("room.1", n+1)
		pub.publish("room.1", n+2)
		if err := w.Multicast(ctx, ids, fmt.Appendf(nil, "%d", n+3)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for i, c := range subs {
			var got []int
			for range 4 {
				m, err := c.push(patience)
				if err != nil {
					t.Fatalf("%s: subscriber %d: %v behind %v", when, i, err, got)
				}
				got = append(got, m)
			}
			slices.Sort(got) // casts and topics have no order
			if want := []int{n, n + 1, n + 2, n + 3}; !slices.Equal(got, want) {
				t.Fatalf("%s: subscriber %d got %v, want %v", when, i, got, want)
			}
		}
	}
	rounds()
	check("before")
	x.await("sluice.default.c.02")
	x.await("sluice.default.t.")
	x.await("sluice.default.n.all")
	frames := slices.DeleteFunc(x.take(), func(m *nats.Msg) bool { return len(m.Data) < 16 }) // tests of rights
	for _, say := range []struct {
		what string
		do   func()
	}{
		{"garbage", func() {
			for _, subject := range strangeSubjects() {
				for _, b := range [][]byte{nil, {0}, []byte("S"), []byte("S\x01"), []byte("S\x01\x01"), []byte("{}"), make([]byte, 100_000)} {
					x.publish(subject, b)
				}
				for range 50 {
					b := make([]byte, rand.IntN(200))
					for i := range b {
						b[i] = byte(rand.Uint32())
					}
					x.publish(subject, b)
					if len(b) > 1 {
						b[0], b[1] = 'S', 1
						x.publish(subject, b)
					}
				}
			}
		}},
		{"cut off", func() {
			for _, m := range frames {
				for cut := range min(len(m.Data), 100) {
					x.publish(m.Subject, m.Data[:cut])
					x.publish(m.Subject, m.Data[:len(m.Data)-cut-1])
				}
			}
		}},
		{"changed", func() {
			for _, m := range frames {
				for i := range min(len(m.Data), 200) {
					b := slices.Clone(m.Data)
					b[i] ^= 1 << rand.IntN(8)
					x.publish(m.Subject, b)
				}
			}
		}},
		{"of other versions", func() {
			for _, m := range frames {
				for _, v := range []byte{0, 2, 255} {
					x.publish(m.Subject, sealed(m.Data, v))
				}
			}
		}},
		{"cut off, with a good checksum", func() {
			for _, m := range frames {
				for cut := 16; cut < min(len(m.Data), 100); cut++ {
					x.publish(m.Subject, sealed(m.Data[:cut], 1))
				}
			}
		}},
		{"on other subjects", func() {
			for _, m := range frames {
				for _, subject := range strangeSubjects() {
					// What is put into the log with a frame's own topic is a publish, whoever does it.
					if !strings.HasPrefix(subject, m.Subject[:16]) && !strings.Contains(subject, ".h.") { // else it is a replay
						x.publish(subject, m.Data)
					}
				}
			}
		}},
		{"said again", func() {
			for range 3 {
				for _, m := range frames {
					if err := x.nc.PublishMsg(&nats.Msg{Subject: m.Subject, Data: m.Data, Header: m.Header}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
	} {
		x.take()
		before := make([]float64, len(list))
		for i, g := range list {
			before[i] = g.sum("sluice_cluster_frames_ignored_total") + g.sum("sluice_cluster_commands_ignored_total")
		}
		say.do()
		x.flush()
		rounds()
		check(say.what)
		for i, g := range list {
			if now := g.sum("sluice_cluster_frames_ignored_total") + g.sum("sluice_cluster_commands_ignored_total"); now <= before[i] {
				t.Errorf("%s: gateway %d has counted nothing", say.what, g.id)
			}
			g.knows(2)
			if d := len(g.stderr.String()); d > 256<<10 {
				t.Errorf("%s: gateway %d has written %d bytes of log", say.what, g.id, d)
			}
		}
	}
	for i, c := range subs {
		if m, err := c.push(100 * time.Millisecond); err == nil {
			t.Errorf("subscriber %d got %d, which nobody has sent", i, m)
		}
	}
	for _, g := range list {
		g.logged("ignored")
		if n := g.metric(`sluice_cluster_commands_failed_total{reason="panic"}`); n != 0 {
			t.Errorf("gateway %d: %v panics", g.id, n)
		}
		if n := g.metric("sluice_cluster_history_gaps_total"); n != 0 {
			t.Errorf("gateway %d: %v gaps", g.id, n)
		}
	}
}
