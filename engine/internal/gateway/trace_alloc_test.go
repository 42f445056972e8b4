//go:build !race

package gateway_test

import (
	"testing"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/tracecontext"
	"github.com/sluicenet/sluice/engine/server"
)

// A recorder takes spans and keeps none.
type recorder struct{ n int }

func (r *recorder) End(*gateway.Span) { r.n++ }

// TestTracesAllocateNothing: a request costs no garbage for traces while nothing is recorded, whatever its
// client says of them, nor one that is not sampled where something is.
func TestTracesAllocateNothing(t *testing.T) {
	const unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	var spans recorder
	for _, tt := range []struct {
		name     string
		tracer   gateway.Tracer
		metadata map[string]string
		sample   float64
		most     float64
	}{
		{"nobody records", nil, nil, 0, 0},
		{"nobody records what is asked for", nil, map[string]string{"traceparent": unsampled[:54] + "1"}, 0, 0},
		{"not sampled", &spans, map[string]string{"traceparent": unsampled}, 1, 0},
		{"none asked for", &spans, nil, 0, 0},
		{"recorded", &spans, nil, 1, 8},
	} {
		s := start(t, func(c *server.Config) { c.Gateway.Tracer, c.Gateway.TraceSample = tt.tracer, tt.sample })
		var room [tracecontext.Size]byte
		if err := s.Handle("told", func(r *gateway.Request) { _ = r.AppendTraceparent(room[:0]) }); err != nil {
			t.Fatal(err)
		}
		measured := make(chan float64, 1)
		if err := s.Handle("measure", func(r *gateway.Request) {
			g, c, session := r.Gateway(), r.Conn(), r.Session()
			told := gateway.Request{Route: []byte("told"), Metadata: tt.metadata}
			g.Engine().TellLoop(c.Loop().Index(), func() {
				least := 1e9
				for range 5 { // others allocate now and then
					least = min(least, testing.AllocsPerRun(100, func() { g.Serve(c, session, told) }))
				}
				measured <- least
			})
		}); err != nil {
			t.Fatal(err)
		}
		p := online(t, s, "ann")
		before := spans.n
		p.write(request(1, "measure", ""))
		got := <-measured
		if got > tt.most || (spans.n > before+1) != (tt.most > 0) {
			t.Errorf("%s: %v allocations a request, want %v at most; %d spans", tt.name, got, tt.most, spans.n-before)
		}
	}
}
