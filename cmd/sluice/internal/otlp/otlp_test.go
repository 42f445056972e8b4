package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	trace "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/engine/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// A fake is a collector: it decodes what it is sent, and answers what it is told to.
type fake struct {
	mu      sync.Mutex
	batches []*collector.ExportTraceServiceRequest
	at      []time.Time
	answers []answer // of the requests to come; then 200
	stuck   chan struct{}
}

type answer struct {
	status int
	retry  string
	body   []byte
	err    error
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.stuck != nil {
		select {
		case <-f.stuck:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	m := new(collector.ExportTraceServiceRequest)
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, err
	}
	if r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("%s with %s", r.Method, r.Header)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, m)
	f.at = append(f.at, time.Now())
	a := answer{status: 200}
	if len(f.answers) > 0 {
		a, f.answers = f.answers[0], f.answers[1:]
	}
	if a.err != nil {
		return nil, a.err
	}
	header := http.Header{}
	if a.retry != "" {
		header.Set("Retry-After", a.retry)
	}
	return &http.Response{StatusCode: a.status, Header: header, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

func (f *fake) sizes() (list []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.batches {
		list = append(list, len(b.ResourceSpans[0].ScopeSpans[0].Spans))
	}
	return list
}

func exporter(f http.RoundTripper, log io.Writer) *Exporter {
	u, _ := url.Parse("http://user:the-password@collector.example:4318/v1/traces?key=the-key")
	return New(Config{
		URL: u, Header: http.Header{"Api-Key": {"the-header"}}, Resource: map[string]string{"service.name": "sluice"},
		Version: "v1", Logger: slog.New(slog.NewTextHandler(log, nil)), transport: f,
	})
}

func span(n int) *server.Span {
	now := time.Now()
	return &server.Span{Kind: server.SpanRequest, TraceID: [16]byte{1, byte(n >> 8), byte(n)}, ID: [8]byte{2}, Begun: now, Ended: now,
		Protocol: "gosoc", Route: "chat.Say", HasRoute: true, WantsReply: true}
}

// Batches are full, or a second old.
func TestBatches(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var f fake
		e := exporter(&f, t.Output())
		begun := time.Now()
		for i := range maxBatch + 10 {
			e.End(span(i))
		}
		synctest.Wait()
		if got := fmt.Sprint(f.sizes()); got != fmt.Sprintf("[%d]", maxBatch) {
			t.Errorf("batches of %s at once", got)
		}
		time.Sleep(batchEvery - time.Millisecond)
		synctest.Wait()
		if n := len(f.sizes()); n != 1 {
			t.Errorf("%d batches before a second is over", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := fmt.Sprint(f.sizes()); got != fmt.Sprintf("[%d 10]", maxBatch) || f.at[1].Sub(begun) != batchEvery {
			t.Errorf("batches of %s, the last after %v", got, f.at[1].Sub(begun))
		}
		e.End(span(1))
		e.Close(t.Context()) // sends the rest at once
		if got := fmt.Sprint(f.sizes()); got != fmt.Sprintf("[%d 10 1]", maxBatch) {
			t.Errorf("batches of %s at the end", got)
		}
		if sent, dropped, lost := e.Stats(); sent != maxBatch+11 || dropped != 0 || lost != 0 {
			t.Errorf("%d sent, %d dropped, %d lost", sent, dropped, lost)
		}
	})
}

// A collector that does not answer costs spans, which are counted, and nobody any time.
func TestNeverWaits(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		f := fake{stuck: make(chan struct{})}
		var log bytes.Buffer
		e := exporter(&f, &log)
		begun := time.Now()
		const n = 3 * maxQueue
		for i := range n {
			e.End(span(i))
		}
		if time.Since(begun) != 0 {
			t.Errorf("End has taken %v", time.Since(begun))
		}
		_, dropped, _ := e.Stats()
		if dropped < n-maxQueue-maxBatch-1 || dropped > n-maxQueue {
			t.Errorf("%d dropped of %d", dropped, n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		e.Close(ctx)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("the end has taken %v", took)
		}
		sent, dropped, lost := e.Stats()
		if sent != 0 || dropped+lost != n || lost == 0 {
			t.Errorf("%d sent, %d dropped, %d lost of %d", sent, dropped, lost, n)
		}
		if text := log.String(); strings.Contains(text, "the-password") || strings.Contains(text, "the-key") || strings.Contains(text, "the-header") ||
			!strings.Contains(text, "spans of traces were lost") || strings.Count(text, "\n") > 2 {
			t.Errorf("the log: %s", text)
		}
	})
}

// What collectors answer: which answers are tried again, when, and how often.
func TestAnswers(t *testing.T) {
	partial, err := proto.Marshal(&collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		answers []answer
		tries   int
		took    time.Duration
		sent    uint64
		lost    uint64
	}{
		{"yes", nil, 1, 0, 2, 0},
		{"yes, with text that is no answer", []answer{{status: 200, body: []byte("<html>")}}, 1, 0, 2, 0},
		{"one of two rejected", []answer{{status: 200, body: partial}}, 1, 0, 1, 1},
		{"busy once", []answer{{status: 503}}, 2, firstPause, 2, 0},
		{"busy, come again", []answer{{status: 429, retry: "3"}}, 2, 3 * time.Second, 2, 0},
		{"busy, come tomorrow", []answer{{status: 429, retry: "86400"}}, 2, maxPause, 2, 0},
		{"busy, come at a date", []answer{{status: 503, retry: "Wed, 21 Oct 2015 07:28:00 GMT"}}, 2, firstPause, 2, 0},
		{"not reached once", []answer{{err: errors.New("connection refused")}}, 2, firstPause, 2, 0},
		{"busy for ever", []answer{{status: 502}, {status: 503}, {status: 504}, {status: 429}, {status: 429}}, 4, 7 * firstPause, 0, 2},
		{"no", []answer{{status: 400}}, 1, 0, 0, 2},
		{"no such path", []answer{{status: 404}}, 1, 0, 0, 2},
		{"broken", []answer{{status: 500}}, 1, 0, 0, 2},
		{"elsewhere", []answer{{status: 307}}, 1, 0, 0, 2},
	} {
		faketime.Test(t, func(t *testing.T) {
			f := fake{answers: tt.answers}
			e := exporter(&f, t.Output())
			e.End(span(1))
			e.End(span(2))
			time.Sleep(time.Minute)
			synctest.Wait()
			sent, _, lost := e.Stats()
			if len(f.at) != tt.tries || sent != tt.sent || lost != tt.lost {
				t.Errorf("%s: %d tries, %d sent, %d lost", tt.name, len(f.at), sent, lost)
			} else if took := f.at[len(f.at)-1].Sub(f.at[0]); took != tt.took {
				t.Errorf("%s: the last try came after %v, want %v", tt.name, took, tt.took)
			}
			e.Close(t.Context())
		})
	}
}

func attributes(list []*common.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			m[kv.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return m
}

// What spans say, over a real connection.
func TestSpans(t *testing.T) {
	var f fake
	collecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Api-Key") != "k v" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		resp, err := f.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(resp.StatusCode)
	}))
	defer collecting.Close()
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": collecting.URL, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=k%20v",
		"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other", "OTEL_SERVICE_NAME": "edge",
	}
	c, err := FromEnv("", func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	c.Version = "v1"
	e := New(*c)
	begun := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	login := &server.Span{
		Kind: server.SpanLogin, TraceID: [16]byte{1}, ID: [8]byte{2}, Begun: begun, Ended: begun.Add(time.Second), Protocol: "longbridge",
		Status: 1, Failure: "refused",
	}
	request := span(1)
	request.Parent, request.Begun, request.Ended = [8]byte{9}, begun, begun.Add(time.Millisecond)
	request.Peer, request.UniqID, request.User, request.Worker = netip.MustParseAddrPort("192.0.2.1:5"), "00ID", "ann", 3
	late := &server.Span{Kind: server.SpanRequest, TraceID: [16]byte{1}, ID: [8]byte{3}, Begun: begun, Ended: begun, Protocol: "longbridge", Cmd: 10,
		Status: 1, Failure: "timeout", Message: "no answer in time"}
	for _, s := range []*server.Span{login, request, late} {
		e.End(s)
	}
	e.Close(t.Context())
	if n, _, lost := e.Stats(); n != 3 || lost != 0 || len(f.batches) != 1 {
		t.Fatalf("%d sent, %d lost, in %d batches", n, lost, len(f.batches))
	}
	rs := f.batches[0].ResourceSpans[0]
	if got := attributes(rs.Resource.Attributes); got["service.name"] != "edge" || got["service.version"] != "v1" || got["deployment.environment.name"] != "test" {
		t.Errorf("resource %v", got)
	}
	for i, want := range []struct {
		name, attributes, parent string
		code                     trace.Status_StatusCode
		message                  string
		flags                    uint32
		nanos                    uint64
	}{
		{"login", "map[error.type:refused network.protocol.name:longbridge network.transport:unix]", "", trace.Status_STATUS_CODE_ERROR, "refused", 0x101, 1e9},
		{"chat.Say", "map[client.address:192.0.2.1 client.port:5 network.protocol.name:gosoc network.transport:tcp rpc.method:chat.Say " +
			"rpc.response.status_code:0 rpc.system.name:gosoc sluice.request.payload_size:0 sluice.uniq_id:00ID sluice.worker.id:3 user.id:ann]",
			"0900000000000000", trace.Status_STATUS_CODE_UNSET, "", 0x301, 1e6},
		{"cmd:10", "map[error.type:timeout network.protocol.name:longbridge network.transport:unix rpc.method:cmd:10 rpc.response.status_code:1 " +
			"rpc.system.name:longbridge sluice.request.no_reply:true sluice.request.payload_size:0]", "", trace.Status_STATUS_CODE_ERROR, "no answer in time", 0x101, 0},
	} {
		s := rs.ScopeSpans[0].Spans[i]
		if got := fmt.Sprint(attributes(s.Attributes)); s.Name != want.name || got != want.attributes {
			t.Errorf("%s: %s", s.Name, got)
		}
		if s.Kind != trace.Span_SPAN_KIND_SERVER || s.Status.Code != want.code || s.Status.Message != want.message || s.Flags != want.flags ||
			fmt.Sprintf("%x", s.ParentSpanId) != want.parent || len(s.TraceId) != 16 || len(s.SpanId) != 8 ||
			s.StartTimeUnixNano != uint64(begun.UnixNano()) || s.EndTimeUnixNano-s.StartTimeUnixNano != want.nanos {
			t.Errorf("%s: %v", want.name, s)
		}
	}
}

