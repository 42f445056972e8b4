package clustertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicenet/sluice/engine/internal/cluster"
)

func connect(t *testing.T, config cluster.NATSConfig) *cluster.NATS {
	t.Helper()
	n := newNATS(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func newNATS(t *testing.T, config cluster.NATSConfig) *cluster.NATS {
	t.Helper()
	if config.Name == "" {
		config.Name = "test"
	}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	n, err := cluster.NewNATS(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Data().Close()
		n.Control().Close()
	})
	return n
}

func receive(t *testing.T, b cluster.Bus) *nats.Msg {
	t.Helper()
	select {
	case m, ok := <-b.Messages():
		if !ok {
			t.Fatal("the bus is closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message")
	}
	return nil
}

func publish(t *testing.T, b cluster.Bus, subject, text string) {
	t.Helper()
	if err := b.Publish(subject, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// Messages of one Bus arrive in order on another, the Bus itself hears nothing of its own on the data
// connection, and an Unsubscribe ends it.
func TestBus(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	a := connect(t, cluster.NATSConfig{URLs: []string{s.url()}})
	b := connect(t, cluster.NATSConfig{URLs: []string{s.url()}, Self: 1})
	for _, bus := range []cluster.Bus{a.Data(), b.Data()} {
		for _, subject := range []string{"sluice.test.t.x", "sluice.test.t.y", "sluice.test.n.all"} {
			if err := bus.Subscribe(subject); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What b publishes behind its subscriptions arrives at a, once a's are there, and then what a
	// publishes reaches b.
	await(t, "a's subscriptions", func() bool {
		publish(t, b.Data(), "sluice.test.n.all", "here")
		return len(a.Data().Messages()) > 0
	})
	heard := func(b cluster.Bus, want string) {
		t.Helper()
		for m := receive(t, b); string(m.Data) != want; m = receive(t, b) {
			if string(m.Data) != "here" {
				t.Fatalf("%s on %s, want %s", m.Data, m.Subject, want)
			}
		}
	}
	for i := range 1000 {
		publish(t, a.Data(), "sluice.test.t."+string("xy"[i%2]), fmt.Sprint(i))
	}
	for i := range 1000 {
		if m := receive(t, b.Data()); string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("%s, want %d", m.Data, i)
		}
	}
	if err := b.Data().Unsubscribe("sluice.test.t.x"); err != nil {
		t.Fatal(err)
	}
	publish(t, b.Data(), "sluice.test.n.all", "done")
	heard(a.Data(), "done")
	publish(t, a.Data(), "sluice.test.t.x", "too late")
	publish(t, a.Data(), "sluice.test.t.y", "last")
	if m := receive(t, b.Data()); string(m.Data) != "last" {
		t.Fatalf("%s, want last", m.Data)
	}
	if n := b.Data().MaxPayload(); n != 1<<20 {
		t.Errorf("a payload of %d bytes", n)
	}
}

// While the server is away publishing fails at once, and nothing of it comes later. Subscriptions hold.
func TestBusServerAway(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	a := connect(t, cluster.NATSConfig{URLs: []string{s.url()}})
	b := connect(t, cluster.NATSConfig{URLs: []string{s.url()}, Self: 1})
	var ups, downs atomic.Int32
	b.Data().OnChange(func(connected bool) {
		if connected {
			ups.Add(1)
			return
		}
		downs.Add(1)
	})
	await(t, "the first change", func() bool { return ups.Load() == 1 })
	if err := b.Data().Subscribe("sluice.test.t.x"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	await(t, "the end of connections", func() bool { return !a.Data().Connected() && !b.Data().Connected() })
	begun := time.Now()
	for i := range 10 {
		if err := a.Data().Publish("sluice.test.t.x", []byte("lost")); err == nil {
			t.Errorf("publish %d without a server succeeds", i)
		}
	}
	if d := time.Since(begun); d > patience {
		t.Errorf("ten publishes without a server took %v", d)
	}
	if err := b.Data().Subscribe("sluice.test.t.y"); err != nil { // it holds when the server is back
		t.Fatal(err)
	}
	s.start()
	await(t, "connections", func() bool { return a.Data().Connected() && b.Data().Connected() })
	await(t, "the change", func() bool { return ups.Load() == 2 && downs.Load() == 1 })
	publish(t, a.Data(), "sluice.test.t.x", "found")
	publish(t, a.Data(), "sluice.test.t.y", "found, too")
	for _, want := range []string{"found", "found, too"} {
		if m := receive(t, b.Data()); string(m.Data) != want {
			t.Fatalf("%s, want %s", m.Data, want)
		}
	}
}

// A server that does not let the node in is an error at once, which names it.
func TestBusRefused(t *testing.T) {
	t.Parallel()
	s := startNATS(t, func(o *server.Options) { o.Username, o.Password = "me", "secret-word" })
	n := newNATS(t, cluster.NATSConfig{URLs: []string{strings.Replace(s.url(), "//", "//me:wrong@", 1)}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var refused *cluster.RefusedError
	err := n.Connect(ctx)
	if !errors.As(err, &refused) || ctx.Err() != nil {
		t.Errorf("wrong password: %v", err)
	}
	ok := connect(t, cluster.NATSConfig{URLs: []string{strings.Replace(s.url(), "//", "//me:secret-word@", 1)}})
	if !ok.Data().Connected() {
		t.Error("not connected")
	}
}

// Without a server Connect gives up with its context and says what is wrong, and the connection is made
// once there is one.
func TestBusServerLater(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	s.stop()
	n := newNATS(t, cluster.NATSConfig{URLs: []string{s.url()}})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := n.Connect(ctx); err == nil {
		t.Error("connected to nobody")
	}
	if err := n.Data().Publish("sluice.test.t.x", nil); err == nil {
		t.Error("published to nobody")
	}
	if err := n.Data().Subscribe("sluice.test.t.x"); err != nil {
		t.Error(err)
	}
	s.start()
	await(t, "the connection", func() bool { return n.Data().Connected() && n.Control().Connected() })
	publish(t, n.Control(), "sluice.test.t.x", "hello")
	receive(t, n.Data())
}

// What nobody takes is dropped and counted, and the connection stays.
func TestBusDrops(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	n := connect(t, cluster.NATSConfig{URLs: []string{s.url()}})
	if err := n.Data().Subscribe("sluice.test.t.x"); err != nil {
		t.Fatal(err)
	}
	const room, more = 65_536, 1000
	await(t, "drops", func() bool {
		for range more {
			publish(t, n.Control(), "sluice.test.t.x", "")
		}
		return n.Data().Dropped() > 0
	})
	taken := uint64(0)
	for len(n.Data().Messages()) > 0 {
		<-n.Data().Messages()
		taken++
	}
	if taken < room {
		t.Errorf("%d messages were kept, want %d", taken, room)
	}
	dropped := n.Data().Dropped()
	if err := n.Data().Unsubscribe("sluice.test.t.x"); err != nil {
		t.Error(err)
	}
	if n := n.Data().Dropped(); n < dropped {
		t.Errorf("%d dropped after the end of the subscription, want %d", n, dropped)
	}
}
