package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A gate is a writer that stands still while it is shut, and fails while it is broken.
type gate struct {
	mu     sync.Mutex
	shut   chan struct{} // nil: open
	broken bool
	got    bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return 0, errors.New("broken pipe")
	}
	return g.got.Write(p)
}

func (g *gate) set(shut chan struct{}, broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.broken = shut, broken
}

func (g *gate) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.String()
}

func TestOrder(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := new(gate)
		s := New(g)
		var want strings.Builder
		for i := range 5000 { // some pieces, and at times several lines in one Write
			line := fmt.Sprintf("line %d\n", i)
			want.WriteString(line)
			if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		if !s.Close(time.Second) {
			t.Error("not closed in time")
		}
		if g.text() != want.String() || s.Dropped() != 0 {
			t.Errorf("%d bytes, %d dropped; want %d bytes, none dropped", len(g.text()), s.Dropped(), want.Len())
		}
	})
}

// TestStalled: a writer that does not return costs what does not fit, and nobody's time.
func TestStalled(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := new(gate)
		shut := make(chan struct{})
		g.set(shut, false)
		s := New(g)
		var lost []uint64
		s.OnLoss(func(n uint64) {
			lost = append(lost, n)
			fmt.Fprintf(s, "lost %d\n", n)
		})
		begun := time.Now()
		line := []byte(strings.Repeat("x", 1023) + "\n")
		const sent = 3000
		for range sent {
			_, _ = s.Write(line)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("writing took %v", took)
		}
		synctest.Wait()
		dropped := s.Dropped()
		if dropped < sent-2*maxPending/1024 || dropped > sent-maxPending/1024 {
			t.Errorf("%d of %d lines dropped, want what exceeds one or two buffers", dropped, sent)
		}
		g.set(nil, false)
		close(shut)
		synctest.Wait()
		if !s.Close(time.Second) {
			t.Error("not closed in time")
		}
		if len(lost) != 1 || lost[0] != dropped {
			t.Errorf("told of %v lost lines, want once of %d", lost, dropped)
		}
		if got := strings.Count(g.text(), "x\n"); uint64(got) != sent-dropped {
			t.Errorf("%d lines written, %d dropped, of %d", got, dropped, sent)
		}
	})
}

// TestBroken: lines that cannot be written are counted; when the writer is well again, it says so.
func TestBroken(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := new(gate)
		g.set(nil, true)
		s := New(g)
		s.OnLoss(func(n uint64) { fmt.Fprintf(s, "lost %d\n", n) })
		for range 3 {
			fmt.Fprintln(s, "gone")
			synctest.Wait()
		}
		if s.Dropped() != 3 {
			t.Errorf("%d dropped, want 3", s.Dropped())
		}
		g.set(nil, false)
		fmt.Fprintln(s, "well again")
		synctest.Wait()
		if want := "well again\nlost 3\n"; g.text() != want {
			t.Errorf("got %q, want %q", g.text(), want)
		}
		s.Close(time.Second)
		fmt.Fprintln(s, "too late")
		if s.Dropped() != 4 {
			t.Errorf("%d dropped after Close, want 4", s.Dropped())
		}
	})
}

// TestLosing: that lines are lost is told at the first of them, and once a minute, not once a line.
func TestLosing(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(g *gate, s *Sink) // some lines
		says string
	}{
		{"it fails", func(g *gate, s *Sink) {
			g.set(nil, true)
			for range 3 {
				fmt.Fprintln(s, "gone")
				synctest.Wait()
			}
		}, "broken pipe"},
		{"it stands still", func(g *gate, s *Sink) {
			line := []byte(strings.Repeat("x", 1023) + "\n")
			for range 3 * maxPending / len(line) {
				_, _ = s.Write(line)
			}
		}, errFull.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				g := new(gate)
				shut := make(chan struct{})
				g.set(shut, false)
				s := New(g)
				if tt.says == "broken pipe" {
					close(shut)
				} else {
					defer close(shut)
				}
				var told []string
				s.OnLosing(func(err error) { told = append(told, err.Error()) })
				fmt.Fprintln(s, "first")
				synctest.Wait()
				if len(told) != 0 {
					t.Errorf("told of %q before anything was lost", told)
				}
				for i, d := range []time.Duration{0, losingEvery - 1, 1} {
					time.Sleep(d)
					tt.lose(g, s)
					synctest.Wait()
					if want := []int{1, 1, 2}[i]; len(told) != want || told[0] != tt.says {
						t.Errorf("round %d: told of %q, want %d times %q", i, told, want, tt.says)
					}
				}
				s.Close(time.Second)
				_, _ = s.Write([]byte("too late\n"))
				if len(told) != 2 {
					t.Errorf("told of %q after the end", told[2:])
				}
			})
		})
	}
}

// TestLeftAtTheEnd: lines that a writer has not taken when the program ends are lost, those that it holds
// too.
func TestLeftAtTheEnd(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := new(gate)
		shut := make(chan struct{})
		g.set(shut, false)
		s := New(g)
		fmt.Fprintln(s, "held")
		synctest.Wait()
		fmt.Fprint(s, "waits\nwaits, too\n")
		if s.Close(time.Second) {
			t.Error("Close says that all was written")
		}
		if s.Dropped() != 3 {
			t.Errorf("%d dropped, want 3", s.Dropped())
		}
		close(shut)
		synctest.Wait()
		if s.Dropped() != 3 {
			t.Errorf("%d dropped once the writer came back, want 3", s.Dropped())
		}
	})
}

// TestCloseIsBounded: a writer that stands still does not keep a program from ending.
func TestCloseIsBounded(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := new(gate)
		shut := make(chan struct{})
		g.set(shut, false)
		s := New(g)
		fmt.Fprintln(s, "stuck")
		begun := time.Now()
		if s.Close(300 * time.Millisecond) {
			t.Error("Close says that all was written")
		}
		if took := time.Since(begun); took != 300*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		close(shut)
		synctest.Wait()
	})
}
