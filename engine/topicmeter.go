package engine

import (
	"unsafe"

	"github.com/sluicenet/sluice/topic"
)

// A topicMeter counts what a loop has delivered of a topic. A rate is over the present window and what
// the window before it still covers of as much time:
//
//	before          current
//	|-----[XXXXXXXX][XXXX> now
type topicMeter struct {
	gen             uint32 // of the topic; another's counts are none of this one's
	window          uint32 // number of the present window
	messages        uint64
	deliveries      uint64
	current, before uint32 // messages
}

const (
	windowBits = 13 // 8,192 ms
	meterPage  = 64 // topics whose meters are allocated together
)

// topicMeters are a loop's, by topic. There are some for topics only that something was published to.
type topicMeters struct{ pages []*[meterPage]topicMeter }

const (
	meterPageSize = int64(unsafe.Sizeof([meterPage]topicMeter{}))
	meterPlace    = int64(unsafe.Sizeof((*[meterPage]topicMeter)(nil)))
)

// memory is what the meters take, in bytes.
func (t *topicMeters) memory() int64 {
	n := int64(cap(t.pages)) * meterPlace
	for _, p := range t.pages {
		if p != nil {
			n += meterPageSize
		}
	}
	return n
}

// release gives the meters up, when the loop has stopped.
func (t *topicMeters) release(l *Loop) {
	l.accounts.add(KindMonitor, -t.memory())
	t.pages = nil
}

// count adds a run that was queued for so many receivers' messages on l.
func (t *topicMeters) count(l *Loop, r *run, delivered uint64) {
	if r.to.kind != subscribersOf {
		return
	}
	key := r.to.key
	page := int(key.ID) / meterPage
	if page >= len(t.pages) {
		before := cap(t.pages)
		t.pages = append(t.pages, make([]*[meterPage]topicMeter, page+1-len(t.pages))...)
		l.accounts.add(KindMonitor, int64(cap(t.pages)-before)*meterPlace)
	}
	p := t.pages[page]
	if p == nil {
		p = new([meterPage]topicMeter)
		t.pages[page] = p
		l.accounts.add(KindMonitor, meterPageSize)
	}
	m := &p[int(key.ID)%meterPage]
	if m.gen != key.Gen {
		*m = topicMeter{gen: key.Gen}
	}
	messages := uint32(0)
	for _, n := range r.counts {
		messages = max(messages, n)
	}
	m.turnOver(uint32(l.now >> windowBits))
	m.current += messages
	m.messages += uint64(messages)
	m.deliveries += delivered
}

func (m *topicMeter) turnOver(window uint32) {
	switch window - m.window {
	case 0:
		return
	case 1:
		m.before = m.current
	default:
		m.before = 0
	}
	m.current, m.window = 0, window
}

// A TopicRate is what a loop has delivered of a topic since somebody has first published to it.
type TopicRate struct {
	Messages   uint64
	Deliveries uint64  // messages, once for each receiver on the loop
	PerSecond  float64 // messages, over the last 8 to 16 s
}

// TopicRate returns what the loop has delivered of a topic, on the loop. A loop without a subscriber
// delivers nothing.
func (l *Loop) TopicRate(k topic.Key) (r TopicRate) {
	page := int(k.ID) / meterPage
	if page >= len(l.topics.pages) || l.topics.pages[page] == nil {
		return r
	}
	m := &l.topics.pages[page][int(k.ID)%meterPage]
	if m.gen != k.Gen {
		return r
	}
	m.turnOver(uint32(l.now >> windowBits))
	passed := float64(l.now&(1<<windowBits-1)) / (1 << windowBits)
	r.PerSecond = (float64(m.current) + float64(m.before)*(1-passed)) * 1000 / (1 << windowBits)
	r.Messages, r.Deliveries = m.messages, m.deliveries
	return r
}
