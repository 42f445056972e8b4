package engine

import (
	"testing"
	"time"
)

func TestClientsByDialect(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 2}, ListenConfig{})
	const n = 5
	var clients []*lineClient
	for range n {
		c := dialLine(t, addr)
		c.send("ECHO hello")
		c.expect("hello")
		clients = append(clients, c)
	}
	if got := e.Stats().Clients; got != [MaxDialects]int64{n} {
		t.Errorf("clients = %v, want %d of dialect 0", got, n)
	}
	// Counted when the send has returned, which the client does not wait for.
	waitFor(t, "the answers to be counted", func() bool { return e.Stats().PacketsOut == n })
	for _, c := range clients[1:] {
		c.Close()
	}
	waitFor(t, "the clients to be gone", func() bool { return e.Stats().Clients[0] == 1 })
	e.CloseAll(ReasonShutdown)
	waitFor(t, "the last client to be gone", func() bool { return e.Stats().Clients == [MaxDialects]int64{} })
}

func TestTellLoop(t *testing.T) {
	e, _ := startLine(t, Config{Loops: 3}, ListenConfig{})
	ran := make(chan int, 3)
	for i := range e.Loops() {
		if !e.TellLoop(i, func() { ran <- i }) {
			t.Errorf("loop %d does not listen", i)
		}
	}
	sum := 0
	for range e.Loops() {
		select {
		case i := <-ran:
			sum += i
		case <-time.After(patience):
			t.Fatal("a loop did not run what it was told")
		}
	}
	if sum != 0+1+2 {
		t.Errorf("loops ran twice: sum %d", sum)
	}
}

// TestStatsLeaveNothing: counters are asked for often, by operators and the memory budget.
func TestStatsLeaveNothing(t *testing.T) {
	e, err := New(Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { e.Stats() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
