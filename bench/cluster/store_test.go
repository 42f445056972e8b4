package clustertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicenet/sluice/engine/internal/cluster"
)

// A Store's keys are made once, renewed by who has the revision, and seen by others.
func TestStore(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	a := connect(t, cluster.NATSConfig{URLs: []string{s.url()}}).Nodes()
	b := connect(t, cluster.NATSConfig{URLs: []string{s.url()}, Self: 1}).Nodes()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var seen []cluster.Entry
	var watch sync.WaitGroup
	watch.Go(func() {
		_ = b.Watch(ctx, func(e cluster.Entry) {
			mu.Lock()
			seen = append(seen, e)
			mu.Unlock()
		})
	})
	defer watch.Wait()
	defer cancel()
	last := func() cluster.Entry {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) == 0 {
			return cluster.Entry{Key: "none"}
		}
		return seen[len(seen)-1]
	}
	await(t, "the end of the keys that there are", func() bool { return last().Key == "" })
	first, err := a.Create(ctx, "01", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(ctx, "01", []byte("other")); !errors.Is(err, cluster.ErrKeyExists) {
		t.Errorf("made twice: %v", err)
	}
	second, err := a.Update(ctx, "01", []byte("two"), first)
	if err != nil || second <= first {
		t.Errorf("revision %d, %v", second, err)
	}
	if _, err := b.Update(ctx, "01", []byte("other"), first); !errors.Is(err, cluster.ErrKeyExists) {
		t.Errorf("an old revision: %v", err)
	}
	if e, err := b.Get(ctx, "01"); err != nil || string(e.Value) != "two" || e.Revision != second {
		t.Errorf("%q at %d, %v", e.Value, e.Revision, err)
	}
	await(t, "the value", func() bool { return string(last().Value) == "two" })
	if err := b.Delete(ctx, "01", first); err == nil {
		t.Error("deleted by an old revision")
	}
	if err := a.Delete(ctx, "01", second); err != nil {
		t.Error(err)
	}
	await(t, "its end", func() bool { e := last(); return e.Key == "01" && e.Value == nil })
	if _, err := b.Get(ctx, "01"); !errors.Is(err, cluster.ErrKeyNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
	if _, err := b.Create(ctx, "01", []byte("three")); err != nil {
		t.Errorf("made again: %v", err)
	}
	if a.Life() != 20*time.Second {
		t.Errorf("keys live for %v", a.Life())
	}
}

// A bucket that is gone with its server is made again, and a watch goes on.
func TestStoreLost(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	n := connect(t, cluster.NATSConfig{URLs: []string{s.url()}})
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan cluster.Entry, 1000)
	var watch sync.WaitGroup
	watch.Go(func() { _ = n.Nodes().Watch(ctx, func(e cluster.Entry) { seen <- e }) })
	defer watch.Wait()
	defer cancel()
	if _, err := n.Nodes().Create(ctx, "01", []byte("before")); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.options.StoreDir = t.TempDir()
	s.start()
	await(t, "the key", func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := n.Nodes().Create(ctx, "01", []byte("after"))
		return err == nil
	})
	await(t, "the watch", func() bool { return string((<-seen).Value) == "after" })
}

// A bucket whose keys never go would keep the ids of nodes that have died: it is refused.
func TestStoreUnfit(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	nc, err := nats.Connect(s.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sluice_test_nodes"}); err != nil {
		t.Fatal(err)
	}
	store := connect(t, cluster.NATSConfig{URLs: []string{s.url()}}).Nodes()
	var unfit *cluster.BucketError
	if _, err := store.Create(t.Context(), "01", nil); !errors.As(err, &unfit) {
		t.Errorf("%v", err)
	}
	if err := js.DeleteKeyValue(t.Context(), "sluice_test_nodes"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), "01", nil); err != nil {
		t.Errorf("without a bucket: %v", err)
	}
}
