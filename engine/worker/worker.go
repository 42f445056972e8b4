package worker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Worker serves the clients of one or more gateways.
type Worker struct {
	config   Config
	log      *slog.Logger
	handlers handlers
	gateways []*Gateway
	lanes    *lanes
	stats    stats
	started  atomic.Bool
	quiet    sync.WaitGroup // links from which no more events come
	finish   chan struct{}  // closed when handlers are done with the links
	stand    atomic.Int32   // with Config.Cluster: which of gateways stands for all
}

// New returns a Worker that Run will connect. The error is an ErrConfig.
func New(config Config) (*Worker, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	w := &Worker{config: config, log: config.Logger, finish: make(chan struct{})}
	w.lanes = newLanes(config.Concurrency)
	for i, addr := range config.Gateways {
		w.gateways = append(w.gateways, newGateway(w, addr, config.secure[i]))
	}
	return w, nil
}

// Gateways returns the gateways in the order of Config.Gateways. They are there before Run. The slice
// is the Worker's: read only.
func (w *Worker) Gateways() []*Gateway { return w.gateways }

// whom returns the gateways that a command for everybody goes to.
func (w *Worker) whom() []*Gateway {
	if !w.config.Cluster {
		return w.gateways
	}
	stand := w.stand.Load()
	for i := range w.gateways {
		at := (int(stand) + i) % len(w.gateways)
		if w.gateways[at].current.Load() == nil {
			continue
		}
		if i > 0 {
			w.stand.CompareAndSwap(stand, int32(at))
		}
		return w.gateways[at : at+1]
	}
	return w.gateways[stand : stand+1]
}

// Ready waits until every link of every gateway is up and registered. When ctx ends first, the error
// is a LinkError, as that of Link.Ready.
func (w *Worker) Ready(ctx context.Context) error {
	for _, g := range w.gateways {
		for _, l := range g.links {
			if err := l.Ready(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run connects the gateways, registers if there are handlers, and serves until ctx is done. Links
// that are refused or break are dialled again for ever.
//
// Then it unregisters, lets the handlers finish what has arrived, and disconnects: nil. Handlers
// that are busy after Config.DrainTimeout find their context cancelled; when they go on for 500 ms
// even so, Run returns ErrDrainTimeout without them. From ctx's end on all this takes at most twice
// DrainTimeout and 1.5 s.
//
// A Worker runs once: a second Run fails with ErrRunning. With a pattern or a range of commands that
// Handle or HandleCmd could not make sense of, Run fails with ErrPattern at once.
func (w *Worker) Run(ctx context.Context) error {
	if w.handlers.err != nil {
		return w.handlers.err
	}
	if !w.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	handlerCtx, cancelHandlers := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelHandlers()

	handled := make(chan struct{})
	var lanes sync.WaitGroup
	for i := range w.lanes.list {
		lanes.Go(func() { w.lanes.list[i].run(handlerCtx, w) })
	}
	var links sync.WaitGroup
	for _, g := range w.gateways {
		for _, l := range g.links {
			w.quiet.Add(1)
			links.Go(func() { l.run(ctx) })
		}
	}

	<-ctx.Done()
	w.log.Info("stopping")
	w.quiet.Wait()
	w.lanes.close()
	go func() {
		lanes.Wait()
		close(handled)
	}()
	err := awaitHandlers(handled, w.config.DrainTimeout, cancelHandlers)
	close(w.finish)
	links.Wait()
	return err
}

// afterCancel is how long handlers may take to notice that their context is cancelled.
const afterCancel = 500 * time.Millisecond

func awaitHandlers(handled <-chan struct{}, timeout time.Duration, cancel func()) error {
	select {
	case <-handled:
		return nil
	case <-time.After(timeout):
	}
	cancel()
	select {
	case <-handled:
	case <-time.After(afterCancel):
		return ErrDrainTimeout
	}
	return nil
}
