package engine

import (
	"math"
	"time"

	"github.com/sluicenet/sluice/engine/internal/rate"
)

// A Rate is something that one connection may have so much of a second, and at once. Where that is
// too much, the connection's input is left unhandled until it may have more (Conn.Spend), so that TCP
// holds its peer back and nobody else waits, or what came is refused (Conn.Take).
type Rate uint8

// The rates.
const (
	RatePackets  Rate = iota // Config.MaxPacketRate
	RateBytes                // Config.MaxByteRate
	RateRequests             // of protocols
	RateInflated             // of protocols: bytes that come out of a compression

	numRates
)

var rateNames = [numRates]string{
	RatePackets:  "packets",
	RateBytes:    "bytes",
	RateRequests: "requests",
	RateInflated: "inflated",
}

// String returns the name used in counters and logs.
func (m Rate) String() string {
	if m < numRates {
		return rateNames[m]
	}
	return "unknown"
}

// Rates lists every Rate, for reports.
func Rates() []Rate {
	all := make([]Rate, numRates)
	for i := range all {
		all[i] = Rate(i)
	}
	return all
}

// rates are a loop's. They know of a connection only while it has used something within the last
// second or two.
type rates struct {
	table      rate.Table[rateKey]
	packetRate int // in force; 0: none
	byteRate   int

	counted int // packets that the handler under way has told CountPackets of
	packets int // and SpendPackets
	allowed int // of these

	throttled []throttle
	lookedAt  int64 // ms, when all of throttled were looked at last
	loggedAt  int64 // ms, when the log was told last
}

// A throttle is a connection with flagThrottled.
type throttle struct {
	ref Ref
	due int64 // ms, when it is worth a look
}

// A rateKey is a connection's slot, generation and Rate.
type rateKey uint64

func (c *Conn) rateKey(m Rate) rateKey {
	return rateKey(c.gen)<<34 | rateKey(c.slot)<<2 | rateKey(m)
}

const (
	// rateCost is about what a bucket costs, in bytes.
	rateCost = 40
	// A throttled connection is looked at in steps of throttleStep, so that some packets may go at a
	// time, and at least once in throttleLook, so that its buckets are not forgotten.
	throttleStep = 10  // ms
	throttleLook = 500 // ms
)

// rateNow is the loop's clock as buckets have it.
func (l *Loop) rateNow() int64 { return (l.now + 1) * 1_000_000 }

// Take takes n of m if the connection has not had perSecond, which is above 0, of it within the last
// second. It reports false, and counts that, when it has.
func (c *Conn) Take(m Rate, n, perSecond int) bool {
	l := c.loop
	before := l.rates.table.Len()
	ok := l.rates.table.Take(c.rateKey(m), l.rateNow(), n, perSecond)
	l.chargeRates(before)
	if !ok {
		l.stats.overRate[m].Add(1)
	}
	return ok
}

// Spend takes n of m, of which the connection may have perSecond, above 0, also if that is more than
// it may have. Then its input is left unhandled until it may, which is counted. It returns how long
// that is, 0 for not at all.
func (c *Conn) Spend(m Rate, n, perSecond int) time.Duration {
	if n <= 0 || !c.Open() {
		return 0
	}
	l, key := c.loop, c.rateKey(m)
	return l.spend(c, m, key, l.rates.table.At(key, l.rateNow()), n, perSecond)
}

// spend is Spend once the bucket is known.
func (l *Loop) spend(c *Conn, m Rate, key rateKey, b rate.Bucket, n, perSecond int) time.Duration {
	t, now := &l.rates.table, l.rateNow()
	before := t.Len()
	wait := time.Duration(b.Spend(now, n, perSecond))
	t.Put(key, now, b)
	l.chargeRates(before)
	if wait > 0 {
		l.stats.overRate[m].Add(1)
		l.throttle(c, m, wait)
	}
	return wait
}

// throttle leaves c's input unhandled for a while.
func (l *Loop) throttle(c *Conn, m Rate, wait time.Duration) {
	due := l.now + max(wait.Milliseconds()+1, throttleStep)
	t := &l.rates
	if c.flags&flagThrottled == 0 { // else its time is looked at anew when the former is over
		if len(t.throttled) == 0 {
			t.lookedAt = l.now
		}
		c.flags |= flagThrottled
		t.throttled = append(t.throttled, throttle{c.Ref(), due})
		l.tickIn(min(due-l.now, throttleLook))
	}
	if l.now-t.loggedAt >= 1000 || t.loggedAt == 0 {
		t.loggedAt = l.now
		l.logThrottle(c, m, wait)
	}
}

// logThrottle says which of the loop's clients are over their rates. A panic of Config.Describe costs
// the line.
func (l *Loop) logThrottle(c *Conn, m Rate, wait time.Duration) {
	defer l.caught("the line of a throttle")
	protocol, id := l.engine.describe(c)
	l.engine.log.Info("a client is over its rate: it is not read for a while", "limit", m.String(),
		"protocol", protocol, "peer", c.LogPeer(), "uniqId", id, "pauseMs", wait.Milliseconds(),
		"throttled", len(l.rates.throttled))
}

