package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A spanCollector takes spans as an OpenTelemetry collector does.
type spanCollector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*trace.Span
}

func startCollector(t *testing.T) *spanCollector {
	c := new(spanCollector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		m := new(collector.ExportTraceServiceRequest)
		if err != nil || proto.Unmarshal(body, m) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", r.URL, r.Header, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, rs := range m.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// wait returns the span of a name once it has come.
func (c *spanCollector) wait(p *process, name string) (found *trace.Span) {
	p.tb.Helper()
	p.await(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.spans {
			if s.Name == name {
				found = s
			}
		}
		return found != nil
	}, "the span "+name)
	if found == nil {
		p.tb.FailNow()
	}
	return found
}

func spanAttribute(s *trace.Span, name string) string {
	for _, kv := range s.Attributes {
		if kv.Key == name {
			if text := kv.Value.GetStringValue(); text != "" {
				return text
			}
			return fmt.Sprint(kv.Value.GetIntValue())
		}
	}
	return ""
}

// TestTracing: what a client says of its trace reaches the worker with the gateway's own span for a parent,
// and the collector has that span, a child of the client's.
func TestTracing(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	defer c.CloseClientConnections() // the gateway keeps one
	p := startNetsvr(t, "--otlp", c.URL, "--trace-sample", "0")
	l := p.workerServer(t, 1)
	const traceID, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const traceparent = "00-" + traceID + "-" + parent + "-01"
	wantSpan := func(name, told string) *trace.Span {
		t.Helper()
		s := c.wait(p, name)
		if fmt.Sprintf("%x", s.TraceId) != traceID || fmt.Sprintf("%x", s.ParentSpanId) != parent || s.Kind != trace.Span_SPAN_KIND_SERVER {
			t.Errorf("%s: %v", name, s)
		}
		if want := fmt.Sprintf("00-%s-%x-01", traceID, s.SpanId); told != "" && told != want {
			t.Errorf("%s: the worker is told %q, want %q", name, told, want)
		}
		return s
	}

	// Longbridge, in a request's own metadata.
	conn := p.dial(t, compact)
	conn.write(unhex("1209" + "0102000000010000000000" + "00" + "050a03616e6e")) // version 2; Auth
	_ = conn.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	metadata := "\x0btraceparent\x37" + traceparent
	conn.write([]byte("\x01\x64\x00\x00\x00\x07\x00\x00" + string([]byte{0, byte(len(metadata))}) + "\x00\x00\x02" + metadata + "{}"))
	r := l.event(workerRequest)
	l.send(workerReply, workerMsg(nil).text(1, r.text(1)).num(2, r.num(6)).num(3, 7).text(5, "broken"))
	s := wantSpan("cmd:100", r.text(16))
	if s.Status.Code != trace.Status_STATUS_CODE_ERROR || spanAttribute(s, "error.type") != "7" || spanAttribute(s, "user.id") != "ann" ||
		spanAttribute(s, "rpc.system.name") != "longbridge" || spanAttribute(s, "client.address") != "127.0.0.1" || spanAttribute(s, "sluice.worker.id") != "1" {
		t.Errorf("%v", s)
	}

	// GOSOC, at its login, for its login and all its requests.
	g := p.login(t, compact, fmt.Sprintf(`{"token":"bob","traceparent":%q}`, traceparent))
	wantSpan("login", "")
	g.write(compact.ask(1, "chat.Say", "{}"))
	r = l.event(workerRequest)
	l.reply(r, 0, `{"status":0}`)
	if s := wantSpan("chat.Say", r.text(16)); s.Status.Code == trace.Status_STATUS_CODE_ERROR || spanAttribute(s, "rpc.method") != "chat.Say" ||
		s.EndTimeUnixNano < s.StartTimeUnixNano || s.EndTimeUnixNano > s.StartTimeUnixNano+uint64(patience) {
		t.Errorf("%v", s)
	}

	// WebSocket, in the head of the upgrade; and what is no traceparent.
	for _, tt := range []struct{ header, target, want string }{
		{"traceparent: " + traceparent, "/gosoc", traceID},
		{"", "/gosoc?traceparent=" + traceparent, traceID},
		{"traceparent: " + traceparent + "\r\ntraceparent: " + traceparent, "/gosoc", ""},
		{"traceparent: 00-zz", "/gosoc", ""},
	} {
		ws := p.netsvrOpen(t, tt.target, tt.header)
		ws.write(netsvrFrame(0x82, compact.connect(0, token("eve"))))
		if _, _, err := ws.next(patience); err != nil {
			t.Fatal(err)
		}
		ws.write(netsvrFrame(0x82, compact.ask(2, "chat.Web", "{}")))
		r = l.event(workerRequest)
		l.reply(r, 0, `{"status":0}`)
		if got := r.text(16); (tt.want != "") != strings.Contains(got, traceID) || tt.want == "" && got != "" {
			t.Errorf("%s %s: the worker is told %q", tt.target, tt.header, got)
		}
		ws.hangUp()
	}
	if got := p.metric(t, "sluice_traceparents_invalid_total"); got != "2" {
		t.Errorf("%s traceparents are counted that are none, want 2", got)
	}
}

// TestTracingWithoutCollector: one that is away or hangs costs spans, and nobody any time; the end waits no
// longer than it must.
func TestTracingWithoutCollector(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); hangs.Close() })
	for name, at := range map[string]string{"away": "http://127.0.0.1:1", "hangs": hangs.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startDev(t, "--otlp", at)
			c := p.login(t, compact, token("ann"))
			var all []byte
			const n = 5000
			for i := range n {
				all = append(all, compact.ask(uint16(i), "sluice.Echo", "1")...)
			}
			go func() { _ = c.send(all) }()
			for i := range n {
				c.wantReply(uint16(i), `{"status":0,"data":1}`)
			}
			if dropped := p.metrics()[`sluice_spans_total{result="dropped"}`]; dropped == 0 || dropped > n {
				t.Errorf("%v spans were dropped of %d", dropped, n)
			}
			c.hangUp()
			begun := time.Now()
			p.terminate()
			if took := time.Since(begun); took > patience {
				t.Errorf("the end took %v", took)
			}
			if !strings.Contains(p.stderr.String(), "spans of traces were lost") {
				t.Error("the log does not know of lost spans")
			}
		})
	}
}

