package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sluicenet/sluice/engine/worker"
)

// TestMessages reads histories of several pages, of none, and of a position that has gone.
func TestMessages(t *testing.T) {
	_, workers := startGateway(t)
	w, err := worker.New(worker.Config{Gateways: []string{workers}})
	if err != nil {
		t.Fatal(err)
	}
	runWorker(t, w.Run)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	link := w.Gateways()[0].Link
	var first, middle worker.Position
	for i := range 3000 {
		text := []byte(fmt.Sprint(i + 1))
		if i%500 > 0 {
			if err := link.TopicPublish(ctx, []string{"kept"}, text); err != nil {
				t.Fatal(err)
			}
			continue
		}
		at, ok, err := link.PublishAt(ctx, "kept", text)
		if err != nil || !ok || at.Sequence != uint64(i+1) {
			t.Fatalf("message %d is at %v, %v, %v", i+1, at, ok, err)
		}
		switch i {
		case 0:
			first = at
		case 1500:
			middle = at
		}
	}
	if _, _, err := link.PublishAt(ctx, "other", nil); err != nil { // behind them all
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		topic string
		after worker.Position
		lost  int
		from  int // up to 3000
	}{
		"from the oldest on":        {"kept", worker.Position{}, 0, 501},
		"behind one of the middle":  {"kept", middle, 0, 1502},
		"behind one that has gone":  {"kept", first, 1, 501},
		"of another process":        {"kept", worker.Position{Epoch: 1, Sequence: 1}, 1, 501},
		"behind the last":           {"kept", worker.Position{Epoch: first.Epoch, Sequence: 3000}, 0, 3001},
		"of a topic without a rule": {"plain", worker.Position{}, 0, 3001},
	} {
		next, lost := tt.from, 0
		for m, err := range link.Messages(ctx, tt.topic, tt.after) {
			switch {
			case errors.Is(err, worker.ErrLost):
				lost++
			case err != nil:
				t.Fatalf("%s: %v", name, err)
			case string(m.Payload) != fmt.Sprint(next) || m.Sequence != uint64(next):
				t.Fatalf("%s: message %d is %q, want %d", name, m.Sequence, m.Payload, next)
			default:
				next++
			}
		}
		if next != 3001 || lost != tt.lost {
			t.Errorf("%s: up to %d, %d times lost, want %d", name, next-1, lost, tt.lost)
		}
	}
	for range link.Messages(ctx, "kept", worker.Position{}) {
		break // nobody has to read on
	}
	ended, end := context.WithCancel(ctx)
	end()
	for _, err := range link.Messages(ended, "kept", worker.Position{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}
