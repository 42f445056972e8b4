package clustertest

import (
	"cmp"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// A fleet is gateways that are restarted one after the other.
type fleet struct {
	mu   sync.Mutex
	list []*gateway // nil: it is being restarted
}

// any returns one that serves.
func (f *fleet) any() *gateway {
	for {
		f.mu.Lock()
		g := f.list[rand.IntN(len(f.list))]
		f.mu.Unlock()
		if g != nil {
			return g
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *fleet) set(i int, g *gateway) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list[i] = g
}

// A traveller is a client that comes back to another gateway each time it is sent away.
type traveller struct {
	t       *testing.T
	fleet   *fleet
	begun   *atomic.Int64 // the last number whose publish has begun
	c       *client
	ticket  string
	topic   string // which nobody else has, so that the others must hear of it
	from    int    // it must get all from here on, while it is connected; 0: that is not known yet
	last    int
	got     int
	resumed int
}

// enter connects, with its ticket if it has one. It reports false where it is not let in.
func (v *traveller) enter(user string) bool {
	conn, err := net.DialTimeout("tcp", v.fleet.any().addr, patience)
	if err != nil {
		return false
	}
	v.c = &client{t: v.t, conn: conn}
	say := map[string]any{"session_id": v.ticket}
	if v.ticket == "" {
		say = map[string]any{"token": user, "session": true}
	}
	text, _ := json.Marshal(say)
	b, _ := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: text})
	if _, err := conn.Write(b); err != nil {
		return false
	}
	h, body, err := v.c.packet(patience)
	if err != nil || h.Type != gosoc.TypeConnAck || gosoc.ReturnCode(body[1]) != gosoc.Accepted {
		if err == nil && h.Type == gosoc.TypeConnAck && gosoc.ReturnCode(body[1]) != gosoc.ServerUnavailable {
			v.t.Errorf("%s is refused with code %d", user, body[1])
		}
		return false
	}
	v.from = 0
	return true
}

// run listens until stop.
func (v *traveller) run(user string, stop <-chan struct{}) {
	defer func() { v.c.conn.Close() }()
	for {
		h, body, err := v.c.packet(50 * time.Millisecond)
		if e := (net.Error)(nil); err != nil && errors.As(err, &e) && e.Timeout() {
			select {
			case <-stop:
				return
			default:
				continue
			}
		}
		if err != nil || h.Type == gosoc.TypeDisconnect {
			v.c.conn.Close()
			for deadline := time.Now().Add(patience); !v.enter(user); time.Sleep(5 * time.Millisecond) {
				v.c.conn.Close()
				if time.Now().After(deadline) {
					v.t.Errorf("%s does not get in again", user)
					return
				}
			}
			v.resumed++
			// It has its topics again; once it is told so, it misses nothing.
			if err := v.c.send("sluice.Subscribe", topics(v.topic)); err != nil {
				v.t.Error(err)
			}
			continue
		}
		m, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil { // the answer to the subscription
			v.from = int(v.begun.Load()) + 1
			continue
		}
		if _, rest, ok := strings.Cut(string(m.Payload), `"session_id":"`); ok {
			v.ticket, _, _ = strings.Cut(rest, `"`)
			continue
		}
		n, err := strconv.Atoi(string(m.Payload))
		switch {
		case err != nil:
			v.t.Errorf("%s got %q", user, m.Payload)
		case n <= v.last:
			v.t.Errorf("%s got %d behind %d", user, n, v.last)
		case v.from > 0 && n > max(v.last+1, v.from):
			v.t.Errorf("%s got %d behind %d, and was there from %d on", user, n, v.last, v.from)
		}
		v.last = n
		v.got++
	}
}

// All gateways of a cluster are restarted under load, one after the other; with CLUSTER_OLD_BIN, another
// release's program, they are upgraded from it. Clients come back elsewhere, with
// their topics, and miss only what was published while they were not there; nothing comes twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	args := []string{"--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key")}
	f := &fleet{list: make([]*gateway, 3)}
	for i := range f.list {
		f.list[i] = launchBinary(t, cmp.Or(os.Getenv("CLUSTER_OLD_BIN"), gatewayBinary), i+1, args...)
	}
	for _, g := range f.list {
		g.serving()
	}
	// Who publishes does so on a gateway of its own, which stays.
	fixed := serve(t, 4, args...)
	fixed.knows(4)

	var begun atomic.Int64
	stop := make(chan struct{})
	var running sync.WaitGroup
	travellers := make([]*traveller, 12)
	for i := range travellers {
		user := "user-" + strconv.Itoa(i)
		v := &traveller{t: t, fleet: f, begun: &begun, topic: "news/" + strconv.Itoa(i)}
		if !v.enter(user) {
			t.Fatalf("%s is not let in", user)
		}
		v.awaitTicket()
		v.c.subscribe(v.topic)
		v.from = 1
		travellers[i] = v
		running.Go(func() { v.run(user, stop) })
	}
	pub := fixed.login()
	done := make(chan struct{})
	running.Go(func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			begun.Store(int64(n))
			for _, v := range travellers {
				if err := pub.send("sluice.Publish", message(v.topic, n)); err != nil {
					t.Error(err)
					return
				}
			}
			for range travellers {
				if _, _, err := pub.packet(patience); err != nil {
					t.Errorf("publish %d: %v", n, err)
					return
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	for i := range f.list {
		old := f.list[i]
		f.set(i, nil)
		time.Sleep(100 * time.Millisecond)
		old.terminate()
		g := serve(t, i+1, args...)
		g.knows(4)
		f.set(i, g)
		time.Sleep(300 * time.Millisecond)
	}
	close(stop)
	<-done
	running.Wait()
	sum := 0
	for i, v := range travellers {
		if v.got == 0 {
			t.Errorf("traveller %d got %d, the last %d of %d", i, v.got, v.last, begun.Load())
		}
		sum += v.resumed
	}
	if sum < len(travellers) {
		t.Errorf("%d resumptions, want one of each at least", sum)
	}
	t.Logf("%d published, %d resumptions", begun.Load(), sum)
	for _, g := range append([]*gateway{fixed}, f.list...) {
		for _, reason := range []string{"lost", "late", "queue-full"} {
			if n := g.metric(`sluice_cluster_messages_missed_total{reason="` + reason + `"}`); n != 0 {
				t.Errorf("gateway %d: %v messages are %s", g.id, n, reason)
			}
		}
	}
}

// awaitTicket takes the push with the first ticket.
func (v *traveller) awaitTicket() {
	_, body, err := v.c.packet(patience)
	_, rest, ok := strings.Cut(string(body), `"session_id":"`)
	if err != nil || !ok {
		v.t.Fatalf("no ticket: %q, %v", body, err)
	}
	v.ticket, _, _ = strings.Cut(rest, `"`)
}
