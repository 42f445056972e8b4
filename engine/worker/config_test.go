package worker

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		good   bool
	}{
		{"zero value", Config{}, true},
		{"addresses", Config{Gateways: []string{"a:1", "tcp://b:2", "[::1]:3"}}, true},
		{"negative means default", Config{WorkerID: -1, Links: -1, Concurrency: -1, Outbox: -1, Heartbeat: -1}, true},
		{"highest worker id", Config{WorkerID: 999}, true},
		{"worker id", Config{WorkerID: 1000}, false},
		{"no port", Config{Gateways: []string{"host"}}, false},
		{"empty address", Config{Gateways: []string{""}}, false},
		{"other scheme", Config{Gateways: []string{"http://a:1"}}, false},
		{"twice", Config{Gateways: []string{"a:1", "tcp://a:1"}}, false},
		{"concurrency", Config{Concurrency: 1 << 20}, false},
		{"links", Config{Links: 1000}, false},
	}
	for _, tt := range tests {
		w, err := New(tt.config)
		if (err == nil) != tt.good || err != nil && !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil && (w.config.WorkerID < 1 || w.config.Heartbeat <= 0 || w.config.Outbox <= 0) {
			t.Errorf("%s: no defaults: %+v", tt.name, w.config)
		}
	}
	if w, err := New(Config{}); err != nil || w.Gateways()[0].Addr() != DefaultGateway {
		t.Errorf("zero value: %v", err)
	}
}

func TestBadPatterns(t *testing.T) {
	for name, setup := range map[string]func(*Worker){
		"empty":       func(w *Worker) { w.Handle("", echo) },
		"two stars":   func(w *Worker) { w.Handle("a.*.*", echo) },
		"star inside": func(w *Worker) { w.Handle("a*b", echo) },
		"no handler":  func(w *Worker) { w.Handle("a", nil) },
		"range":       func(w *Worker) { w.HandleCmd(2, 1, echo) },
	} {
		w, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		setup(w)
		if err := w.Run(t.Context()); !errors.Is(err, ErrPattern) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{min: time.Second, max: 5 * time.Second}
	for _, limit := range []time.Duration{1, 2, 4, 5, 5} {
		limit *= time.Second
		if d := b.pause(); d < limit/2 || d > limit {
			t.Errorf("pause %v, want %v to %v", d, limit/2, limit)
		}
	}
	b.reset()
	if d := b.pause(); d > time.Second {
		t.Errorf("pause %v after reset", d)
	}
}

// Processes that are no gateways import this package: it must not pull one in.
func TestImports(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			dotted := strings.Contains(strings.SplitN(path, "/", 2)[0], ".")
			leaf := path == "github.com/sluicenet/sluice/engine/internal/lograte" ||
				path == "github.com/sluicenet/sluice/engine/internal/notsent" // they import nothing of ours
			if dotted && !leaf && !strings.HasPrefix(path, "github.com/sluicenet/sluice/codec/netsvr") &&
				!strings.HasPrefix(path, "google.golang.org/protobuf/") {
				t.Errorf("%s imports %s", f.Name(), path)
			}
		}
	}
}
