package link

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// The metrics that workers can ask for (Metrics, section "Metrics item numbers" of the protocol).
const (
	metricOpens = iota
	metricCloses
	metricHeartbeats
	metricFrames     // to workers: ConnOpen, ConnClose, Transfer
	metricFrameBytes // with length and command
	metricWrites     // to clients
	metricWriteBytes
	numMetrics
)

// metrics counts what workers may ask for. Loops and links add; a goroutine computes the rates.
type metrics struct {
	counts [numMetrics]atomic.Int64
	// outside, if set, adds what the engine counts.
	outside func() (writes, bytes int64)

	mu    sync.Mutex
	since time.Time
	rates [numMetrics]rates
}

// rates are exponentially weighted means per second, over 1, 5 and 15 minutes, and the mean since
// the start, each with the highest value that was seen.
type rates struct {
	last    int64
	mean    float64
	ewma    [3]float64
	primed  bool
	meanMax float64
	ewmaMax [3]float64
}

// sampleEvery is how often the averages and the highest values take a sample.
const sampleEvery = 5 * time.Second

func (m *metrics) add(item int, n int64) { m.counts[item].Add(n) }

// A reading is all counts at one time. The engine's are asked for once: that costs more than the rest.
type reading [numMetrics]int64

func (m *metrics) read() (r reading) {
	for i := range r {
		r[i] = m.counts[i].Load()
	}
	if m.outside != nil {
		writes, bytes := m.outside()
		r[metricWrites] += writes
		r[metricWriteBytes] += bytes
	}
	return r
}

// sample moves the averages on by one period.
func (m *metrics) sample(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := m.read()
	for i := range m.rates {
		r := &m.rates[i]
		n := counts[i]
		instant := float64(n-r.last) / sampleEvery.Seconds()
		r.last = n
		for j, minutes := range [...]float64{1, 5, 15} {
			alpha := 1 - math.Exp(-sampleEvery.Minutes()/minutes)
			if r.primed {
				r.ewma[j] += alpha * (instant - r.ewma[j])
			} else {
				r.ewma[j] = instant
			}
		}
		r.primed = true
		m.refreshLocked(i, n, now)
	}
}

// refreshLocked computes the mean and the highest values of a metric whose count is n.
func (m *metrics) refreshLocked(i int, n int64, now time.Time) {
	r := &m.rates[i]
	if passed := now.Sub(m.since).Seconds(); passed > 0 {
		r.mean = float64(n) / passed
	}
	r.meanMax = max(r.meanMax, r.mean)
	for j := range r.ewma {
		r.ewmaMax[j] = max(r.ewmaMax[j], r.ewma[j])
	}
}

// items answers a Metrics query.
func (m *metrics) items(numbers []int32, now time.Time) map[int32]*netsvrpb.MetricsResp_Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := m.read()
	out := make(map[int32]*netsvrpb.MetricsResp_Item, len(numbers))
	for _, i := range numbers {
		m.refreshLocked(int(i), counts[i], now)
		r := &m.rates[i]
		out[i] = &netsvrpb.MetricsResp_Item{
			Count:       counts[i],
			MeanRate:    float32(r.mean),
			MeanRateMax: float32(r.meanMax),
			Rate1:       float32(r.ewma[0]),
			Rate1Max:    float32(r.ewmaMax[0]),
			Rate5:       float32(r.ewma[1]),
			Rate5Max:    float32(r.ewmaMax[1]),
			Rate15:      float32(r.ewma[2]),
			Rate15Max:   float32(r.ewmaMax[2]),
		}
	}
	return out
}
