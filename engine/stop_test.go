package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// plainEngine starts an engine that the test itself stops.
func plainEngine(t *testing.T, config Config) (*Engine, string) {
	t.Helper()
	config.Dialects = []Dialect{lineDialect}
	if config.Loops == 0 {
		config.Loops = 2
	}
	if config.Linger == 0 {
		config.Linger = 50 * time.Millisecond // the tests' clients do not close first
	}
	e, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []Protocol{lineProtocol{}}})
	if err != nil {
		t.Fatal(err)
	}
	return e, addr.String()
}

func stopWithin(e *Engine, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return e.Stop(ctx)
}

// A footprint is what a stopped engine must not leave behind.
type footprint struct{ goroutines, files int }

func takeFootprint(t *testing.T) footprint {
	return footprint{runtime.NumGoroutine(), openFiles(t)}
}

// check waits for the process to be back where it was. gnet's goroutine pool keeps up to three.
func (f footprint) check(t *testing.T) {
	t.Helper()
	var now footprint
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now = takeFootprint(t); now.goroutines <= f.goroutines+3 && now.files <= f.files {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	t.Errorf("%d goroutines and %d descriptors, before it was %d and %d\n%s", now.goroutines, now.files, f.goroutines, f.files, stacks)
}

func TestStopLeavesNothing(t *testing.T) {
	e, _ := plainEngine(t, Config{}) // whatever is made once is made now
	if err := stopWithin(e, patience); err != nil {
		t.Fatal(err)
	}
	before := takeFootprint(t)
	t.Run("rounds", func(t *testing.T) {
		for round := range 50 {
			t.Run(fmt.Sprint(round), func(t *testing.T) {
				t.Parallel()
				startAndStop(t, round)
			})
		}
	})
	before.check(t)
}

// startAndStop stops an engine in the middle of everything: idle, silent and half-closed
// connections, a part of a packet, a reader that has stopped, publishers on loops and beside.
func startAndStop(t *testing.T, round int) {
	e, addr := plainEngine(t, Config{Loops: 1 + round%3, Linger: 50 * time.Millisecond, Backlog: 64 << 10})
	var clients []net.Conn
	dial := func(format string, args ...any) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		if format != "" {
			fmt.Fprintf(c, format+"\n", args...)
		}
		return c
	}
	var readers sync.WaitGroup
	dial("")
	dial("ECHO idle")
	dial("BIG %s", strings.Repeat("x", 100)) // never read
	fmt.Fprint(dial("ECHO whole"), "ECHO hal")
	_ = dial("BIG %s", strings.Repeat("x", 50)).(*net.TCPConn).CloseWrite()
	_ = dial("HOLD").(*net.TCPConn).CloseWrite()
	dial("TIMER").Close()
	dial("SUB t") // never read
	quiet := len(clients)
	dial("SUB t")
	dial("SUB t")
	for i, c := range clients {
		if i >= quiet || round%2 == 0 { // in every other round the first ones neither read nor close
			readers.Go(func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	}

	var done atomic.Bool
	var publishers sync.WaitGroup
	publishers.Go(func() {
		pb := e.NewPublisher()
		for !done.Load() {
			if err := pb.Publish([]byte("t"), Push{Payload: make([]byte, 500)}); err != nil && !errors.Is(err, ErrStopped) {
				t.Error(err)
			}
			pb.Flush()
		}
	})
	c := dial("")
	publishers.Go(func() {
		line := []byte(strings.Repeat("PUB t "+strings.Repeat("p", 500)+"\n", 50))
		for !done.Load() {
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	})
	// Some that are on their way in while it stops.
	publishers.Go(func() {
		for !done.Load() {
			if c, err := net.Dial("tcp", addr); err == nil {
				_, _ = c.Write([]byte("ECHO x\n"))
				_ = c.Close()
			}
		}
	})

	time.Sleep(time.Duration(round%7) * time.Millisecond)
	err := stopWithin(e, patience)
	if err != nil && (round%2 == 0 || !strings.Contains(err.Error(), "cut off with something unsent")) {
		t.Error(err)
	}
	done.Store(true)
	for _, c := range clients {
		_ = c.Close()
	}
	publishers.Wait()
	readers.Wait()
	if s := e.Stats(); s.Connections != 0 || s.Topics != 0 || e.Connections() != 0 || s.Panics != 0 {
		t.Errorf("%d connections, %d sockets, %d topics, %d panics", s.Connections, e.Connections(), s.Topics, s.Panics)
	}
	if err := e.Stop(context.Background()); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}

// A client that neither reads nor closes does not keep Stop beyond its time.
func TestStopReportsWhoStays(t *testing.T) {
	before := takeFootprint(t)
	e, addr := plainEngine(t, Config{Linger: time.Minute})
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		fmt.Fprintf(c, "SUB t\nBIG %s\n", strings.Repeat("x", 1000))
	}
	waitFor(t, "the subscriptions", func() bool { return e.Topics().Count([]byte("t")) == 3 })
	begun := time.Now()
	err := stopWithin(e, 300*time.Millisecond)
	if took := time.Since(begun); took < 250*time.Millisecond || took > patience { // the last tenth is for what ends by force
		t.Errorf("stopped after %v", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "3 connections left") {
		t.Errorf("error %v, want one that counts who was left", err)
	}
	if n := e.Connections(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
	for _, c := range clients {
		_ = c.Close()
	}
	before.check(t)
}

// The time for last words bounds Stop without help from its context. Who was not told by then counts,
// and nobody else: not who was told and stays.
func TestStopEndsLastWords(t *testing.T) {
	e, addr := plainEngine(t, Config{Linger: 200 * time.Millisecond, Backlog: 64 << 20})
	big := "BIG " + strings.Repeat("x", 8000) + "\n"
	for _, lines := range []string{big, big, "ECHO told\n"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, lines)
	}
	waitFor(t, "the replies", func() bool { return e.Stats().PacketsIn == 3 })
	begun := time.Now()
	if err := stopWithin(e, 2*patience); err == nil || !strings.Contains(err.Error(), "2 connections cut off with something unsent") {
		t.Errorf("%v, want one that counts two", err)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("stopped after %v", took)
	}
}

// A connection whose peer has half-closed, and which has bytes left to send, lives on a
// descriptor of ours. Stop must close that one too.
func TestStopClosesOrphans(t *testing.T) {
	before := takeFootprint(t)
	e, addr := plainEngine(t, Config{Linger: time.Minute, Backlog: 64 << 20})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "BIG %s\n", strings.Repeat("x", 20_000))
	_ = c.(*net.TCPConn).CloseWrite()
	waitFor(t, "the half-close", func() bool { return e.Stats().Closed[ReasonPeerClosed] == 1 })
	if err := stopWithin(e, 100*time.Millisecond); err == nil {
		t.Error("stopped, although one connection had 20 MB to read")
	}
	if n, s := e.Connections(), e.Stats(); n != 0 || s.Connections != 0 {
		t.Errorf("%d sockets, %d connections are left", n, s.Connections)
	}
	// Nothing holds the socket any more, so its reader meets an end.
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, unix.ETIMEDOUT) || isTimeout(err) {
		t.Errorf("the socket is still open: %v", err)
	}
	_ = c.Close()
	before.check(t)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// The peer may close its writing side while the last words are on their way; it still reads them.
func TestHalfCloseDuringLastWords(t *testing.T) {
	_, addr := startLine(t, Config{Backlog: 64 << 20}, ListenConfig{})
	c := dialLine(t, addr)
	c.send("BIG %s\nCLOSE", strings.Repeat("x", 8000)) // 8 MB: more than the sockets take
	time.Sleep(50 * time.Millisecond)
	_ = c.tcp().CloseWrite()
	time.Sleep(50 * time.Millisecond)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	if want := 8000*1000 + 1 + len("BYE forced-offline\n"); err != nil || len(got) != want {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, want)
	}
}

func TestListenOnUsedPort(t *testing.T) {
	plainOnly(t)
	e, addr := plainEngine(t, Config{})
	before := takeFootprint(t)
	for range 5 {
		if a, err := e.Listen(ListenConfig{Network: "tcp", Address: addr}); err == nil {
			t.Fatalf("a second listener on %v", a)
		}
	}
	if _, err := e.Listen(ListenConfig{Network: "tcp", Address: "no.such.host.invalid.:1"}); err == nil {
		t.Error("listening on no address")
	}
	if now := takeFootprint(t); now.files > before.files || now.goroutines > before.goroutines+3 {
		t.Errorf("failed listeners left %+v, before it was %+v", now, before)
	}
	c := dialLine(t, addr)
	c.send("ECHO still here")
	c.expect("still here")
	if err := stopWithin(e, patience); err != nil {
		t.Error(err)
	}
}

func TestListenAfterStop(t *testing.T) {
	e, _ := plainEngine(t, Config{})
	if err := stopWithin(e, patience); err != nil {
		t.Fatal(err)
	}
	before := takeFootprint(t)
	if addr, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0"}); err == nil {
		t.Errorf("a stopped engine listens on %v", addr)
		e.StopListening()
	}
	before.check(t)
}

