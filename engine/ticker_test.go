package engine

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// tickedSystem is the kernel, but for the loops: these run on goroutines of the test's.
type tickedSystem struct {
	*kernel
	turns []chan struct{}
}

func (s *tickedSystem) yield(l *Loop) { s.turns[l.index] <- struct{}{} }

// ticking is a Handler that sets its next deadline at each one, or leaves it to somebody else.
type ticking struct {
	unknown
	t      *testing.T
	random *rand.Rand // its loop's
	due    int64      // ms; 0: it has no deadline
	length time.Duration
	met    int
}

func (h *ticking) OnBytes(*Conn, []byte) (n, need int) { return 0, 0 }

// set sets a deadline, of any length.
func (h *ticking) set(c *Conn) {
	h.length = time.Duration(1+h.random.IntN(300)) * time.Millisecond
	switch h.random.IntN(8) {
	case 0:
		h.length *= 1000 // up to three turns of the wheel
	case 1, 2, 3:
		h.length *= 20
	}
	h.due = c.loop.now + h.length.Milliseconds()
	c.SetDeadline(h.length)
}

func (h *ticking) OnDeadline(c *Conn) {
	late := c.loop.engine.Now() - h.due
	// A tick of the wheel, and one more if the ticker has just looked.
	most := int64(2*tickMillis + 1)
	if h.length > 10*time.Second {
		most += 1000 // whole seconds
	}
	if late < 0 || late > most {
		h.t.Errorf("a deadline of %v came %d ms late", h.length, late)
	}
	h.met++
	h.due = 0
	if h.random.IntN(4) > 0 {
		h.set(c)
	}
}

// Whatever is set when, on whichever goroutine the ticker and the loops are, each deadline is met in
// time. Nothing else wakes a loop here, so that a wake-up that is lost is not made good by another.
func TestDeadlinesAreMet(t *testing.T) {
	t.Parallel()
	faketime.Test(t, func(t *testing.T) {
		const loops, conns, hours = 3, 12, 12
		system := &tickedSystem{kernel: newKernel()}
		e, err := newEngine(Config{Loops: loops}, system)
		if err != nil {
			t.Fatal(err)
		}
		for range loops {
			system.turns = append(system.turns, make(chan struct{}, 2)) // a yield and a wake-up
		}
		var running sync.WaitGroup
		var handlers []*ticking
		for i, l := range e.loops {
			l.mailbox.wake = func() { system.turns[i] <- struct{}{} }
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range conns {
				c, _ := l.allocate()
				h := &ticking{t: t, random: random}
				c.state, c.handler, c.flags = stateOpen, h, flagTrusted
				handlers = append(handlers, h)
			}
			running.Go(func() {
				for range system.turns[i] {
					l.guardedTurn()
				}
			})
		}
		go e.ticker.run(e)
		e.begin()
		// Others come by on the loops, at any time, as the input of connections does.
		for i, l := range e.loops {
			running.Go(func() {
				random := rand.New(rand.NewPCG(2, uint64(i)))
				for e.Now() < hours*time.Hour.Milliseconds() {
					time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
					if random.IntN(20) == 0 {
						time.Sleep(200 * time.Second) // the wheel stands still meanwhile
					}
					slot := uint32(random.IntN(conns))
					e.TellLoop(i, func() {
						c := l.at(slot)
						if h := c.handler.(*ticking); h.due == 0 || h.random.IntN(2) == 0 {
							h.set(c)
						}
					})
				}
			})
		}
		time.Sleep((hours + 1) * time.Hour)
		e.ticker.close()
		synctest.Wait()
		for i := range e.loops {
			close(system.turns[i])
		}
		running.Wait()
		for _, l := range e.loops {
			l.isolation.end()
		}
		met := 0
		for _, h := range handlers {
			met += h.met
			if h.due > 0 && h.due < e.Now()-2000 {
				t.Errorf("a deadline of %v, %d ms ago, was never met", h.length, e.Now()-h.due)
			}
		}
		if met < 10_000 {
			t.Errorf("%d deadlines were met", met)
		}
	})
}
