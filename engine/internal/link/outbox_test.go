package link

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
)

func TestOutbox(t *testing.T) {
	o := newOutbox(10)
	add := func(text string) bool {
		return o.put(func(dst []byte) []byte { return append(dst, text...) })
	}
	if !o.room() || !add("01234567") || !add("one frame always fits, however long") || add("x") || o.room() {
		t.Error("the limit is looked at before a frame is added")
	}
	batch, ok := o.take()
	if !ok || string(batch) != "01234567one frame always fits, however long" {
		t.Errorf("took %q, %v", batch, ok)
	}
	if add("x") || o.room() {
		t.Error("what is being written counts")
	}
	o.done()
	go add("late")
	o.close()
	for {
		batch, ok := o.take()
		if !ok {
			break
		}
		if string(batch) != "late" {
			t.Errorf("took %q", batch)
		}
		o.done()
	}
	if add("x") || o.room() || !o.isClosed() {
		t.Error("it is closed")
	}
}

// named is a client's key.
func named(client string) uint64 { return maphash.String(shareSeed, client) }

// filler is a frame of n bytes.
func filler(n int) func(dst []byte) []byte {
	return func(dst []byte) []byte { return append(dst, make([]byte, n)...) }
}

// What clients may have in an outbox that nobody reads: each line adds frames until one is refused.
func TestOutboxShares(t *testing.T) {
	const limit = 16 << 20
	type flood struct {
		client      string
		frame       int
		tries       int
		least, most int // frames that are taken
	}
	ask := func(client string, frames int) flood { return flood{client, 1 << 10, frames, frames, frames} }
	for _, tc := range []struct {
		name   string
		floods []flood
	}{
		{"one floods and gets half, then ten ask", []flood{
			{"flood", 1 << 10, 16 << 10, 8100, 8192},
			ask("a", 100), ask("b", 100), ask("c", 100), ask("d", 100), ask("e", 100),
			ask("f", 100), ask("g", 100), ask("h", 100), ask("i", 100), ask("j", 100),
			{"flood", 1 << 10, 10, 0, 0},
		}},
		{"one with frames of 1 MiB, ten ask for as much", []flood{
			{"flood", 1 << 20, 16, 7, 8}, {"a", 1 << 20, 16, 4, 4}, {"b", 1 << 20, 16, 2, 2}, ask("c", 100), ask("d", 100),
		}},
		{"one frame of all there is", []flood{
			{"flood", limit, 2, 1, 1}, {"a", 1 << 20, 16, 7, 8}, ask("b", 100),
		}},
		{"two such frames", []flood{{"flood", limit, 2, 1, 1}, {"other", limit, 2, 0, 0}, ask("a", 100)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOutbox(limit)
			charged := 0
			o.charge = func(n int) { charged += n }
			for _, f := range tc.floods {
				taken := 0
				for range f.tries {
					if o.putFor(named(f.client), f.frame, filler(f.frame)) {
						taken++
					}
				}
				if taken < f.least || taken > f.most {
					t.Errorf("%s: %d frames of %d bytes taken, want %d to %d", f.client, taken, f.frame, f.least, f.most)
				}
			}
			if charged < len(o.buf) || charged > 3*limit {
				t.Errorf("%d bytes charged for %d", charged, len(o.buf))
			}
			// All is written: everybody has all room again.
			if _, ok := o.take(); !ok {
				t.Fatal("nothing to write")
			}
			if flood := tc.floods[0]; o.putFor(named(flood.client), flood.frame, filler(flood.frame)) {
				t.Error("what is being written does not count")
			}
			o.done()
			for o.waits() {
				_, _ = o.take()
				o.done()
			}
			if charged > keepSpare+2*sharesSize {
				t.Errorf("%d bytes charged for an empty outbox", charged)
			}
			if !o.putFor(named("flood"), 1<<20, filler(1<<20)) {
				t.Error("refused by an empty outbox")
			}
			o.release()
			if charged != 0 {
				t.Errorf("%d bytes charged for an outbox that is released", charged)
			}
			if o.putFor(1, 1, filler(1)) || o.put(filler(1)) {
				t.Error("it took a frame after its end")
			}
		})
	}
}

// However many clients flood, somebody new has room for a frame: of many nearly all, since a few are
// taken for others.
func TestOutboxManyFloods(t *testing.T) {
	o := newOutbox(1 << 20)
	for range 50 {
		for client := range 300 {
			o.putFor(named(fmt.Sprint(client)), 200, filler(200))
		}
	}
	taken := 0
	for client := range 10 {
		if o.putFor(named(fmt.Sprint("new", client)), 200, filler(200)) {
			taken++
		}
	}
	if taken < 5 {
		t.Errorf("%d of 10 taken with %d of %d bytes used", taken, o.usedLocked(), o.limit)
	}
	if used := o.usedLocked(); used > o.limit {
		t.Errorf("%d bytes used, limit %d", used, o.limit)
	}
}