// TestAccessLogRotation: while the file is renamed and opened anew again and again, no line is lost, and
// none is in two files.
func TestAccessLogRotation(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	p := startDev(t, "--access-log", file, "--log-format", "json")
	const rotations, each = 5, 20
	want := make(map[string]bool)
	for i := range rotations {
		for range each {
			c := p.login(t, compact, "{}")
			want[c.conn.LocalAddr().String()] = true
			c.hangUp()
		}
		if err := os.Rename(file, fmt.Sprint(file, ".", i)); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGHUP)
		p.await(func() bool { _, err := os.Stat(file); return err == nil }, "the new file")
	}
	p.closeClients()
	p.terminate()
	connects, closes := make(map[string]int), make(map[string]int)
	names, err := filepath.Glob(file + "*")
	if err != nil || len(names) != rotations+1 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var m struct{ Event, Peer string }
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if m.Event == "connect" {
				connects[m.Peer]++
			} else {
				closes[m.Peer]++
			}
		}
	}
	for peer := range want {
		if connects[peer] != 1 || closes[peer] != 1 {
			t.Errorf("%s has %d connects and %d closes", peer, connects[peer], closes[peer])
		}
	}
	if len(connects) != len(want) || len(closes) != len(want) {
		t.Errorf("%d connects, %d closes, want %d", len(connects), len(closes), len(want))
	}
}

// TestAccessLogNeverBlocks: whatever becomes of where it goes, clients come and go, and lost lines are
// counted.
func TestAccessLogNeverBlocks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		open func(t *testing.T) (flag string)
	}{
		{"full disk", func(*testing.T) string { return "/dev/full" }},
		{"pipe that is not read any more", func(t *testing.T) string {
			name := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := os.OpenFile(name, os.O_RDWR, 0) // a reader that reads nothing
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			return name
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startDev(t, "--access-log", tt.open(t))
			const n = 2500 // more than pipe and buffer hold
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					for range n / 10 {
						c, err := p.open(t, compact)
						if err != nil {
							t.Error(err)
							return
						}
						_ = c.send(compact.connect(0, token(strings.Repeat("u", 250))))
						if _, err := c.conn.Read(make([]byte, 4)); err != nil {
							t.Error(err)
						}
						c.reset()
					}
				})
			}
			wg.Wait()
			p.await(func() bool { return p.metrics()["sluice_access_log_lines_dropped_total"] > 0 }, "lost lines to be counted")
			if status, _ := p.admin(t, "/livez"); status != 200 {
				t.Errorf("/livez: %d", status)
			}
			p.await(func() bool { return strings.Contains(p.stderr.String(), "lines of the access log are being lost") }, "a line that says so")
			begun := time.Now()
			p.closeClients()
			p.terminate()
			if took := time.Since(begun); took > patience {
				t.Errorf("the end took %v", took)
			}
			if log := p.stderr.String(); !strings.Contains(log, "lines of the access log were lost since the start") ||
				strings.Count(log, "are being lost") > 3 {
				t.Errorf("what the log says of lost lines:\n%s", tail(log))
			}
		})
	}
}