// wakeThrottled has the input of those handled whose time has come.
func (l *Loop) wakeThrottled() {
	t := &l.rates
	if len(t.throttled) == 0 {
		return
	}
	all := l.now-t.lookedAt >= throttleLook
	if all {
		t.lookedAt = l.now
	}
	before, next := t.table.Len(), int64(math.MaxInt64)
	kept := t.throttled[:0]
	for _, p := range t.throttled {
		c := l.conn(p.ref)
		if c == nil || !c.Open() {
			continue
		}
		if all || p.due <= l.now {
			wait := l.overdrawn(c)
			if wait == 0 {
				c.flags &^= flagThrottled
				l.resume(c)
				continue
			}
			p.due = l.now + max(wait/1_000_000+1, throttleStep)
		}
		next = min(next, p.due)
		kept = append(kept, p)
	}
	t.throttled = kept
	l.chargeRates(before)
	if len(kept) > 0 {
		l.tickIn(min(max(next-l.now, throttleStep), throttleLook))
	} else if cap(kept) > chunkSize {
		t.throttled = nil
	}
}

// overdrawn returns for how many ns yet c has used more than it may have, and keeps the buckets that
// say so.
func (l *Loop) overdrawn(c *Conn) (wait int64) {
	now := l.rateNow()
	for m := range numRates {
		key := c.rateKey(m)
		if b := l.rates.table.At(key, now); int64(b)-now > rate.Window {
			wait = max(wait, int64(b)-now-rate.Window)
			l.rates.table.Put(key, now, b)
		}
	}
	return wait
}

// forgetRates lets go of buckets that are full again.
func (l *Loop) forgetRates() {
	if n := l.rates.table.Len(); n > 0 {
		l.rates.table.Forget(l.rateNow())
		l.chargeRates(n)
	}
}

// dropRates lets go of all of them.
func (l *Loop) dropRates() {
	n := l.rates.table.Len()
	l.rates.table = rate.Table[rateKey]{}
	l.chargeRates(n)
}

// chargeRates puts on the loop's account what the table has grown by.
func (l *Loop) chargeRates(before int) {
	if d := l.rates.table.Len() - before; d != 0 {
		l.accounts.add(KindRequests, int64(d)*rateCost)
		if before == 0 {
			l.tickIn(sweepEvery)
		}
	}
}

// sweepEvery is how often, in ms, a loop comes by for what is known for a second or two.
const sweepEvery = 1000

// sweep lets go of that at its time, also where nothing else gives the loop a turn. The first loop does
// it for the addresses.
func (l *Loop) sweep() {
	more := l.rates.table.Len() > 0 // the turn has begun with forgetRates
	if l.index == 0 && l.engine.addresses.forget() {
		more = true
	}
	if more {
		l.tickIn(sweepEvery)
	}
}

// CountPackets adds n to the packets received. A handler calls it for each packet that it has handled,
// and looks at Paused before the next: it has had enough of them for now when that says so.
func (c *Conn) CountPackets(n int) {
	c.loop.rates.counted += n
	c.SpendPackets(n)
}

// SpendPackets is CountPackets for packets that are parts of one which is counted: they are under
// Config.MaxPacketRate alone.
func (c *Conn) SpendPackets(n int) {
	m := &c.loop.rates
	if m.packets += n; m.packets > m.allowed {
		c.flags |= flagOverRate
	}
}

// countArrived counts bytes that have arrived for c.
func (l *Loop) countArrived(c *Conn, n int) {
	l.stats.bytesIn.Add(uint64(n))
	c.meter().BytesIn += uint64(n)
	if perSecond := l.rates.byteRate; perSecond > 0 {
		c.Spend(RateBytes, n, perSecond)
	}
}

// serve calls c's handler with the rates of c in mind.
func (l *Loop) serve(c *Conn, b []byte) (n, need int) {
	m := &l.rates
	if m.packetRate > 0 {
		return l.serveRated(c, b)
	}
	n, need = l.onBytes(c, b)
	l.takeCount(c)
	return n, need
}

func (l *Loop) serveRated(c *Conn, b []byte) (n, need int) {
	m, key := &l.rates, c.rateKey(RatePackets)
	bucket := m.table.At(key, l.rateNow())
	m.allowed = bucket.Left(l.rateNow(), m.packetRate)
	n, need = l.onBytes(c, b)
	c.flags &^= flagOverRate
	if packets := l.takeCount(c); packets > 0 && c.Open() {
		l.spend(c, RatePackets, key, bucket, packets, m.packetRate)
	}
	return n, need
}

// takeCount counts what CountPackets was told, and returns what SpendPackets was.
func (l *Loop) takeCount(c *Conn) (packets int) {
	m := &l.rates
	if m.counted > 0 {
		l.stats.packetsIn.Add(uint64(m.counted))
		c.meter().PacketsIn += uint64(m.counted)
	}
	packets = m.packets
	m.counted, m.packets = 0, 0
	return packets
}

// setRates puts the rates of l's connections in force.
func (l *Loop) setRates(n *Limits) {
	m := &l.rates
	m.packetRate, m.byteRate = max(n.MaxPacketRate, 0), max(n.MaxByteRate, 0)
	m.allowed = math.MaxInt
}