// An engine that was not, or not fully, started can be stopped: callers defer it.
func TestStopWithoutStart(t *testing.T) {
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stopWithin(e, patience); err != nil {
		t.Error(err)
	}
}

// A loop that a handler blocks keeps nobody from coming back from Stop in time.
func TestStopBesideABlockedLoop(t *testing.T) {
	release := make(chan struct{})
	blocked := make(chan struct{})
	p := testProtocol{open: func(*Conn) Handler {
		return &partingHandler{deadline: func(*Conn) {
			close(blocked)
			<-release
		}}
	}}
	e, addr := startLine(t, Config{Loops: 2}, ListenConfig{Protocols: []Protocol{p}})
	c := dialLine(t, addr)
	c.send("TIMER")
	<-blocked
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := e.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped: %v", err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("came back after %v", took)
	}
	close(release) // what startLine does at the end finds the rest stopped
}

// Stop waits for the loop it is called on, so it must not.
func TestStopOnALoop(t *testing.T) {
	got := make(chan error, 1)
	p := testProtocol{open: func(*Conn) Handler {
		return &partingHandler{deadline: func(c *Conn) { got <- c.loop.engine.Stop(context.Background()) }}
	}}
	_, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{p}})
	c := dialLine(t, addr)
	c.send("TIMER")
	if err := <-got; !errors.Is(err, ErrOnLoop) {
		t.Errorf("%v, want ErrOnLoop", err)
	}
	c.send("ECHO after")
	c.expect("after")
}
