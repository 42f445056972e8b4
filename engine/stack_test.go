package engine

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// blockHere is what the loop must be found in.
func blockHere(release <-chan struct{}) { <-release }

// Whoever blocks a loop is named in the log while he does, on the loop's own stack and in its coroutine,
// and also when the loop has done nothing before.
func TestBlockedLoopIsNamed(t *testing.T) {
	for name, block := range map[string]func(e *Engine, release chan struct{}){
		"coroutine": func(e *Engine, release chan struct{}) {
			e.TellLoop(0, func() { blockHere(release) })
		},
		"loop": func(e *Engine, release chan struct{}) {
			e.TellLoop(0, func() {}) // the coroutine is there, and does nothing
			e.loops[0].mailbox.post(message{mail: trustedMail{release}, block: newBlock(1)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log syncbuf.Buffer
			e, err := New(Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil {
				err = e.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Stop(context.Background()) })
			time.Sleep(200 * time.Millisecond) // it sleeps
			release := make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			defer free()
			block(e, release)
			waitFor(t, "a line about it", func() bool { return strings.Contains(log.String(), "a loop is late") })
			if text := log.String(); !strings.Contains(text, "engine.blockHere") || strings.Contains(text, "[coroutine]") {
				t.Errorf("the stack is not the blocked one: %s", text)
			}
			if late := e.LoopLag().Standing(0); late < 100*time.Millisecond {
				t.Errorf("standing for %v", late)
			}
			free()
			waitFor(t, "the loop to run", func() bool { return e.LoopLag().Standing(0) == 0 })
			if n := e.Stats().LoopsLate; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

// Where there are so many goroutines that to write them down would hold up all of them, a line says that
// the loop is late, and that its stack was not taken.
func TestLateAmongManyGoroutines(t *testing.T) {
	e, _ := plainEngine(t, Config{Loops: 1})
	t.Cleanup(func() { _ = e.Stop(context.Background()) })
	release, at := make(chan struct{}), make(chan struct{})
	e.TellLoop(0, func() { close(at); blockHere(release) })
	<-at
	if s := e.stack(0); !strings.Contains(s, "engine.blockHere") {
		t.Errorf("of few: %q", s)
	}
	for range mostStacks {
		go blockHere(release)
	}
	if s := e.stack(0); !strings.HasPrefix(s, "not taken, of ") {
		t.Errorf("of many: %q", s)
	}
	close(release)
}

// A trustedMail blocks the loop itself.
type trustedMail struct{ release chan struct{} }

func (trustedMail) TrustedOnLoop() {}

func (m trustedMail) OnMail(*Conn, uint32, int32, []byte) { blockHere(m.release) }

func TestFindStack(t *testing.T) {
	const trace = "goroutine 1 [running]:\nmain.main()\n\ngoroutine 12 [chan receive]:\nmain.a()\n\ngoroutine 123 [select]:\nmain.b()\n"
	for id, want := range map[uint64]string{
		1: "goroutine 1 [running]:\nmain.main()", 12: "goroutine 12 [chan receive]:\nmain.a()",
		123: "goroutine 123 [select]:\nmain.b()", 2: "", 0: "",
	} {
		if got := findStack(trace, id); got != want {
			t.Errorf("%d: %q, want %q", id, got, want)
		}
	}
}
