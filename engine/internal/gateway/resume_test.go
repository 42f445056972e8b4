package gateway_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/topic"
)

var everyTopic = engine.HistoryLimits{Rules: []topic.Rule{{Pattern: "*", Count: 10, Age: time.Minute}}}

// resume comes back with a ticket: the answer is the first packet, and its successor the second.
func resume(t *testing.T, s *server.Server, ticket string) (p *phone, next string) {
	t.Helper()
	p = dial(t, s)
	p.connect("", `,"session_id":"`+ticket+`"`)
	p.wantCode(0)
	_, push, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	_, next, ok := strings.Cut(string(push), `"session_id":"`)
	if !ok {
		t.Fatalf("got %q behind the answer, want the next ticket", push)
	}
	next, _, _ = strings.Cut(next, `"`)
	return p, next
}

func (p *phone) wantGap(topic string) {
	p.t.Helper()
	want := fmt.Sprintf(`{"topic":%q,"lost":true}`, topic)
	first, body, err := p.next()
	if err != nil || first>>4 != 6 || !bytes.Contains(body, []byte("sluice.Gap")) || !bytes.HasSuffix(body, []byte(want)) {
		p.t.Fatalf("got %#x %q, %v, want the gap %s", first, body, err, want)
	}
}

// A gap that is known at once is no reason to say anything before the answer.
func TestGapsComeBehindTheAnswer(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]engine.HistoryLimits{"another epoch": everyTopic, "no history": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Engine.History = everyTopic })
			ticket := leave(t, s, "ann", "quiet")
			for _, h := range []engine.HistoryLimits{{}, away} {
				if err := s.Engine().SetHistory(h); err != nil {
					t.Fatal(err)
				}
			}
			p, _ := resume(t, s, ticket)
			p.wantGap("quiet")
			p.write(request(1, "sluice.Echo", `"x"`))
			p.wantReply(1)
		})
	}
}

// Whoever resumes a session of which only the user is left hears that its topics are gone, until it has
// said something; where no topic has history nobody hears of gaps.
func TestLostTopicsAreTold(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*server.Config){
		"over the bound of one": func(c *server.Config) { c.Gateway.SessionBytes = 20 },
		"too many of the user":  func(c *server.Config) { c.Gateway.MaxSessionsPerUser = 1 },
	} {
		for _, history := range []engine.HistoryLimits{everyTopic, {}} {
			t.Run(fmt.Sprint(name, ", rules ", len(history.Rules)), func(t *testing.T) {
				t.Parallel()
				s := start(t, func(c *server.Config) {
					c.Engine.History = history
					change(c)
				})
				ticket := leave(t, s, "ann", "a-topic-of-30-bytes-or-a-bit-so")
				leave(t, s, "ann", "news")
				gone := func(p *phone) {
					_ = p.conn.Close()
					await(t, "the client to be gone", func() bool { return s.Gateway().Stats().Sessions.Attached == 0 })
				}
				for range 2 { // a client that says nothing may have heard nothing
					p, next := resume(t, s, ticket)
					if len(history.Rules) > 0 {
						p.wantGap("")
					}
					gone(p)
					ticket = next
				}
				p, next := resume(t, s, ticket)
				if len(history.Rules) > 0 {
					p.wantGap("")
				}
				p.write(request(1, "sluice.Echo", `"x"`))
				p.wantReply(1)
				gone(p)
				p, _ = resume(t, s, next)
				p.write(request(2, "sluice.Echo", `"x"`))
				p.wantReply(2)
			})
		}
	}
}
