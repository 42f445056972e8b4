package bench

// Counters are what a run counts from its first connection on. They only grow.
type Counters struct {
	Sent      uint64 `json:"sent"`      // deliveries owed, requests, or logins begun
	Delivered uint64 `json:"delivered"` // of them, each once and in order
	Lost      uint64 `json:"lost"`      // gaps, and what closed connections never got
	Late      uint64 `json:"late"`      // deliveries out of order or repeated, beside all others
	Published uint64 `json:"published,omitempty"`
	Refused   uint64 `json:"refused"`  // answers that say no, among the delivered
	Mismatch  uint64 `json:"mismatch"` // answers that are not the question, among the delivered

	Heard  uint64 `json:"heard,omitempty"`  // deliveries beside churn
	Missed uint64 `json:"missed,omitempty"` // gaps in them

	Logins  uint64 `json:"logins"`
	Failed  uint64 `json:"failed"` // connections that did not come up
	Closed  uint64 `json:"closed"` // connections that were up and that the gateway closed
	BytesIn uint64 `json:"bytes_in"`
}

func (c *Counters) add(o Counters) {
	c.Sent += o.Sent
	c.Delivered += o.Delivered
	c.Lost += o.Lost
	c.Late += o.Late
	c.Published += o.Published
	c.Refused += o.Refused
	c.Mismatch += o.Mismatch
	c.Heard += o.Heard
	c.Missed += o.Missed
	c.Logins += o.Logins
	c.Failed += o.Failed
	c.Closed += o.Closed
	c.BytesIn += o.BytesIn
}

// sub is what was counted since o.
func (c Counters) sub(o Counters) Counters {
	c.Sent -= o.Sent
	c.Delivered -= o.Delivered
	c.Lost -= o.Lost
	c.Late -= o.Late
	c.Published -= o.Published
	c.Refused -= o.Refused
	c.Mismatch -= o.Mismatch
	c.Heard -= o.Heard
	c.Missed -= o.Missed
	c.Logins -= o.Logins
	c.Failed -= o.Failed
	c.Closed -= o.Closed
	c.BytesIn -= o.BytesIn
	return c
}
