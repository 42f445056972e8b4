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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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

// TestCloseIsBounded: a writer that stands still does not keep a program from ending.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
