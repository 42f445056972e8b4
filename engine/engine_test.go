package engine

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEchoByteByByte(t *testing.T) {
	_, addr := startLine(t, Config{}, ListenConfig{})
	c := dialLine(t, addr)
	for _, b := range []byte("ECHO one\nECHO two\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	c.expect("one")
	c.expect("two")
}

func TestPipelinedInOneWrite(t *testing.T) {
	_, addr := startLine(t, Config{}, ListenConfig{})
	c := dialLine(t, addr)
	var sb strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&sb, "ECHO number %d\n", i)
	}
	go func() { _, _ = io.WriteString(c, sb.String()) }()
	for i := range 10000 {
		c.expect(fmt.Sprintf("number %d", i))
	}
}

func TestUnknownProtocolClosed(t *testing.T) {
	e, addr := startLine(t, Config{}, ListenConfig{})
	c := dialLine(t, addr)
	c.send("\x03\x16\x01")
	c.expectEOF()
	waitFor(t, "the close to be counted", func() bool { return e.Stats().Closed[ReasonUnknownProtocol] == 1 })
}

func TestSilentConnectionClosed(t *testing.T) {
	e, addr := startLine(t, Config{FirstBytes: 100 * time.Millisecond}, ListenConfig{})
	dialLine(t, addr).expectEOF()
	if n := e.Stats().Closed[ReasonLoginTimeout]; n != 1 {
		t.Errorf("login timeouts = %d, want 1", n)
	}
}

// A time that is changed is that of the connections that come afterwards.
func TestFirstBytesChanged(t *testing.T) {
	e, addr := startLine(t, Config{FirstBytes: time.Hour}, ListenConfig{})
	dialLine(t, addr)
	waitFor(t, "the first connection", func() bool { // with TLS its time begins behind the handshake
		s := e.Stats()
		return s.Connections == 1 && s.Handshakes.Running == 0
	})
	n := e.Limits()
	n.FirstBytes = 100 * time.Millisecond
	e.SetLimits(n)
	dialLine(t, addr).expectEOF()
	if n := e.Stats().Closed[ReasonLoginTimeout]; n != 1 {
		t.Errorf("login timeouts = %d, want 1", n)
	}
}

func TestPublishAcrossLoops(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 3}, ListenConfig{})
	subs := make([]*lineClient, 9)
	for i := range subs {
		subs[i] = dialLine(t, addr)
		subs[i].send("SUB news")
		subs[i].expect("SUBSCRIBED true")
	}
	subs[0].send("SUB news")
	subs[0].expect("SUBSCRIBED false")
	pub := dialLine(t, addr)
	var sb strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&sb, "PUB news item %d\nPUB other nobody\n", i)
	}
	if _, err := io.WriteString(pub, sb.String()); err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		for i := range 2000 {
			s.expect(fmt.Sprintf("item %d", i))
		}
	}
	subs[0].send("UNSUB news")
	subs[0].expect("UNSUBSCRIBED true")
	pub.send("PUB news last")
	for _, s := range subs[1:] {
		s.expect("last")
	}
	subs[0].send("ECHO nothing came between")
	subs[0].expect("nothing came between")
	if got := e.Stats().Deliveries; got != 9*2000+8 {
		t.Errorf("deliveries = %d, want %d", got, 9*2000+8)
	}
}

func TestHoldKeepsOrder(t *testing.T) {
	_, addr := startLine(t, Config{}, ListenConfig{})
	c := dialLine(t, addr)
	c.send("ECHO a\nHOLD\nECHO b")
	c.send("ECHO c")
	for _, want := range []string{"a", "RESUMED", "b", "c"} {
		c.expect(want)
	}
}

