package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A subscriber gets what is published after its subscription took effect, all of it, and nothing
// from before, while others of its loop leave and a worker publishes as fast as it can.
func TestPressureJoin(t *testing.T) {
	x := startPressure(t).together()
	joins := pick(x, 3000, 300)
	p := startDev(x, "--loops", "2")
	link := p.workerLink(x)
	var counter atomic.Int64 // of the last publish that was sent
	var mu sync.Mutex        // the link's
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			var b []byte
			mu.Lock()
			for range 8 {
				b = append(b, workerCommand(workerTopicPublish, workerCast("t", strconv.FormatInt(counter.Add(1), 10)))...)
			}
			err := link.try(b)
			mu.Unlock()
			if err != nil {
				x.Errorf("the worker could not go on: %v", err)
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	// settled is a number up to which everything has been carried out.
	settled := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		n := counter.Load()
		link.sync()
		return n
	}
	early, late, gaps, after := 0, 0, 0, 0
	var problem error
	const steady = 4 // subscribers on both loops, so that the topic is always there
	for range steady {
		c := p.login(x, modes[0], "")
		c.subscribe("t")
		wg.Go(func() {
			last := int64(-1)
			for {
				pk, err := c.next()
				if err != nil {
					return // at the end
				}
				msg, _ := c.mode.message(pk)
				n, _ := strconv.ParseInt(msg.payload, 10, 64)
				if last >= 0 && n != last+1 {
					x.Errorf("push %d behind %d", n, last)
				}
				last = n
			}
		})
	}
	for i := range joins {
		if problem != nil {
			break
		}
		c := p.login(x, modes[0], "")
		leaver := p.login(x, modes[0], "")
		leaver.subscribe("t")
		from := settled()
		// One leaves, in one of three ways, while the other comes.
		switch i % 3 {
		case 0:
			leaver.hangUp()
		case 1:
			leaver.reset()
		case 2:
			leaver.write(leaver.mode.sendReq(0, 9, "sluice.Unsubscribe", []byte(`{"topics":["t"]}`)))
		}
		c.write(c.mode.ask(1, "sluice.Subscribe", `{"topics":["t"]}`))
		first, last, answered := int64(-1), int64(-1), int64(-1)
		hear := func() (typ byte, err error) {
			pk, err := c.next()
			if err != nil || pk.typ != sendReq {
				return pk.typ, err
			}
			msg, err := c.mode.message(pk)
			if err != nil {
				return 0, err
			}
			n, err := strconv.ParseInt(msg.payload, 10, 64)
			if first < 0 {
				first = n
			} else if n != last+1 {
				gaps++
			}
			last = n
			return sendReq, err
		}
		for answered < 0 && problem == nil {
			typ, err := hear()
			if err != nil {
				problem = err
			} else if typ == sendResp {
				answered = counter.Load()
			}
		}
		for (first < 0 || last < answered+8) && problem == nil {
			_, problem = hear()
		}
		if first <= from {
			early++
		}
		if first > answered+1 {
			late++
		}
		// And after the answer to its unsubscription nothing.
		c.write(c.mode.ask(2, "sluice.Unsubscribe", `{"topics":["t"]}`))
		for problem == nil {
			typ, err := hear()
			if problem = err; typ == sendResp {
				break
			}
		}
		settled()
		c.write(c.mode.ping())
		for problem == nil {
			typ, err := hear()
			if problem = err; typ == pingResp {
				break
			}
			after++
		}
		c.reset()
		leaver.reset()
	}
	close(stop)
	time.Sleep(10 * time.Millisecond)
	p.closeClients()
	wg.Wait()
	x.hold(early+late+gaps+after == 0 && problem == nil, "nothing from before, nothing missed, nothing after",
		"%d joins beside %d publishes: %d got messages from before, %d missed some, %d gaps, %d pushes after an unsubscription, %v",
		joins, counter.Load(), early, late, gaps, after, problem)
}

