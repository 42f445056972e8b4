package server

import (
	"cmp"
	"fmt"

	"github.com/sluicenet/sluice/engine/internal/budget"
	"github.com/sluicenet/sluice/internal/bytesize"
)

// LeastMemory is the smallest Config.Memory, in bytes: a gateway without clients takes a third of it.
const LeastMemory = 64 << 20

// MemoryShares are the limits that Config.Memory sets in proportion, where they are zero, in bytes.
// With 1 GiB they are what they are without it. A sixty-fourth is 256 MiB at most.
type MemoryShares struct {
	BacklogTotal  int64 // a quarter; Engine.BacklogTotal
	SessionTotal  int64 // a sixteenth; Gateway.SessionTotal
	WorkerQueue   int   // a sixty-fourth, for each worker; Worker.Queue
	WorkerDelayed int   // a sixty-fourth, for each worker, four times as many in all; Worker.Delayed
	Lag           int   // a sixty-fourth, for each client; Engine.Lag
	HistoryTotal  int64 // a quarter; Engine.History.Total, where topics have history
}

// largestShare bounds the shares that are for each client or worker: more would only be delay.
const largestShare = 256 << 20

// ShareMemory returns the shares of so many bytes.
func ShareMemory(memory int64) MemoryShares {
	each := int(min(memory/64, largestShare))
	return MemoryShares{
		BacklogTotal: memory / 4, SessionTotal: memory / 16,
		WorkerQueue: each, WorkerDelayed: each, Lag: each, HistoryTotal: memory / 4,
	}
}

const (
	// countedQueues is for how many workers that do not read there must be room.
	countedQueues = 4
	// delayedTotal is how many times Worker.Delayed all links may have.
	delayedTotal = 4
)

// Sum returns the bytes that the shares may come to, with the queues of four workers that do not
// read. Lag is part of BacklogTotal.
func (m MemoryShares) Sum() int64 {
	return m.BacklogTotal + m.SessionTotal + countedQueues*int64(m.WorkerQueue) + delayedTotal*int64(m.WorkerDelayed) + m.HistoryTotal
}

// MemoryShares returns the shares that are in force in c; zero fields have their defaults.
func (c *Config) MemoryShares() MemoryShares {
	d := ShareMemory(cmp.Or(c.Memory, 1<<30))
	history := cmp.Or(max(c.Engine.History.Total, 0), d.HistoryTotal)
	if len(c.Engine.History.Rules) == 0 {
		history = 0
	}
	return MemoryShares{
		BacklogTotal:  cmp.Or(max(c.Engine.BacklogTotal, 0), d.BacklogTotal),
		SessionTotal:  cmp.Or(max(c.Gateway.SessionTotal, 0), d.SessionTotal),
		WorkerQueue:   cmp.Or(max(c.Worker.Queue, 0), d.WorkerQueue),
		WorkerDelayed: cmp.Or(max(c.Worker.Delayed, 0), d.WorkerDelayed),
		Lag:           cmp.Or(max(c.Engine.Lag, 0), d.Lag),
		HistoryTotal:  history,
	}
}

// A size is in bytes, and reads as people write it.
type size int64

func (n size) String() string {
	count, unit := bytesize.Units(int64(n))
	return fmt.Sprint(count, cmp.Or(unit, " bytes"))
}

// CheckMemory says what is wrong with Config.Memory, or the limits beside it: they may have three
// quarters of it. The rest is for connections, the program and garbage. Nil without Config.Memory. New
// asks it, too.
func (c *Config) CheckMemory() error {
	if c.Memory == 0 {
		return nil
	}
	if c.Memory < LeastMemory {
		return fmt.Errorf("%d bytes, want %d or more", c.Memory, LeastMemory)
	}
	m := c.MemoryShares()
	if sum, most := m.Sum(), c.Memory/4*3; sum > most {
		return fmt.Errorf("%v, of which the limits may have three quarters, %v: backlog total %v, session total %v, "+
			"queues of %d workers %v, delayed messages %v, history total %v: %v in all",
			size(c.Memory), size(most), size(m.BacklogTotal), size(m.SessionTotal), countedQueues, countedQueues*size(m.WorkerQueue),
			delayedTotal*size(m.WorkerDelayed), size(m.HistoryTotal), size(sum))
	}
	if backlog := int64(cmp.Or(c.Engine.Backlog, 1<<20)); backlog > m.BacklogTotal {
		return fmt.Errorf("%v, which leaves %v for what all clients have unsent: less than the %v that one may have",
			size(c.Memory), size(m.BacklogTotal), size(backlog))
	}
	return nil
}

// shareMemory fills in the limits that Config.Memory sets.
func (c *Config) shareMemory() {
	if c.Memory == 0 {
		return
	}
	m := c.MemoryShares()
	c.Engine.BacklogTotal, c.Engine.Lag = m.BacklogTotal, m.Lag
	c.Gateway.SessionTotal = m.SessionTotal
	c.Worker.Queue, c.Worker.Delayed = m.WorkerQueue, m.WorkerDelayed
	c.Engine.History.Total = m.HistoryTotal
}

// keepWithin has s keep within Config.Memory, if that is set. used returns how much is used, nil: what
// the process does.
func (s *Server) keepWithin(used func() int64) {
	if s.config.Memory == 0 {
		return
	}
	meter := budget.NewMeter(s.kept)
	if used == nil {
		used = meter.Used
	}
	s.memory = budget.New(budget.Config{
		Limit:        s.config.Memory,
		Used:         used,
		Refuse:       s.engine.RefuseNew,
		TrimSessions: s.gateway.TrimSessions,
		TrimHistory:  func(part int) int { return s.engine.History().Trim(part, s.engine.Now()) },
		Squeeze:      s.engine.Squeeze,
		Collect:      meter.Collect,
		Logger:       s.gateway.Log(),
	})
	if s.admin != nil {
		s.admin.SetMemory(s.memory)
	}
}

// kept returns the bytes that are on the gateway's accounts.
func (s *Server) kept() (n int64) {
	st := s.engine.Stats()
	for _, bytes := range st.Accounts {
		n += bytes
	}
	return n
}
