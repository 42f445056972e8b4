package server

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/login"
)

// spans are what a Tracer was told.
type spans struct {
	mu   sync.Mutex
	list []*Span
}

func (s *spans) End(span *Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, span)
}

// of waits until n spans of a kind have ended and returns them.
func (s *spans) of(t *testing.T, kind SpanKind, n int) []*Span {
	t.Helper()
	var found []*Span
	waitUntil(t, fmt.Sprintf("%d spans of kind %d", n, kind), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		found = slices.DeleteFunc(slices.Clone(s.list), func(span *Span) bool { return span.Kind != kind })
		return len(found) >= n
	})
	if len(found) != n {
		t.Errorf("%d spans of kind %d, want %d", len(found), kind, n)
	}
	return found
}

const (
	aTraceID = "0af7651916cd43dd8448eb211c80319c"
	aParent  = "b7ad6b7169203331"
	aTrace   = "00-" + aTraceID + "-" + aParent + "-01"
)

// dialTraced logs in as ann, with a traceparent unless that is empty.
func dialTraced(t *testing.T, addr, traceparent string) gosocPeer {
	t.Helper()
	c := gosocPeer{dial(t, addr)}
	payload := fmt.Appendf(nil, `{"token":"ann","traceparent":%q}`, traceparent)
	c.write(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: payload}))
	if h, body := c.next(); h.Type != gosoc.TypeConnAck || body[1] != 0 {
		t.Fatalf("got %v %x", h.Type, body)
	}
	return c
}

// TestTraceOfAClient: what a client says at its login is the parent of the spans of its login and its
// requests, and whoever serves them is told the spans' own ids.
func TestTraceOfAClient(t *testing.T) {
	var got spans
	told := make(chan string, 10)
	config := base()
	config.Gateway.Tracer = &got
	config.Dev = true
	_, addr := begin(t, config, func(s *Server) {
		_ = s.Handle("told", func(r *Request) { told <- string(r.AppendTraceparent(nil)); r.Reply([]byte("{}")) })
		_ = s.Handle("fails", func(r *Request) { r.Fail(StatusError, "no") })
	})
	c := dialTraced(t, addr, aTrace)
	c.ask("told", "{}")
	c.wantReply("{}")
	c.ask("fails", "{}")
	c.next()
	c.ask("told", "{}")
	c.wantReply("{}")
	all := append(got.of(t, SpanLogin, 1), got.of(t, SpanRequest, 3)...)
	ids := make(map[[8]byte]bool)
	for _, s := range all {
		if fmt.Sprintf("%x", s.TraceID) != aTraceID || fmt.Sprintf("%x", s.Parent) != aParent {
			t.Errorf("span of %x, parent %x", s.TraceID, s.Parent)
		}
		if s.Protocol != "gosoc" || s.User != "ann" || len(s.UniqID) != 18 || !s.Peer.IsValid() || s.Ended.Before(s.Begun) ||
			time.Since(s.Begun) > time.Minute {
			t.Errorf("%+v", s)
		}
		ids[s.ID] = true
	}
	if len(ids) != 4 {
		t.Errorf("%d ids of 4 spans", len(ids))
	}
	if l := all[0]; l.Status != 0 || l.Failure != "" || l.How != "open" {
		t.Errorf("login: %+v", l)
	}
	if r := all[1]; r.Route != "told" || !r.HasRoute || !r.WantsReply || r.Payload != 2 || r.Status != 0 || r.Failure != "" {
		t.Errorf("request: %+v", r)
	}
	if r := all[2]; r.Route != "fails" || r.Status != StatusError || r.Failure != "refused" || r.Message != "no" {
		t.Errorf("a request that failed: %+v", r)
	}
	if text, want := receive(t, told), fmt.Sprintf("00-%s-%x-01", aTraceID, all[1].ID); text != want {
		t.Errorf("the handler is told %q, want %q", text, want)
	}
}