// Routes that nobody knows make no names without end.
func TestNames(t *testing.T) {
	t.Parallel()
	var n names
	seen := make(map[string]bool)
	ask := func(route, failure string) string {
		method, known := n.method(&server.Span{Route: route, HasRoute: true, WantsReply: true, Failure: failure})
		if known != (method != otherMethod) {
			t.Errorf("%s: %s, %v", route, method, known)
		}
		seen[method] = true
		return method
	}
	for i := range 100_000 {
		ask(fmt.Sprint("nonsense.", i), "4")
	}
	if len(seen) != maxOther+1 {
		t.Errorf("%d names of routes that were never answered", len(seen))
	}
	if got := ask("chat.Say", "timeout"); got != otherMethod {
		t.Errorf("a route that was never answered is %s", got)
	}
	if got := ask("chat.Say", ""); got != "chat.Say" {
		t.Errorf("a route that was answered is %s", got)
	}
	if got := ask("chat.Say", "timeout"); got != "chat.Say" {
		t.Errorf("a route that was answered before is %s", got)
	}
	if got := ask("", ""); got != otherMethod {
		t.Errorf("no route is %s", got)
	}
	for i := range 100_000 {
		ask(fmt.Sprint("good.", i), "")
	}
	if len(seen) != maxOther+1+maxGood {
		t.Errorf("%d names in all", len(seen))
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, tt := range []struct {
		name, flag string
		env        map[string]string
		url, says  string // an error
	}{
		{"nothing", "", nil, "", ""},
		{"flag", "http://127.0.0.1:4318", nil, "http://127.0.0.1:4318/v1/traces", ""},
		{"flag with a path", "https://x.example/otlp/", nil, "https://x.example/otlp/v1/traces", ""},
		{"flag with the whole path", "http://127.0.0.1:4318/v1/traces", nil, "http://127.0.0.1:4318/v1/traces", ""},
		{"flag above the environment", "http://a:1", map[string]string{endpoint: "http://b:1"}, "http://a:1/v1/traces", ""},
		{"flag says none", "none", map[string]string{endpoint: "http://b:1"}, "", ""},
		{"environment", "", map[string]string{endpoint: "http://b:1/"}, "http://b:1/v1/traces", ""},
		{"environment of traces", "", map[string]string{endpoint: "http://b:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "http://c:1/x", ""},
		{"disabled", "", map[string]string{endpoint: "http://b:1", "OTEL_SDK_DISABLED": "TRUE"}, "", ""},
		{"no traces", "", map[string]string{endpoint: "http://b:1", "OTEL_TRACES_EXPORTER": "none"}, "", ""},
		{"gRPC", "", map[string]string{endpoint: "http://b:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\""},
		{"gRPC, and nowhere to go", "", map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", ""},
		{"no URL", "", map[string]string{endpoint: "user:secret@b"}, "", endpoint + ": want http"},
		{"no URL in the flag", "127.0.0.1:4318", nil, "", "--otlp: want http"},
		{"headers", "http://a:1", map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=b,secret"}, "", "number 2"},
		{"header that is none", "http://a:1", map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=secret%0a"}, "", "none of HTTP"},
		{"attributes", "http://a:1", map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "=secret"}, "", "OTEL_RESOURCE_ATTRIBUTES: want"},
		{"timeout", "http://a:1", map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "", "OTEL_EXPORTER_OTLP_TIMEOUT: \"soon\""},
		{"authorities", "http://a:1", map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, "", "OTEL_EXPORTER_OTLP_CERTIFICATE: "},
	} {
		c, err := FromEnv(tt.flag, func(name string) string { return tt.env[name] })
		switch {
		case tt.says != "":
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.says)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case (c == nil) != (tt.url == "") || c != nil && c.URL.String() != tt.url:
			t.Errorf("%s: %+v, want %q", tt.name, c, tt.url)
		}
	}
}

// TestFromEnvTellsAll: all mistakes are told at once.
func TestFromEnvTellsAll(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":    "b:1",
		"OTEL_EXPORTER_OTLP_PROTOCOL":    "grpc",
		"OTEL_EXPORTER_OTLP_HEADERS":     "bad",
		"OTEL_RESOURCE_ATTRIBUTES":       "bad",
		"OTEL_EXPORTER_OTLP_TIMEOUT":     "-5",
		"OTEL_EXPORTER_OTLP_CERTIFICATE": "/none",
	}
	c, err := FromEnv("", func(name string) string { return env[name] })
	if c != nil || err == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	for name := range env {
		if strings.Count(err.Error(), name) != 1 {
			t.Errorf("%v, want a mistake of %s in it", err, name)
		}
	}
}
