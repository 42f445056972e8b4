package otlp

import (
	"maps"
	"slices"
	"strconv"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/slim/otlp/trace/v1"

	"github.com/sluicenet/sluice/engine/server"
)

// What spans say is named by OpenTelemetry's semantic conventions, those of RPC for requests. What these
// have no name for begins with "sluice.".

// request is a batch as it is sent.
func (e *Exporter) request(batch []*server.Span) *collector.ExportTraceServiceRequest {
	list := make([]*trace.Span, len(batch))
	for i, s := range batch {
		list[i] = e.span(s)
	}
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   e.fixed.Resource,
		ScopeSpans: []*trace.ScopeSpans{{Scope: e.fixed.ScopeSpans[0].Scope, Spans: list}},
	}}}
}

func resourceSpans(c *Config) *trace.ResourceSpans {
	r := new(resource.Resource)
	for _, k := range slices.Sorted(maps.Keys(c.Resource)) {
		r.Attributes = append(r.Attributes, text(k, c.Resource[k]))
	}
	if _, given := c.Resource["service.version"]; !given && c.Version != "" {
		r.Attributes = append(r.Attributes, text("service.version", c.Version))
	}
	scope := &common.InstrumentationScope{Name: "github.com/sluicenet/sluice", Version: c.Version}
	return &trace.ResourceSpans{Resource: r, ScopeSpans: []*trace.ScopeSpans{{Scope: scope}}}
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(value)}}}
}

// The flags of a span, of which it is known whether its parent is another process's.
const (
	sampled        = 1
	parentKnown    = uint32(trace.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	parentIsRemote = uint32(trace.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

func (e *Exporter) span(s *server.Span) *trace.Span {
	out := &trace.Span{
		TraceId: s.TraceID[:], SpanId: s.ID[:], Kind: trace.Span_SPAN_KIND_SERVER, Flags: sampled | parentKnown,
		StartTimeUnixNano: uint64(s.Begun.UnixNano()), EndTimeUnixNano: uint64(max(s.Ended.UnixNano(), s.Begun.UnixNano())),
		Status: new(trace.Status),
	}
	if s.Parent != [8]byte{} {
		out.ParentSpanId = s.Parent[:]
		out.Flags |= parentIsRemote
	}
	add := func(kv ...*common.KeyValue) { out.Attributes = append(out.Attributes, kv...) }
	add(text("network.protocol.name", s.Protocol))
	if s.Peer.IsValid() {
		add(text("network.transport", "tcp"), text("client.address", s.Peer.Addr().String()), number("client.port", int(s.Peer.Port())))
	} else {
		add(text("network.transport", "unix"))
	}
	if s.UniqID != "" {
		add(text("sluice.uniq_id", s.UniqID))
	}
	if s.User != "" {
		add(text("user.id", s.User))
	}
	switch s.Kind {
	case server.SpanLogin:
		out.Name = "login"
		if s.How != "" {
			add(text("sluice.login.method", s.How))
		}
	case server.SpanRequest:
		add(text("rpc.system.name", s.Protocol))
		method, known := e.names.method(s)
		out.Name = method
		if !known {
			out.Name = s.Protocol // as the conventions want it
			add(text("rpc.method_original", original(s)))
		}
		add(text("rpc.method", method), text("rpc.response.status_code", strconv.Itoa(s.Status)), number("sluice.request.payload_size", s.Payload))
		if s.Worker != 0 {
			add(number("sluice.worker.id", s.Worker))
		}
		if !s.WantsReply {
			add(&common.KeyValue{Key: "sluice.request.no_reply", Value: &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}})
		}
	}
	if s.Failure != "" {
		add(text("error.type", s.Failure))
		out.Status.Code, out.Status.Message = trace.Status_STATUS_CODE_ERROR, s.Message
		if s.Message == "" {
			out.Status.Message = s.Failure
		}
	}
	return out
}

// original is what a client has asked for.
func original(s *server.Span) string {
	if s.HasRoute {
		return s.Route
	}
	return "cmd:" + strconv.Itoa(int(s.Cmd))
}

// names are the methods that spans are named for. Routes are the clients' words, and whoever sums spans
// up by their names must not drown in them: a route is a method if it was answered with success once, or
// is one of the first that were not.
type names struct {
	good, other map[string]bool
}

const (
	maxGood  = 1000
	maxOther = 100
	// otherMethod is what the conventions call all others.
	otherMethod = "_OTHER"
)

// method returns the method of a request; known is false for one that is not told from others.
func (n *names) method(s *server.Span) (method string, known bool) {
	method = original(s)
	switch {
	case n.good[method] || n.other[method]:
		return method, true
	case method == "":
	case s.Failure == "" && s.WantsReply && len(n.good) < maxGood:
		keep(&n.good, method)
		return method, true
	case len(n.other) < maxOther:
		keep(&n.other, method)
		return method, true
	}
	return otherMethod, false
}

func keep(m *map[string]bool, name string) {
	if *m == nil {
		*m = make(map[string]bool)
	}
	(*m)[name] = true
}