// TestTraceparents: what clients say that is no traceparent is ignored and counted; what is not to be
// recorded is passed on as it is.
func TestTraceparents(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		change     func(*GatewayConfig)
		want       string // what a handler is told; with a * for an id that the gateway has made
		spans, bad int
	}{
		{"nobody records", aTrace, func(c *GatewayConfig) { c.Tracer = nil }, aTrace, 0, 0},
		{"not sampled", strings.TrimSuffix(aTrace, "1") + "0", nil, strings.TrimSuffix(aTrace, "1") + "0", 0, 0},
		{"sampled", aTrace, nil, "00-" + aTraceID + "-*-01", 2, 0},
		{"no traceparent", "nonsense", nil, "", 0, 1},
		{"none", "", nil, "", 0, 0},
		{"sampling asked for", "", func(c *GatewayConfig) { c.TraceSample = 1 }, "00-*-*-01", 2, 0},
		{"sampling asked for, nobody records", "", func(c *GatewayConfig) { c.TraceSample, c.Tracer = 1, nil }, "00-*-*-01", 0, 0},
		{"sampling, and a client that wants none", strings.TrimSuffix(aTrace, "1") + "0", func(c *GatewayConfig) { c.TraceSample = 1 },
			strings.TrimSuffix(aTrace, "1") + "0", 0, 0},
		{"none of clients", aTrace, func(c *GatewayConfig) { c.TraceAsked = -1 }, aTrace, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got spans
			told := make(chan string, 1)
			config := base()
			config.Gateway.Tracer = &got
			if tt.change != nil {
				tt.change(&config.Gateway)
			}
			s, addr := begin(t, config, func(s *Server) {
				_ = s.Handle("told", func(r *Request) { told <- string(r.AppendTraceparent(nil)); r.Reply([]byte("{}")) })
			})
			c := dialTraced(t, addr, tt.said)
			c.ask("told", "{}")
			c.wantReply("{}")
			text := receive(t, told)
			begins, rest, wild := strings.Cut(tt.want, "*")
			_, ends, _ := strings.Cut("-*"+rest, "*")
			if !wild && text != tt.want || wild && (!strings.HasPrefix(text, begins) || !strings.HasSuffix(text, ends[strings.LastIndex(ends, "-"):]) || len(text) != 55) {
				t.Errorf("a handler is told %q, want %q", text, tt.want)
			}
			if wild && strings.Contains(text, aParent) {
				t.Errorf("a handler is told the client's span: %q", text)
			}
			got.of(t, SpanLogin, tt.spans/2)
			got.of(t, SpanRequest, tt.spans/2)
			if n := s.Gateway().Stats().BadTraceparents; n != uint64(tt.bad) {
				t.Errorf("%d traceparents that are none, want %d", n, tt.bad)
			}
		})
	}
}

// TestTraceSample: about so many requests begin a trace, each one of its own.
func TestTraceSample(t *testing.T) {
	var got spans
	config := base()
	config.Gateway.Tracer, config.Gateway.TraceSample = &got, 0.25
	_, addr := begin(t, config, func(s *Server) {
		_ = s.Handle("told", func(r *Request) { r.Reply([]byte("{}")) })
	})
	c := dialGOSOC(t, addr, "ann")
	const n = 2000
	for range n {
		c.ask("told", "{}")
		c.wantReply("{}")
	}
	traces := make(map[[16]byte]bool)
	got.mu.Lock()
	defer got.mu.Unlock()
	for _, s := range got.list {
		traces[s.TraceID] = true
		if s.Parent != [8]byte{} {
			t.Errorf("a trace that begins here has a parent: %x", s.Parent)
		}
	}
	if len(traces) != len(got.list) || len(traces) < n/4-120 || len(traces) > n/4+120 {
		t.Errorf("%d traces of %d spans, of %d requests", len(traces), len(got.list), n)
	}
}

// TestTraceAsked: clients have no more recorded than they may, and what is over is counted.
func TestTraceAsked(t *testing.T) {
	var got spans
	config := base()
	config.Engine.Loops = 1
	config.Gateway.Tracer, config.Gateway.TraceAsked = &got, 5
	s, addr := begin(t, config, func(s *Server) {
		_ = s.Handle("told", func(r *Request) { r.Reply([]byte("{}")) })
	})
	c := dialTraced(t, addr, aTrace)
	begun := time.Now()
	const n = 300
	for range n {
		c.ask("told", "{}")
		c.wantReply("{}")
	}
	most := 5 + 5*int(time.Since(begun)/time.Second+1)
	got.mu.Lock()
	defer got.mu.Unlock()
	if recorded, over := len(got.list), int(s.Gateway().Stats().TracesOver); recorded > most || recorded+over != n+1 {
		t.Errorf("%d spans and %d over, of %d", recorded, over, n+1)
	}
}