func TestSharesNeverLess(t *testing.T) {
	var s shares
	for i := range 5000 {
		s.add(named(fmt.Sprint(i)), i)
	}
	far := 0
	for i := range 5000 {
		got := s.of(named(fmt.Sprint(i)))
		if got < i {
			t.Fatalf("client %d has %d", i, got)
		}
		if got > i+100_000 { // of 12.5 million
			far++
		}
	}
	if far > 50 {
		t.Errorf("%d of 5000 shares are far off", far)
	}
	s.clear()
	if s.of(named("1")) != 0 {
		t.Error("not cleared")
	}
}

// A worker that takes nothing loses the batch, one that takes a part of it its link, and one that
// is slow nothing.
func TestOutboxWriteTimeout(t *testing.T) {
	const timeout = 10 * time.Second
	for _, tc := range []struct {
		name    string
		read    func(net.Conn)
		err     error
		dropped int
		arrives int // bytes, of 200,000
	}{
		{"takes nothing, then all", func(c net.Conn) { time.Sleep(timeout + time.Second) }, nil, 200_000, 5},
		{"takes a part", func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 7)); time.Sleep(time.Hour) }, os.ErrDeadlineExceeded, 0, 0},
		{"slow", func(c net.Conn) {
			for range 3 {
				time.Sleep(timeout - time.Second)
				_, _ = io.ReadFull(c, make([]byte, writeChunk))
			}
		}, nil, 0, 200_005 - 3*writeChunk},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				o := newOutbox(1 << 20)
				dropped, failed := 0, make(chan error, 1)
				o.put(filler(200_000))
				go func() { failed <- o.write(ours, timeout, func(n int) { dropped += n }); ours.Close() }()
				arrived := make(chan int, 1)
				go func() {
					tc.read(theirs)
					n, _ := io.Copy(io.Discard, theirs)
					arrived <- int(n)
				}()
				time.Sleep(timeout + 500*time.Millisecond)
				o.put(filler(5))
				o.close()
				if err := <-failed; !errors.Is(err, tc.err) {
					t.Errorf("%v, want %v", err, tc.err)
				}
				if got := <-arrived; got != tc.arrives || dropped != tc.dropped {
					t.Errorf("%d bytes arrived, %d dropped; want %d and %d", got, dropped, tc.arrives, tc.dropped)
				}
			})
		})
	}
}

// A reader with an answer waits for room, and no longer than the outbox lasts.
func TestOutboxAwaitRoom(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		o := newOutbox(10)
		o.put(filler(10))
		got := make(chan bool, 1)
		go func() { got <- o.awaitRoom() }()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("there is no room")
		}
		_, _ = o.take()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("what is being written takes room")
		}
		o.done()
		if !<-got {
			t.Error("there is room, and the outbox is open")
		}
		o.put(filler(10))
		go func() { got <- o.awaitRoom() }()
		synctest.Wait()
		o.close()
		if <-got {
			t.Error("the outbox is closed")
		}
	})
}

// A run of frames is taken whole, in front of and behind those that wait, or not at all; it counts like its
// frames.
func TestOutboxRun(t *testing.T) {
	frame := func(n int) []byte {
		b, _ := netsvr.V2.AppendFrame(nil, netsvr.CmdRequest, make([]byte, n-8), 0)
		return b
	}
	run := bytes.Repeat(frame(1<<10), 10)
	o := newOutbox(1 << 20)
	frames := 0
	o.took = func(t tally) { frames += t.frames }
	taken := 0
	for o.putRun(named("flood"), run, 10) {
		taken += 10
	}
	if taken < 500 || taken > 512 {
		t.Errorf("%d frames of 1 KiB taken, want half of the room", taken)
	}
	for o.putFor(named("flood"), 1<<10, func(dst []byte) []byte { return append(dst, run[:1<<10]...) }) {
		taken++
	}
	if taken < 505 || taken > 512 {
		t.Errorf("%d frames of 1 KiB taken one by one behind runs, want half of the room", taken)
	}
	if !o.putRun(named("other"), run, 10) {
		t.Error("another client's run was refused")
	}
	written := 0
	for o.waits() {
		batch, _ := o.take()
		for rest := batch; len(rest) > 0; rest = rest[1<<10:] {
			if frameLen(rest) != 1<<10 {
				t.Fatal("frames are not whole")
			}
			written++
		}
		o.done()
	}
	if written != taken+10 || frames != written {
		t.Errorf("%d frames written and %d counted, want %d", written, frames, taken+10)
	}
	if long := frame(2 << 20); o.putRun(named("flood"), long, 1) {
		t.Error("a run beyond the limit was taken")
	}
	o.close()
	if o.putRun(named("other"), run, 10) {
		t.Error("it took a run after its end")
	}
}

func TestOutboxAllocates(t *testing.T) {
	o := newOutbox(1 << 20)
	client, frame := named("00"), make([]byte, 100)
	n := testing.AllocsPerRun(1000, func() {
		for range 10 {
			o.putFor(client, len(frame), func(dst []byte) []byte { return append(dst, frame...) })
		}
		_, _ = o.take()
		o.done()
	})
	if n > 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

func BenchmarkOutbox(b *testing.B) {
	o := newOutbox(1 << 20)
	client, frame := named("00"), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		o.putFor(client, len(frame), func(dst []byte) []byte { return append(dst, frame...) })
		_, _ = o.take()
		o.done()
	}
}
