package clustertest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// A meter notes when messages arrive, and how long each was under way: their numbers are when they were
// published, in nanoseconds.
type meter struct {
	mu   sync.Mutex
	list []arrival
	last int
	done sync.WaitGroup
}

type arrival struct {
	at    time.Time
	after time.Duration
}

// measure has a client's pushes be measured until its connection ends. They must come in order, once each.
func measure(t *testing.T, c *client) *meter {
	m := new(meter)
	m.done.Go(func() {
		for {
			n, err := c.stamp()
			now := time.Now()
			if err != nil {
				return
			}
			m.mu.Lock()
			if n <= m.last {
				t.Errorf("%d behind %d", n, m.last)
			}
			m.last = n
			m.list = append(m.list, arrival{now, now.Sub(time.Unix(0, int64(n)))})
			m.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		c.conn.Close()
		m.done.Wait()
	})
	return m
}

// stamp returns when the next push was published.
func (c *client) stamp() (int, error) {
	for {
		h, body, err := c.packet(10 * patience)
		if err != nil {
			return 0, err
		}
		if h.Type == gosoc.TypeSendResp {
			continue
		}
		req, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil {
			return 0, err
		}
		if string(req.Route) == "sluice.Gap" {
			continue
		}
		text, _, _ := strings.Cut(string(req.Payload), ",")
		return strconv.Atoi(text[1:])
	}
}

// between returns how long messages that were published from one moment to another were under way, sorted.
func (m *meter) between(from, to time.Time) []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []time.Duration
	for _, a := range m.list {
		if sent := a.at.Add(-a.after); !sent.Before(from) && sent.Before(to) {
			list = append(list, a.after)
		}
	}
	slices.Sort(list)
	return list
}

func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

// A source publishes the time of day to a topic until it is ended.
type source struct {
	stop, gone chan struct{}
	pad        string
}

// source begins to publish on a gateway: one message in each of every, or, with 0, as fast as they are
// answered, 64 at a time. Each is of size bytes at least.
func (g *gateway) source(topic string, every time.Duration, size int) *source {
	g.t.Helper()
	c := g.login()
	s := &source{stop: make(chan struct{}), gone: make(chan struct{}), pad: strings.Repeat("x", size)}
	room := make(chan struct{}, 64)
	go func() { // takes the answers
		for {
			if _, _, err := c.packet(10 * patience); err != nil {
				close(room)
				return
			}
			select {
			case <-room:
			default:
			}
		}
	}()
	go func() {
		defer close(s.gone)
		defer c.conn.Close()
		last := 0
		for next := time.Now(); ; next = next.Add(every) {
			if every > 0 {
				time.Sleep(time.Until(next))
			} else {
				select {
				case room <- struct{}{}:
				case <-s.stop:
					return
				}
			}
			select {
			case <-s.stop:
				return
			default:
			}
			last = max(last+1, int(time.Now().UnixNano()))
			text := fmt.Sprintf(`{"topic":%q,"data":[%d,%q]}`, topic, last, s.pad)
			if err := c.send("sluice.Publish", text); err != nil {
				return
			}
		}
	}()
	g.t.Cleanup(s.end)
	return s
}

func (s *source) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.gone
}

// cpu is what gateways have used.
func cpu(t *testing.T, list ...*gateway) (sum time.Duration) {
	t.Helper()
	for _, g := range list {
		sum += cpuOf(t, g.cmd.Process.Pid)
	}
	return sum
}

// A stretch is a time that is measured: arrivals at a meter, and CPU of gateways.
type stretch struct {
	from, to time.Time
	cpu      time.Duration
}

func (g *gateway) stretch(d time.Duration, beside ...*gateway) stretch {
	list := append(beside, g)
	s := stretch{from: time.Now(), cpu: cpu(g.t, list...)}
	time.Sleep(d)
	s.to, s.cpu = time.Now(), cpu(g.t, list...)-s.cpu
	return s
}

// A figure is what a stretch was like.
type figure struct {
	rate     float64 // messages a second
	p50, p99 time.Duration
	cpu      time.Duration // per message
}

func (m *meter) figure(s stretch) figure {
	list := m.between(s.from, s.to)
	f := figure{rate: float64(len(list)) / s.to.Sub(s.from).Seconds(), p50: quantile(list, 0.5), p99: quantile(list, 0.99)}
	if len(list) > 0 {
		f.cpu = s.cpu / time.Duration(len(list))
	}
	return f
}
