package link

import (
	"slices"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A live is what of Config may change while the Hub runs. It is replaced as a whole.
type live struct {
	idle, firstByte, writeTimeout, proofTimeout time.Duration

	maxPacket, maxUnproven int

	given    []Limit // of which limits are made
	limits   []*limiter
	limiters [gateway.MaxWorker + 1]*limiter // by worker id
}

// liveOf takes from c, whose defaults are filled in, what may change. A limit that was there before,
// if there was a before, stays what it is: with its rate, which a worker may have changed, and with
// the messages that it has let through.
func liveOf(c *Config, before *live) *live {
	n := &live{
		idle: c.Idle, firstByte: c.FirstByte, writeTimeout: c.WriteTimeout, proofTimeout: c.ProofTimeout,
		maxPacket: c.MaxPacket, maxUnproven: c.MaxUnproven, given: slices.Clone(c.Limits),
	}
	for _, l := range c.Limits {
		lim := newLimiter(l)
		if before != nil {
			if i := slices.IndexFunc(before.given, l.same); i >= 0 {
				lim = before.limits[i]
			}
		}
		n.limits = append(n.limits, lim)
		for _, id := range l.Workers {
			n.limiters[id] = lim
		}
	}
	return n
}

func (l Limit) same(other Limit) bool {
	return l.Name == other.Name && l.Rate == other.Rate && slices.Equal(l.Workers, other.Workers)
}

// SetLive takes from c what may change while the Hub runs: Limits; Idle, FirstByte, WriteTimeout and
// ProofTimeout, from the next read or write on; MaxUnproven; and MaxPacket, of the links that come from
// then on. c has passed its Check. Any goroutine may call it, one at a time.
func (h *Hub) SetLive(c Config) {
	c = c.withDefaults()
	h.live.Store(liveOf(&c, h.live.Load()))
}
