package server

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
)

func TestShareMemory(t *testing.T) {
	const MiB = 1 << 20
	for _, tc := range []struct {
		memory int64
		want   MemoryShares
		sum    int64
	}{
		// What they are without a budget.
		{1 << 30, MemoryShares{256 * MiB, 64 * MiB, 16 * MiB, 16 * MiB, 16 * MiB, 256 * MiB}, 704 * MiB},
		{64 * MiB, MemoryShares{16 * MiB, 4 * MiB, MiB, MiB, MiB, 16 * MiB}, 44 * MiB},
		{1 << 40, MemoryShares{1 << 38, 1 << 36, 256 * MiB, 256 * MiB, 256 * MiB, 1 << 38}, 1<<39 + 1<<36 + 2048*MiB},
	} {
		if got := ShareMemory(tc.memory); got != tc.want || got.Sum() != tc.sum {
			t.Errorf("of %d: %+v, %d in all, want %+v, %d", tc.memory, got, got.Sum(), tc.want, tc.sum)
		}
	}
}

// What is set stays, and what is not set is filled in, by New and by Update alike.
func TestMemorySetsLimits(t *testing.T) {
	config := Config{Memory: 128 << 20, WorkerListen: "tcp://127.0.0.1:0", Engine: engine.Config{Lag: 3 << 20}}
	s, _ := begin(t, config)
	check := func() {
		t.Helper()
		l := s.Engine().Limits()
		if l.BacklogTotal != 32<<20 || l.Lag != 3<<20 {
			t.Errorf("%+v", l)
		}
	}
	check()
	if n := s.Gateway().Config().SessionTotal; n != 8<<20 {
		t.Errorf("session total %d", n)
	}
	if c := s.Hub().Config(); c.Queue != 2<<20 || c.Delayed != 2<<20 {
		t.Errorf("queue %d, delayed %d", c.Queue, c.Delayed)
	}
	config.Memory = 1 << 30 // cannot change
	if err := s.Update(config); err != nil {
		t.Fatal(err)
	}
	check()
	config.Engine.BacklogTotal = 127 << 20
	if err := s.Update(config); err == nil || !strings.Contains(err.Error(), "three quarters") {
		t.Errorf("a total that does not fit: %v", err)
	}
	check()
}

func TestMemoryIsChecked(t *testing.T) {
	for _, tc := range []struct {
		what, says string
		change     func(*Config)
	}{
		{"too little", "want 67108864 or more", func(c *Config) { c.Memory = 1 << 20 }},
		{"negative", "want 67108864 or more", func(c *Config) { c.Memory = -1 }},
		{"limits beyond it", "256MiB, of which the limits may have three quarters, 192MiB: backlog total 200MiB", func(c *Config) { c.Engine.BacklogTotal = 200 << 20 }},
		{"queues beyond it", "three quarters", func(c *Config) { c.Worker.Queue = 100 << 20 }},
		{"one client's backlog", "less than", func(c *Config) { c.Engine.Backlog = 100 << 20 }},
	} {
		config := Config{Memory: 256 << 20, Gateway: GatewayConfig{Login: openLogin}}
		tc.change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), "Config.Memory") || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.says)
		}
	}
}