// cuts are the ways to send b: whole, byte by byte, and in a few random pieces.
func (c *client) sendCut(b []byte, how int) error {
	switch how {
	case 0:
		return c.send(b)
	case 1:
		for i := range b {
			if err := c.send(b[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	for len(b) > 0 {
		n := min(len(b), 1+rand.IntN(60))
		if err := c.send(b[:n]); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		b = b[n:]
	}
	return nil
}

// What a client gets does not depend on how its bytes were cut.
func TestPressureSegments(t *testing.T) {
	x := startPressure(t).together()
	p := startDev(x, "--loops", "2")
	topics := func(name string) string { return fmt.Sprintf(`{"topics":[%q]}`, name) }
	for _, tt := range []struct {
		name   string
		joined bool // to the topic, before
		wire   func(m mode, topic string) [][]byte
		pushes string
	}{
		{"Subscribe, Publish, Unsubscribe", false, func(m mode, topic string) [][]byte {
			return [][]byte{m.ask(1, "sluice.Subscribe", topics(topic)), m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `1`))), m.ask(2, "sluice.Unsubscribe", topics(topic))}
		}, "1"},
		{"Publish, PushMe", true, func(m mode, topic string) [][]byte {
			return [][]byte{m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `1`))), m.sendReq(0, 0, "sluice.PushMe", []byte(`2`))}
		}, "1 2"},
		{"PushMe, Publish, PushMe, Publish", true, func(m mode, topic string) [][]byte {
			return [][]byte{m.sendReq(0, 0, "sluice.PushMe", []byte(`1`)), m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `2`))),
				m.sendReq(0, 0, "sluice.PushMe", []byte(`3`)), m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `4`)))}
		}, "1 2 3 4"},
		{"Publish, Subscribe", false, func(m mode, topic string) [][]byte {
			return [][]byte{m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `1`))), m.ask(1, "sluice.Subscribe", topics(topic))}
		}, ""},
		{"Unsubscribe, Publish, Subscribe, Publish", true, func(m mode, topic string) [][]byte {
			return [][]byte{m.ask(1, "sluice.Unsubscribe", topics(topic)), m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `1`))),
				m.ask(2, "sluice.Subscribe", topics(topic)), m.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, `2`)))}
		}, "2"},
	} {
		wrong := make(map[string]int)
		runs := pick(x, 300, 30)
		for run := range runs {
			m := plainModes[run%2]
			topic := fmt.Sprint("t", run, len(tt.name))
			c := p.login(x, m, "")
			if tt.joined {
				c.subscribe(topic)
			}
			// Half of the time the other loop has a subscriber, too.
			var other *client
			if run%4 >= 2 {
				other = p.login(x, m, "")
				other.subscribe(topic)
			}
			packets := tt.wire(m, topic)
			var b []byte
			for _, packet := range packets {
				b = append(b, packet...)
			}
			if err := c.sendCut(b, run%3); err != nil {
				x.Fatal(err)
			}
			// What is to come has come when a further publish, to a topic of its own, has.
			end := topic + "end"
			c.write(append(m.ask(100, "sluice.Subscribe", topics(end)), m.sendReq(0, 0, "sluice.Publish", []byte(publish(end, `"end"`)))...))
			var pushes []string
			for {
				pk, err := c.next()
				if err != nil {
					x.Fatalf("%s: %v", tt.name, err)
				}
				if pk.typ != sendReq {
					continue
				}
				msg, err := m.message(pk)
				if err != nil {
					x.Fatal(err)
				}
				if msg.payload == `"end"` {
					break
				}
				pushes = append(pushes, msg.payload)
			}
			if got := strings.Join(pushes, " "); got != tt.pushes {
				wrong[fmt.Sprintf("%s got %q", [...]string{"whole", "byte by byte", "in pieces"}[run%3], got)]++
			}
			c.reset()
			if other != nil {
				other.reset()
			}
		}
		x.hold(len(wrong) == 0, fmt.Sprintf("pushes %q", tt.pushes), "%s, %d times: %v", tt.name, runs, wrong)
	}
}