// TestTraceEnds: however a login or a request ends, its span does, once, and says why.
func TestTraceEnds(t *testing.T) {
	type want struct {
		kind             SpanKind
		failure, message string
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		play   func(t *testing.T, s *Server, addr string)
		want   []want
	}{
		{"a token that is not good", func(c *Config) { c.Gateway.Login = refusing{} }, func(t *testing.T, _ *Server, addr string) {
			c := connectGOSOC(t, addr, "bad")
			c.next()
			c.wantEnd()
		}, []want{{SpanLogin, "refused", ""}}},
		{"nobody answers in time", func(c *Config) { c.Gateway.RequestTimeout = 50 * time.Millisecond }, func(t *testing.T, _ *Server, addr string) {
			c := dialGOSOC(t, addr, "ann")
			c.ask("later", "{}")
			c.next()
		}, []want{{SpanLogin, "", ""}, {SpanRequest, "timeout", "no answer in time"}}},
		{"the client leaves", nil, func(t *testing.T, s *Server, addr string) {
			c := dialGOSOC(t, addr, "ann")
			c.ask("later", "{}")
			waitUntil(t, "the request", func() bool { return s.Gateway().Stats().Requests == 1 })
			c.Close()
		}, []want{{SpanLogin, "", ""}, {SpanRequest, "client-gone", ""}}},
		{"no worker comes", func(c *Config) { c.Gateway.WaitWorkers = 50 * time.Millisecond }, func(t *testing.T, _ *Server, addr string) {
			c := dialGOSOC(t, addr, "ann")
			c.ask("nobody", "{}")
			c.next()
		}, []want{{SpanLogin, "", ""}, {SpanRequest, "internal", "no worker"}}},
		{"the client leaves before a worker comes", func(c *Config) { c.Gateway.WaitWorkers = patience }, func(t *testing.T, s *Server, addr string) {
			c := dialGOSOC(t, addr, "ann")
			c.ask("nobody", "{}")
			waitUntil(t, "the request", func() bool { return s.Gateway().Stats().Waited == 1 })
			c.Close()
		}, []want{{SpanLogin, "", ""}, {SpanRequest, "client-gone", ""}}},
		{"no worker is waited for", func(c *Config) { c.Gateway.WaitWorkers = -1 }, func(t *testing.T, _ *Server, addr string) {
			c := dialGOSOC(t, addr, "ann")
			c.ask("nobody", "{}")
			c.next()
		}, []want{{SpanLogin, "", ""}, {SpanRequest, "internal", "no worker"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got spans
			config := base()
			config.Gateway.Tracer, config.Gateway.TraceSample = &got, 1
			if tt.change != nil {
				tt.change(&config)
			}
			s, addr := begin(t, config, func(s *Server) {
				_ = s.Handle("later", func(r *Request) { r.Defer() })
			})
			tt.play(t, s, addr)
			for i, w := range tt.want {
				n := 0
				for _, other := range tt.want {
					if other.kind == w.kind {
						n++
					}
				}
				if n != 1 {
					t.Fatal("one of each kind, please")
				}
				span := got.of(t, w.kind, 1)[0]
				if span.Failure != w.failure || span.Message != w.message || (span.Status == 0) != (w.failure == "" || w.failure == "client-gone") {
					t.Errorf("span %d: status %d, failure %q, message %q; want %q, %q", i, span.Status, span.Failure, span.Message, w.failure, w.message)
				}
			}
		})
	}
}

// A panic of a Tracer costs nobody anything.
type panickingTracer struct{}

func (panickingTracer) End(*Span) { panic("a tracer that panics") }

func TestTracerPanics(t *testing.T) {
	config := base()
	config.Gateway.Tracer, config.Gateway.TraceSample = panickingTracer{}, 1
	config.Gateway.Login = login.Open{}
	s, addr := begin(t, config, func(s *Server) {
		_ = s.Handle("told", func(r *Request) { r.Reply([]byte("{}")) })
	})
	c := dialGOSOC(t, addr, "ann")
	c.ask("told", "{}")
	c.wantReply("{}")
	if n := s.Gateway().Stats().Panics; n != 2 {
		t.Errorf("%d panics were counted, want 2", n)
	}
}