// A client whose input is held back is held back by TCP: neither closed, nor taken into memory.
func TestHoldIsBounded(t *testing.T) {
	opened := make(chan Ref, 1)
	e, addr := startLine(t, Config{InputBacklog: 64 << 10}, ListenConfig{Protocols: []Protocol{lineProtocol{opened}}})
	needsPause(t, e)
	c := dialLine(t, addr)
	c.send("STOP")
	ref := <-opened
	line := "ECHO " + strings.Repeat("x", 1000) + "\n"
	const lines = 64 << 10 // 64 MiB: more than any socket buffer
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, strings.Repeat(line, lines))
		written <- err
	}()
	time.Sleep(300 * time.Millisecond)
	held := make(chan int, 1)
	e.Tell(ref, func(c *Conn) { held <- c.sock.InboundBuffered() })
	if n := <-held; n > pauseAbove+64<<10 {
		t.Errorf("%d bytes are held in memory", n)
	}
	select {
	case err := <-written:
		t.Fatalf("all was written to a connection that is not read: %v", err)
	default:
	}
	e.Tell(ref, func(c *Conn) { c.Resume() })
	for i := range lines {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if got, err := c.r.ReadString('\n'); err != nil || got != line[5:] {
			t.Fatalf("line %d: %.20q, %v", i, got, err)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A publisher that has to wait for a slow subscriber costs the other clients of its loop nothing.
func TestParkedPublisherHoldsUpNobodyElse(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1, Backlog: 256 << 10, SendBuffer: 16 << 10}, ListenConfig{SlowConsumer: SlowDropNewest})
	needsPause(t, e)
	slow, pub, other := dialLine(t, addr), dialLine(t, addr), dialLine(t, addr)
	slow.send("SUB t")
	slow.expect("SUBSCRIBED true")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(2)
	go func() { // reads, but far too slowly
		defer wg.Done()
		buf := make([]byte, 32<<10)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				_ = slow.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = slow.Read(buf)
			}
		}
	}()
	go func() {
		defer wg.Done()
		text := strings.Repeat("PUB t "+strings.Repeat("p", 1000)+"\n", 100)
		for {
			if _, err := io.WriteString(pub, text); err != nil {
				return
			}
		}
	}()
	waitFor(t, "a publish that waits", func() bool { return e.Stats().Waits > 0 })
	took := make([]time.Duration, 50)
	for i := range took {
		start := time.Now()
		other.send("ECHO %d", i)
		other.expect(fmt.Sprint(i))
		took[i] = time.Since(start)
		time.Sleep(10 * time.Millisecond)
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 150*time.Millisecond { // 300 ms when the loop waits with the publisher
		t.Errorf("half of the echoes took more than %v", median)
	}
	close(stop)
	pub.Close()
	wg.Wait()
}

func TestLastWords(t *testing.T) {
	e, addr := startLine(t, Config{}, ListenConfig{})
	c := dialLine(t, addr)
	c.send("ECHO x\nCLOSE\nECHO never")
	c.send(strings.Repeat("unread ", 1000))
	c.expect("x")
	c.expect("BYE forced-offline")
	c.expectEOF()
	waitFor(t, "the close to be counted", func() bool { return e.Stats().Closed[ReasonForcedOffline] == 1 })
}

func TestPanicCostsOneConnection(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{})
	bad, good := dialLine(t, addr), dialLine(t, addr)
	good.send("ECHO before")
	good.expect("before")
	bad.send("PANIC")
	_ = bad.SetReadDeadline(time.Now().Add(patience))
	if _, err := bad.r.ReadByte(); err == nil {
		t.Error("the connection whose handler panicked is still open")
	}
	good.send("ECHO after")
	good.expect("after")
	if e.Stats().Panics != 1 {
		t.Errorf("panics = %d, want 1", e.Stats().Panics)
	}
}

func TestDeadline(t *testing.T) {
	_, addr := startLine(t, Config{}, ListenConfig{})
	c := dialLine(t, addr)
	start := time.Now()
	c.send("TIMER")
	c.expect("DEADLINE")
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("deadline of 100 ms came after %v", took)
	}
}

// A peer that closes its writing side at once still gets all its answers.
func TestHalfCloseGetsAnswers(t *testing.T) {
	plainOnly(t)
	_, addr := startLine(t, Config{Backlog: 64 << 20}, ListenConfig{})
	c := dialLine(t, addr)
	c.send("BIG %s", strings.Repeat("x", 8000)) // 8 MB: more than the sockets take
	_ = c.tcp().CloseWrite()
	time.Sleep(50 * time.Millisecond)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 8000*1000+1 {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, 8000*1000+1)
	}
}

// Requests that were held back, because the answers before them are not read yet, are answered although
// the peer has closed its writing side meanwhile.
func TestHalfCloseBehindUnreadAnswers(t *testing.T) {
	big := "BIG " + strings.Repeat("x", 8000) // 8 MB: more than the sockets take
	for _, tt := range []struct {
		name, request string
		count, bytes  int // of the answers
	}{
		{"one", "ECHO 0123456789", 1, 11},
		{"a few", "ECHO 0123456789", 10, 11},
		{"so many that reading is paused", "ECHO 0123456789", 1500, 11},
		{"each of which has to wait", "BIG " + strings.Repeat("x", 1000), 10, 1000_001},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// With less of a backlog the client would be closed if it gets no core for half a second.
			_, addr := startLine(t, Config{Linger: patience, Backlog: 16 << 20}, ListenConfig{})
			c := dialLine(t, addr)
			c.send("%s%s", big, strings.Repeat("\n"+tt.request, tt.count))
			_ = c.tcp().CloseWrite()
			time.Sleep(50 * time.Millisecond)
			_ = c.SetReadDeadline(time.Now().Add(patience))
			got, err := io.ReadAll(c)
			got = bytes.TrimSuffix(got, []byte("BYE "+ReasonPeerClosed.String()+"\n"))
			if want := 8000_001 + tt.count*tt.bytes; err != nil || len(got) != want {
				t.Errorf("%d bytes of answers, %v, want %d", len(got), err, want)
			}
		})
	}
}

