package server

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// openDescriptors counts the process's own, -1 where that cannot be told.
func openDescriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// heapObjects returns how many objects are alive: a timer that is left keeps what it calls.
func heapObjects() int64 {
	runtime.GC()
	runtime.GC() // what pools hold survives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapObjects)
}

// A program may start and stop gateways as often as it likes: with all listeners, a journal, a memory
// budget, clients with sessions and a worker, none leaves a goroutine, a descriptor or a timer.
func TestStartAndStopAgainAndAgain(t *testing.T) {
	times := 200
	if testing.Short() {
		times = 40
	}
	dir := t.TempDir()
	config := Config{
		Listen:       []string{"tcp://127.0.0.1:0", "ws://127.0.0.1:0"},
		WorkerListen: "tcp://127.0.0.1:0",
		Admin:        AdminConfig{Address: "127.0.0.1:0"},
		Dev:          true,
		Memory:       LeastMemory,
	}
	config.Engine.Linger = 20 * time.Millisecond
	config.Gateway.Login = openLogin
	config.Gateway.SessionKey[0] = 1
	config.Gateway.SessionJournal = filepath.Join(dir, "journal")
	once := func() {
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		addr := strings.TrimPrefix(s.Addrs()[0], "tcp://")
		c, leaver := dialGOSOC(t, addr, "ann"), dialGOSOC(t, addr, "ben")
		c.ask("sluice.Subscribe", `{"topics":["a"]}`)
		c.wantReply(`{"status":0,"data":{}}`)
		leaver.Close()
		attach(t, s, strings.TrimPrefix(s.WorkerAddr(), "tcp://"))
		if code, text := s.get(t, "/livez"); code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context()) }()
		c.wantDisconnect()
		c.Close()
		if err := receive(t, stopped); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 { // what is made once for all
		once()
	}
	goroutines, files, objects := runtime.NumGoroutine(), openDescriptors(), heapObjects()
	for range times {
		once()
	}
	wantNoGoroutines(t, goroutines)
	waitUntil(t, "descriptors to be closed", func() bool { return openDescriptors() <= files })
	// The test itself keeps what was dialled; a gateway is thousands of objects.
	if more := heapObjects() - objects; more > int64(times)*100 {
		t.Errorf("%d objects more than before, %d for each gateway", more, more/int64(times))
	} else {
		t.Logf("%d objects for each gateway", more/int64(times))
	}
}
