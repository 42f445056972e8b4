package server

import "testing"

// TestShareOfClients: a limit of clients is theirs as far as the others have what they need.
func TestShareOfClients(t *testing.T) {
	const others = 64 + 16 + 32 + 32 // of its own, 8 a loop, refusals, operators; workers have 64
	for _, tc := range []struct{ given, clients, workers int }{
		{0, 512 - others - 64, 64},
		{300, 300, 64},
		{320, 320, 512 - others - 320}, // they were named, so that workers have less
		{364, 364, 4},
		{20_000, 364, 4},
	} {
		c := Config{WorkerListen: "tcp://127.0.0.1:0"}
		c.Admin.Address, c.Engine.Loops, c.Engine.MaxConnections = "127.0.0.1:0", 2, tc.given
		c.share(512)
		if got := c.Engine.MaxConnections; got != tc.clients || c.Worker.MaxLinks != tc.workers {
			t.Errorf("%d: %d clients and %d workers, want %d and %d", tc.given, got, c.Worker.MaxLinks, tc.clients, tc.workers)
		}
	}
}

// TestDescriptorsFor: what a number of clients takes is what a gateway with that limit says it needs.
func TestDescriptorsFor(t *testing.T) {
	for _, tc := range []struct {
		what           string
		config         func(*Config)
		clients, files int
		want           int
	}{
		// 64 of its own, 8 a loop, 128 refusals, 64 operators, 4096 workers.
		{"all shares", nil, 10_000, 1 << 30, 10_000 + 64 + 16 + 128 + 64 + 4096},
		{"few files: workers have what is left", nil, 10_000, 10_300, 10_000 + 64 + 16 + 128 + 64 + 28},
		{"too few files: workers have four", nil, 10_000, 4096, 10_000 + 64 + 16 + 128 + 64 + 4},
		{"neither workers nor operators", func(c *Config) { c.WorkerListen, c.Admin.Address = "", "" }, 10_000, 1 << 30, 10_000 + 64 + 16 + 128},
		{"limits that are given", func(c *Config) { c.Engine.MaxRefusals, c.Worker.MaxLinks, c.Admin.MaxConnections = 7, 8, 9 }, 100, 1 << 30, 100 + 64 + 16 + 7 + 8 + 9},
	} {
		c := Config{WorkerListen: "tcp://127.0.0.1:0"}
		c.Admin.Address, c.Engine.Loops = "127.0.0.1:0", 2
		if tc.config != nil {
			tc.config(&c)
		}
		if got := c.DescriptorsFor(tc.clients, tc.files); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.what, got, tc.want)
		}
	}
}