func TestSlowConsumerPolicies(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy SlowConsumer
		closed uint64
	}{
		{"close", SlowClose, 1},
		{"drop newest", SlowDropNewest, 0},
		{"drop oldest", SlowDropOldest, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, addr := startLine(t, Config{Backlog: 64 << 10, InputBacklog: 64 << 20, Lag: 128 << 10, SendBuffer: 16 << 10}, ListenConfig{SlowConsumer: tc.policy})
			slow, quick, pub := dialLine(t, addr), dialLine(t, addr), dialLine(t, addr)
			_ = slow.tcp().SetReadBuffer(16 << 10)
			for _, c := range []*lineClient{slow, quick} {
				c.send("SUB t")
				c.expect("SUBSCRIBED true")
			}
			const messages = 3000
			pad := strings.Repeat("p", 1000)
			done := make(chan struct{})
			ahead := make(chan struct{}, 64) // of the quick one, which may get no core for a while
			n := 0
			go func() { // the quick one misses nothing
				defer close(done)
				for ; n < messages; n++ {
					_ = quick.SetReadDeadline(time.Now().Add(patience))
					line, err := quick.r.ReadString('\n')
					if err != nil || !strings.HasPrefix(line, fmt.Sprintf("%d ", n)) {
						break
					}
					<-ahead
				}
			}()
			for i := range messages {
				select {
				case ahead <- struct{}{}:
					pub.send("PUB t %d %s", i, pad)
				case <-done:
				}
			}
			if <-done; n != messages {
				t.Fatalf("the quick reader got %d of %d in order", n, messages)
			}
			s := e.Stats()
			if s.Closed[ReasonSlowConsumer] != tc.closed || s.Dropped[DropSlowConsumer] == 0 {
				t.Errorf("closed %d, want %d; dropped %d, want some", s.Closed[ReasonSlowConsumer], tc.closed, s.Dropped[DropSlowConsumer])
			}
			if tc.policy == SlowClose {
				return
			}
			// What the slow one does get is whole, in order, and from the right end. What is published
			// behind all that arrives once there is room for it.
			heard := make(chan struct{})
			var ends sync.WaitGroup
			ends.Go(func() {
				for {
					select {
					case <-heard:
						return
					case <-time.After(5 * time.Millisecond):
						fmt.Fprintln(pub, "PUB t end")
					}
				}
			})
			defer ends.Wait()
			defer close(heard)
			last, first, count := -1, -1, 0
			for {
				_ = slow.SetReadDeadline(time.Now().Add(patience))
				line, err := slow.r.ReadString('\n')
				if err != nil {
					t.Fatalf("after %d: %v", last, err)
				}
				if line == "end\n" {
					break
				}
				var n int
				if _, err := fmt.Sscanf(line, "%d ", &n); err != nil || n <= last || len(line) < len(pad) {
					t.Fatalf("after %d: line %.20q of %d bytes, %v", last, line, len(line), err)
				}
				if first < 0 {
					first = n
				}
				last = n
				count++
			}
			if tc.policy == SlowDropOldest && last != messages-1 {
				t.Errorf("the last message kept is %d, want %d", last, messages-1)
			}
			if tc.policy == SlowDropNewest && (first != 0 || last != count-1) {
				t.Errorf("kept %d messages, %d to %d, want the first ones", count, first, last)
			}
		})
	}
}

// TestOverload has two publishers on different loops go as fast as they can: they are slowed
// down, nothing is lost and nobody is closed.
func TestOverload(t *testing.T) {
	e, addr := startLine(t, Config{InputBacklog: 64 << 20, Backlog: 256 << 10}, ListenConfig{})
	const subscribers, messages = overloadSubscribers, overloadMessages
	done := make(chan error, subscribers)
	for range subscribers {
		c := dialLine(t, addr)
		c.send("SUB t")
		c.expect("SUBSCRIBED true")
		go func() {
			var next [2]int
			for range 2 * messages {
				_ = c.SetReadDeadline(time.Now().Add(patience))
				line, err := c.r.ReadString('\n')
				if err != nil {
					done <- err
					return
				}
				var from, n int
				if _, err := fmt.Sscanf(line, "%d %d", &from, &n); err != nil || next[from] != n {
					done <- fmt.Errorf("got %q, want number %d (%v)", line, next[from], err)
					return
				}
				next[from]++
			}
			done <- nil
		}()
	}
	for from := range 2 {
		pub := dialLine(t, addr)
		go func() {
			for i := range messages {
				if _, err := fmt.Fprintf(pub, "PUB t %d %d %0100d\n", from, i, 0); err != nil {
					return
				}
			}
		}()
	}
	for range subscribers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s := e.Stats()
	if s.Deliveries != subscribers*2*messages || s.Closed[ReasonSlowConsumer] != 0 {
		t.Errorf("deliveries %d, want %d; slow consumers closed: %d", s.Deliveries, subscribers*2*messages, s.Closed[ReasonSlowConsumer])
	}
	for d, n := range s.Dropped {
		if n != 0 {
			t.Errorf("dropped %v: %d", Drop(d), n)
		}
	}
	t.Logf("waits %d, sends %d, wake-ups %d", s.Waits, s.Sends, s.Wakeups)
}
