package gateway

import "github.com/sluicenet/sluice/engine"

// requestRates bound the requests a second of each client of a loop (Config.MaxRequestRate), with a
// burst of what a second allows. They know of a client only while it has used some of its burst, a
// second or two, so an idle client costs nothing.
type requestRates struct {
	// until is when a client will have its whole burst again, in us on the engine's clock. What was
	// not used for a second is over by then, so two maps take turns and the older is thrown away.
	until, before map[engine.Ref]int64
	turned        int64 // when they took turns, in us
}

const (
	rateWindow = 1_000_000 // us
	// rateCost is about what a client costs in one of the maps, in bytes.
	rateCost = 40
)

// allow takes a request of a client at now, in us, if rate a second allow one more. charge is told of
// the bytes that the maps take, as they change.
func (r *requestRates) allow(ref engine.Ref, now int64, rate int, charge func(bytes int64)) bool {
	if passed := now - r.turned; passed >= rateWindow {
		charge(-rateCost * int64(len(r.before)))
		r.before, r.until = r.until, nil
		if passed >= 2*rateWindow {
			charge(-rateCost * int64(len(r.before)))
			r.before = nil
		}
		r.turned = now
	}
	until, ok := r.until[ref]
	if !ok {
		until = r.before[ref]
	}
	until = max(until, now) + rateWindow/int64(rate)
	if until-now > rateWindow {
		return false
	}
	if !ok {
		charge(rateCost)
		if r.until == nil {
			r.until = make(map[engine.Ref]int64)
		}
	}
	r.until[ref] = until
	return true
}

// AllowRequest reports whether a client may send one more request now, or message for a worker, and
// counts those that it may not (Config.MaxRequestRate). It must be called on the client's loop.
func (g *Gateway) AllowRequest(c *engine.Conn) bool {
	rate := g.Config().MaxRequestRate
	if rate <= 0 {
		return true
	}
	rates := &g.scratch[c.Loop().Index()].rates
	if rates.allow(c.Ref(), c.Loop().Now()*1000, rate, g.chargeRates) {
		return true
	}
	g.stats.rateLimited.Add(1)
	return false
}

func (g *Gateway) chargeRates(n int64) { g.engine.Charge(engine.KindRequests, n) }
