package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// What requests and their replies cost is on their client's account while they wait, and off it
// when they are over, in whatever order and way that happens.
func TestRequestsAreOnTheAccount(t *testing.T) {
	const n, size = 50, 1000
	random := rand.New(rand.NewPCG(1, 2))
	answer := func(order []int, n int) func(*server.Server, []gateway.Ticket) {
		return func(s *server.Server, tickets []gateway.Ticket) {
			for _, i := range order[:n] {
				s.Gateway().Answer(tickets[i], 0, []byte(strings.Repeat("r", size)+fmt.Sprint(i)))
			}
		}
	}
	var forward, backward []int
	for i := range n {
		forward, backward = append(forward, i), append(backward, n-1-i)
	}
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		answer  func(*server.Server, []gateway.Ticket)
		replies int // that come
		waiting int // replies that wait for their turn then
	}{
		{"in order", never, answer(forward, n), n, 0},
		{"backwards", never, answer(backward, n), n, 0},
		{"in any order", never, answer(random.Perm(n), n), n, 0},
		{"half, then the client leaves", never, answer(forward, n/2), n / 2, 0},
		{"the last half, then the client leaves", never, answer(backward, n/2), 0, n / 2},
		{"none, then the client leaves", never, answer(nil, 0), 0, 0},
		{"the last half, then time is up", 200 * time.Millisecond, answer(backward, n/2), n, 0},
		{"none, and time is up", 200 * time.Millisecond, answer(nil, 0), n, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, func(c *server.Config) { c.Gateway.RequestTimeout = tt.timeout })
			tickets := make(chan gateway.Ticket, n)
			if err := s.Handle("later", func(r *gateway.Request) { tickets <- r.Defer() }); err != nil {
				t.Fatal(err)
			}
			p := online(t, s, "ann")
			payload := strings.Repeat("q", size)
			for i := range n {
				p.write(request(i, "later", payload))
			}
			var all []gateway.Ticket
			for range n {
				all = append(all, <-tickets)
			}
			if least := int64(n * size); tt.timeout == never {
				await(t, "the requests on the account", func() bool { return account(s, engine.KindRequests) >= least })
				if got := account(s, engine.KindRequests); got > least*6/5 {
					t.Errorf("%d bytes are on the account for %d requests of %d", got, n, size)
				}
			}
			tt.answer(s, all)
			for i := range tt.replies {
				if got := p.wantReply(i); tt.timeout == never && got != strings.Repeat("r", size)+fmt.Sprint(i) {
					t.Errorf("reply %d is %.10q of %d bytes", i, got, len(got))
				}
			}
			if tt.waiting > 0 {
				least := int64(tt.waiting * size)
				await(t, "the replies that wait", func() bool { return account(s, engine.KindReplies) >= least })
				if got := account(s, engine.KindReplies); got > least*5/2 {
					t.Errorf("%d bytes are on the account for %d replies of %d", got, tt.waiting, size)
				}
			}
			if tt.replies < n {
				_ = p.conn.Close()
			}
			await(t, "an empty account", func() bool {
				return account(s, engine.KindRequests) == 0 && account(s, engine.KindReplies) == 0
			})
			for i := range s.Engine().Loops() { // what was answered before the client left has been counted
				done := make(chan struct{})
				s.Engine().TellLoop(i, func() { close(done) })
				<-done
			}
			late := s.Gateway().Stats().Late + n
			for _, ticket := range all { // each once more
				s.Gateway().Answer(ticket, 0, []byte("too late"))
			}
			await(t, "the late replies", func() bool { return s.Gateway().Stats().Late >= late })
			if got := s.Gateway().Stats().Late; got != late {
				t.Errorf("%d late replies, want %d", got, late)
			}
			if account(s, engine.KindReplies) != 0 {
				t.Error("late replies stay on an account")
			}
		})
	}
}

