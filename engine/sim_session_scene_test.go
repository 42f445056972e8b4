package engine_test

import (
	"testing"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine"
)

// Scenes are runs in which each device has a part, for what random ones seldom get to: devices of one
// user on three loops, the first of which has the session's connection and is without a core for a while
// in most of them.

// sessionScenes are the scenes by name.
var sessionScenes = map[string]func(*sessionWorld){
	// An earlier login has the connection kicked out from which a later one takes the session over.
	"kick-out beside a takeover": func(w *sessionWorld) {
		w.sim.Stick(0, 1e6)
		w.provider.sayOne() // the earlier login's
		w.pause()
		w.devices[2].dial(2, w.devices[0].ticket(), 0, false)
	},
	// One vanishes that waits for the session's holder to end, and another resumes the session.
	"the taker vanishes": func(w *sessionWorld) {
		w.sim.Stick(0, 1e6)
		w.devices[2].dial(2, w.devices[0].ticket(), 0, false)
		w.pause()
		w.devices[2].conn.socket.Reset()
		w.pause()
		w.devices[2].dial(1, w.devices[0].ticket(), 0, false)
	},
	// Another takes it over from one that waits for it.
	"two takers": func(w *sessionWorld) {
		w.sim.Stick(0, 1e6)
		w.devices[2].dial(2, w.devices[0].ticket(), 0, false)
		w.pause()
		w.devices[1].conn.socket.Reset()
		w.devices[1].dial(1, w.devices[0].ticket(), 0, false)
	},
	// Another takes it over from one that waits for the user's older connection to end, which both kick
	// out.
	"two takers beside a kick-out": func(w *sessionWorld) {
		w.devices[0].conn.socket.Close()
		w.pause()
		w.provider.sayOne()
		w.pause()
		w.sim.Stick(1, 20_000)
		w.devices[0].dial(0, w.devices[0].ticket(), 0, false)
		w.pause()
		w.sim.Stick(0, 1e6)
		w.devices[2].dial(2, w.devices[0].ticket(), 0, false)
	},
	// An operator ends the session while it is taken over.
	"ended beside a takeover": func(w *sessionWorld) {
		w.sim.Stick(0, 1e6)
		w.devices[2].dial(2, w.devices[0].ticket(), 0, false)
		for _, ref := range w.gateway.Connections(nil, "user-0") {
			w.sim.Engine().Tell(ref, func(c *engine.Conn) { c.Close(engine.ReasonForcedOffline) })
		}
	},
}

func (d *device) ticket() string { return d.tickets[len(d.tickets)-1] }

// pause lets 5 ms pass.
func (w *sessionWorld) pause() {
	over := false
	w.sim.After(5000, func() { over = true })
	for !over && w.sim.Failure() == "" {
		w.step()
	}
}

// sayOne says the verdict that is awaited.
func (p *simProvider) sayOne() {
	for _, l := range p.asked {
		p.say(l)
		return
	}
	p.w.sim.Fail("nobody waits for a verdict")
}

// playSession plays a scene, with GOSOC's devices or Longbridge's.
func playSession(t *testing.T, name string, longbridge bool) (w *sessionWorld, failure string) {
	faketime.Test(t, func(t *testing.T) {
		var err error
		if w, err = newSessionWorld(1, &sessionWorld{scene: true, loops: 3}); err != nil {
			t.Fatal(err)
		}
		for _, d := range w.devices {
			d.gosoc = !longbridge
		}
		w.gateway.Bind(w.sim.Engine())
		w.devices[0].dial(0, "", planTopics, true)
		w.pause()
		w.provider.sayOne()
		w.pause()
		if len(w.devices[0].tickets) != 1 {
			w.sim.Fail("the first device is told of no ticket")
		} else {
			w.devices[1].dial(1, "", planAccept, true)
			w.pause()
			sessionScenes[name](w)
			w.pause()
			w.scene = false // what is asked for is decided
			for _, l := range w.provider.asked {
				w.provider.say(l)
			}
		}
		w.end()
	})
	return w, w.sim.Failure()
}

func TestSimulationSessionScenes(t *testing.T) {
	for name := range sessionScenes {
		for _, longbridge := range []bool{false, true} {
			w, failure := playSession(t, name, longbridge)
			if failure != "" {
				t.Errorf("%s, Longbridge %v: step %d, %d ms: %s", name, longbridge, w.sim.Steps(), w.sim.Clock()/1000, failure)
			}
			if want := name != "ended beside a takeover"; (w.saw.Restored > 0) != want {
				t.Errorf("%s, Longbridge %v: %d sessions were restored: %+v", name, longbridge, w.saw.Restored, w.saw)
			}
		}
	}
}
