package netsvr

import (
	"strings"
	"testing"
)

func TestWorkerID(t *testing.T) {
	for _, tt := range []struct {
		message string
		id      int
		ok      bool
	}{
		{"", 0, false},
		{"1", 0, false},
		{"01", 0, false},
		{"000", 0, false},
		{"000 and more", 0, false},
		{"-01", 0, false},
		{"+01", 0, false},
		{" 01", 0, false},
		{"0x1", 0, false},
		{"1a1", 0, false},
		{"\xef\xbc\x91", 0, false}, // a digit, but not of ASCII
		{"001", 1, true},
		{"010", 10, true},
		{"999", 999, true},
		{"0011", 1, true},
		{"042" + strings.Repeat("9", 10), 42, true},
	} {
		if id, ok := workerID([]byte(tt.message)); ok != tt.ok || ok && id != tt.id {
			t.Errorf("%q: %d, %v, want %d, %v", tt.message, id, ok, tt.id, tt.ok)
		}
	}
}

// What is kept of an upgrade request is counted with all that it refers to.
func TestUpgradeSize(t *testing.T) {
	empty := (&upgrade{}).size()
	for _, tt := range []struct {
		name string
		kept upgrade
		want int
	}{
		{"query", upgrade{rawQuery: "a=1"}, 3},
		{"forwarded", upgrade{forwarded: "10.0.0.1"}, 8},
		{"sub-protocols", upgrade{subProtocols: append(make([]string, 0, 4), "ab", "c")}, 4*16 + 3},
	} {
		if got := tt.kept.size() - empty; got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
	if empty < 64 {
		t.Errorf("%d bytes for nothing", empty)
	}
}