// One client with an unanswered request and 1 MiB echoes behind it is not read any more, and is not
// closed: it stays below its limit, and gets everything in order.
func TestUnansweredRequestHoldsInput(t *testing.T) {
	const n, size, limit = 10, 1 << 20, 1 << 20
	s := start(t, func(c *server.Config) { c.Gateway.MaxPendingBytes = limit })
	tickets := make(chan gateway.Ticket, 1)
	if err := s.Handle("later", func(r *gateway.Request) { tickets <- r.Defer() }); err != nil {
		t.Fatal(err)
	}
	p := online(t, s, "ann")
	p.write(request(0, "later", ""))
	ticket := <-tickets
	payload := `"` + strings.Repeat("e", size) + `"`
	go func() {
		for i := range n {
			p.write(request(1+i, "sluice.Echo", payload))
		}
	}()
	await(t, "the hold", func() bool { return s.Gateway().Stats().Holds > 0 })
	most := int64(0)
	for begun := time.Now(); time.Since(begun) < 200*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		most = max(most, account(s, engine.KindReplies)+account(s, engine.KindRequests))
	}
	if most < limit || most > limit+size+size/4 {
		t.Errorf("%d bytes were on the account at most", most)
	}
	online(t, s, "ben") // nobody else pays
	s.Gateway().Answer(ticket, 0, []byte("at last"))
	if got := p.wantReply(0); got != "at last" {
		t.Errorf("got %.80q", got)
	}
	for i := range n {
		if got := p.wantReply(1 + i); got != `{"status":0,"data":`+payload+`}` {
			t.Fatalf("echo %d has %d bytes", i, len(got))
		}
	}
	await(t, "an empty account", func() bool {
		return account(s, engine.KindRequests) == 0 && account(s, engine.KindReplies) == 0
	})
}

// A client with too many owed requests is held by their number, and goes on at half.
func TestOwedRequestsHoldInput(t *testing.T) {
	const limit, n = 8, 100
	s := start(t, func(c *server.Config) { c.Gateway.MaxPending = limit })
	tickets := make(chan gateway.Ticket, n)
	if err := s.Handle("later", func(r *gateway.Request) { tickets <- r.Defer() }); err != nil {
		t.Fatal(err)
	}
	p := online(t, s, "ann")
	var all []byte
	for i := range n {
		all = append(all, request(i, "later", "x")...)
	}
	p.write(all)
	for i := range n {
		await(t, "a request", func() bool { return len(tickets) > 0 })
		if len(tickets) > limit {
			t.Fatalf("%d requests wait", len(tickets))
		}
		s.Gateway().Answer(<-tickets, 0, []byte("y"))
		p.wantReply(i)
	}
}

func TestTopicsAreOnTheAccount(t *testing.T) {
	const each = 160 + 6 // bytes a topic
	s := start(t, func(c *server.Config) { c.Gateway.MaxTopicBytes = 3*each + 1 })
	p := online(t, s, "ann")
	id := 0
	do := func(route, topics string) string {
		id++
		p.write(request(id, "sluice."+route, `{"topics":[`+topics+`]}`))
		return p.wantReply(id)
	}
	want := func(after string, n int) {
		t.Helper() // loops make their sums known a moment after they answer
		await(t, fmt.Sprintf("%d bytes on the account after %s", n*each, after),
			func() bool { return account(s, engine.KindTopics) == int64(n*each) })
	}
	do("Subscribe", `"topic1","topic2"`)
	want("two", 2)
	do("Subscribe", `"topic2"`)
	want("one twice", 2)
	do("Unsubscribe", `"topic2","topic9"`)
	want("an unsubscription", 1)
	do("Subscribe", `"topic2","topic3"`)
	want("as many as may be", 3)
	if got := do("Subscribe", `"topic4"`); strings.Contains(got, `"status":0`) {
		t.Errorf("one more: %s", got)
	}
	if got := s.Gateway().Stats().TopicsRefused["too-many-bytes"]; got != 1 {
		t.Errorf("%d refused, want 1", got)
	}
	want("one too many", 3)
	do("Unsubscribe", `"topic1"`)
	_ = p.conn.Close()
	await(t, "an empty account", func() bool { return account(s, engine.KindTopics) == 0 })
}

// Snapshots of detached sessions are counted, and are off the account when they are taken up.
func TestSessionsAreOnTheAccount(t *testing.T) {
	s := start(t, nil)
	p := dial(t, s)
	p.connect("ann", `,"session":true`)
	p.wantCode(0)
	_, push, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	_, ticket, _ := strings.Cut(string(push), `"session_id":"`)
	ticket, _, _ = strings.Cut(ticket, `"`)
	p.write(request(1, "sluice.Subscribe", `{"topics":["`+strings.Repeat("t", 1000)+`"]}`))
	p.wantReply(1)
	_ = p.conn.Close()
	await(t, "the snapshot", func() bool { return account(s, engine.KindSessions) > 1000 })
	st := s.Gateway().Stats().Sessions
	if got, want := account(s, engine.KindSessions), st.Bytes+st.Waiting; got != want || st.Waiting == 0 || got > 1200 {
		t.Errorf("%d bytes are on the account, the store has %d", got, want)
	}
	p = dial(t, s)
	p.connect("", `,"session_id":"`+ticket+`"`)
	p.wantCode(0)
	if got := account(s, engine.KindSessions); got != 0 {
		t.Errorf("%d bytes are left", got)
	}
	await(t, "the topics on the account", func() bool { return account(s, engine.KindTopics) > 1000 })
}