// get returns the answer to a path of the admin listener.
func (s *Server) get(t *testing.T, path string) (code int, text string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	r, err := client.Get(s.AdminURL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// Near the budget the gateway refuses clients in their protocol's words, then forgets sessions, then
// closes who does not read, and says so; when there is room again all is as it was.
func TestMemoryStages(t *testing.T) {
	const limit = 64 << 20
	var used atomic.Int64
	s, addr := begin(t, Config{
		Memory: limit, Admin: AdminConfig{Address: "127.0.0.1:0"}, Dev: true,
		Engine: engine.Config{SendBuffer: 16 << 10},
	}, func(s *Server) { s.keepWithin(used.Load) })
	// A client that reads, one that does not, and one that is away with its session kept.
	reader, slow := dialGOSOC(t, addr, "reader"), dialGOSOC(t, addr, "slow")
	away := gosocPeer{dial(t, addr)}
	away.write(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: []byte(`{"token":"away","session":true}`)}))
	away.next()
	away.Close()
	waitUntil(t, "a session to be detached", func() bool { return s.Gateway().Stats().Sessions.Detached == 1 })
	for range 8 {
		if _, err := s.Send(t.Context(), User("slow"), make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2100 * time.Millisecond) // it counts as slow from then on
	stage := func(percent int64, want int) {
		t.Helper()
		used.Store(limit / 100 * percent)
		waitUntil(t, "the stage", func() bool { return int(s.memory.Stage()) == want && s.memory.Used() == used.Load() })
	}
	wantReady := func(code int, says string) {
		t.Helper()
		if got, text := s.get(t, "/readyz"); got != code || !strings.Contains(text, says) {
			t.Errorf("/readyz: %d %q, want %d %q", got, text, code, says)
		}
	}
	if _, text := s.get(t, "/readyz?verbose"); !strings.HasPrefix(text, "ok\n") || !strings.Contains(text, "stage 0 of 3") ||
		!strings.Contains(text, "loop 0: ") || !strings.Contains(text, "connections: 2 of ") {
		t.Errorf("/readyz?verbose: %q", text)
	}

	stage(80, 1)
	wantReady(http.StatusServiceUnavailable, "stage 1 of 3: new connections are refused")
	if h, body := connectGOSOC(t, addr, "new").next(); h.Type != gosoc.TypeConnAck || body[1] != 1 {
		t.Errorf("a new client got %v %x, want a ConnAck: server unavailable", h.Type, body)
	}
	if n := s.Gateway().Stats().Sessions.Detached; n != 1 {
		t.Errorf("%d detached sessions in stage 1", n)
	}

	stage(85, 2)
	waitUntil(t, "the session to go", func() bool { return s.Gateway().Stats().Sessions.Detached == 0 })
	if n := s.Engine().Stats().Closed[engine.ReasonMemory]; n != 0 {
		t.Errorf("%d clients closed in stage 2", n)
	}

	stage(95, 3)
	waitUntil(t, "the slow client to go", func() bool { return s.Engine().Stats().Closed[engine.ReasonMemory] == 1 })
	_ = slow
	reader.ask("sluice.Echo", "1")
	reader.wantReply(`{"status":0,"data":1}`)
	_, text := s.get(t, "/metrics")
	for _, want := range []string{
		"sluice_memory_stage 3", "sluice_memory_limit_bytes 6.7108864e+07",
		`sluice_memory_stage_entered_total{stage="3"} 1`,
		`sluice_memory_shed_total{stage="1"} 1`, `sluice_memory_shed_total{stage="2"} 1`, `sluice_memory_shed_total{stage="3"} 1`,
		`sluice_connections_refused_total{reason="memory"} 1`, `sluice_connections_closed_total{reason="memory"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}

	stage(10, 0)
	wantReady(http.StatusOK, "ok")
	dialGOSOC(t, addr, "new").ask("sluice.Echo", "2")
	reader.ask("sluice.Echo", "3")
	reader.wantReply(`{"status":0,"data":3}`)
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// What is measured is what counts: memory that is alive has connections refused, whoever has it, and
// when it is garbage they are taken again, without anybody who collects it.
func TestMemoryIsMeasured(t *testing.T) {
	const limit = 256 << 20
	s, addr := begin(t, Config{Memory: limit, Admin: AdminConfig{Address: "127.0.0.1:0"}})
	waitUntil(t, "a look", func() bool { return s.memory.Used() > 0 })
	if stage := s.memory.Stage(); stage != 0 {
		t.Fatalf("stage %d, %d bytes used", stage, s.memory.Used())
	}
	ballast := make([]byte, limit/100*82-s.memory.Used())
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	runtime.GC() // a gateway's own collections come as it allocates
	waitUntil(t, "stage 1", func() bool { return s.memory.Stage() == 1 })
	if h, body := connectGOSOC(t, addr, "ann").next(); h.Type != gosoc.TypeConnAck || body[1] != 1 {
		t.Errorf("a new client got %v %x", h.Type, body)
	}
	runtime.KeepAlive(ballast)
	ballast = nil
	waitUntil(t, "stage 0", func() bool { return s.memory.Stage() == 0 })
	dialGOSOC(t, addr, "ann")
}
