package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// A Link is one connection to a gateway, through all its lives: it is dialled again when it is
// lost. Commands of one goroutine on one link are carried out in order.
//
// Commands copy their arguments. They return when the command is queued, or an error:
// ErrNotConnected, ErrLinkLost, netsvr.ErrFrameTooLarge, netsvr.ErrUTF8, the context's, all in a
// LinkError. What a gateway makes of a command it does not say: unknown ids are skipped, and empty
// data means to push nothing.
//
// Queries wait for the answer as long as their context allows, at most Config.QueryTimeout if it
// has no deadline. Their errors are those of commands, and ErrUnanswered, ErrTooManyQueries,
// netsvr.ErrMalformed for an answer that cannot be read, and MissingNodesError, in a LinkError too.
// What a query returns is the caller's.
//
// The methods of a Worker that are called the same take effect at the gateways concerned. There the
// errors of several gateways come joined, and a command or query that fails at one is still sent to
// the others; a query returns what these have answered.
type Link struct {
	worker  *Worker
	gateway *Gateway
	index   int // 0 registers
	inbox   inbox
	current atomic.Pointer[conn] // nil: down

	mu      sync.Mutex
	ready   bool          // registered, if it is to be
	changed chan struct{} // closed when ready or err changes
	err     error         // of the latest attempt
}

func newLink(w *Worker, g *Gateway, index int) *Link {
	l := &Link{worker: w, gateway: g, index: index, changed: make(chan struct{})}
	l.inbox.init(w.config.Inbox)
	return l
}

// Ready waits until the link is up and registered. When ctx ends first, the error is a LinkError for
// the command "dial", which wraps both the context's and that of the latest attempt: a
// RegisterError, ErrNoCluster or ErrProtocol, for one.
func (l *Link) Ready(ctx context.Context) error {
	for {
		l.mu.Lock()
		ready, changed, err := l.ready, l.changed, l.err
		l.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if err == nil {
				err = ErrNotConnected
			}
			return &LinkError{Gateway: l.gateway.addr, Command: "dial", Err: errors.Join(ctx.Err(), err)}
		}
	}
}

// Connected reports whether the link is up and registered at the moment.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

func (l *Link) set(ready bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready, l.err = ready, err
	close(l.changed)
	l.changed = make(chan struct{})
}

// run keeps the link up until ctx is done, and then until Run says that handlers need it no more.
func (l *Link) run(ctx context.Context) {
	quiet := sync.OnceFunc(l.worker.quiet.Done)
	defer quiet()
	config := &l.worker.config
	wait := backoff{min: config.RedialMin, max: config.RedialMax}
	log := l.worker.log.With("gateway", l.gateway.addr, "link", l.index)
	for ctx.Err() == nil {
		lasted, err := l.live(ctx, quiet)
		l.set(false, err)
		if ctx.Err() != nil {
			return
		}
		if lasted > 0 {
			l.worker.stats.links.Add(1)
		}
		if lasted >= config.RedialMax {
			wait.reset()
		}
		pause := wait.pause()
		log.Warn("link down", "error", err, "lasted", lasted, "redial", pause)
		sleep(ctx, pause)
	}
}

// live is one life of the link. It returns how long the link was ready, and why it is no more.
func (l *Link) live(ctx context.Context, quiet func()) (lasted time.Duration, err error) {
	w := l.worker
	dialCtx, cancel := context.WithTimeout(ctx, w.config.DialTimeout)
	nc, err := l.gateway.dial(dialCtx, &w.config)
	cancel()
	if err != nil {
		return 0, err
	}
	c := newConn(l, nc)
	defer func() {
		l.current.Store(nil)
		c.close(context.Canceled)
		c.wg.Wait()
	}()
	registered, err := l.greet(ctx, c)
	if err != nil {
		if c.lost() {
			err = fmt.Errorf("%w: %w", err, c.err)
		}
		return 0, err
	}
	since := time.Now()
	l.set(true, nil)
	w.log.Info("link up", "gateway", l.gateway.addr, "link", l.index, "serverId", l.gateway.serverID.Load())

	beat := time.NewTicker(w.config.Heartbeat)
	defer beat.Stop()
	stopping := ctx.Done()
	for {
		select {
		case now := <-beat.C:
			if c.waiting.stale(now.Add(-w.config.Heartbeat)) {
				c.close(ErrUnanswered)
				continue
			}
			c.ping()
		case <-stopping:
			stopping = nil
			l.set(false, nil)
			l.unregister(c, registered)
			quiet()
		case <-w.finish:
			l.finish(c)
			return time.Since(since), nil
		case <-c.done:
			return max(time.Since(since), 1), c.err
		}
	}
}

// greet shows the token, asks for the gateway's server id, which a registration must repeat, and
// registers. The connection serves commands from before the registration on, for handlers may need
// it at once.
func (l *Link) greet(ctx context.Context, c *conn) (registerID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.worker.config.QueryTimeout)
	defer cancel()
	if err := l.prove(ctx, c); err != nil {
		return "", err
	}
	var count netsvrpb.UniqIdCountResp
	if err := c.ask(ctx, netsvr.CmdUniqIDCount, nil, &count); err != nil {
		return "", fmt.Errorf("ask for the server id: %w", err)
	}
	l.gateway.identify(count.GetServerId())
	l.current.Store(c)
	if !l.registers() {
		return "", nil
	}
	var resp netsvrpb.RegisterResp
	err = c.ask(ctx, netsvr.CmdRegister, &netsvrpb.RegisterReq{
		WorkerId:               int32(l.worker.config.WorkerID),
		ProcessCmdGoroutineNum: 1,
		ServerId:               uint32(count.GetServerId()),
		AcceptsRequests:        l.worker.handlers.takesRequests(),
		WantsIdentity:          true,
		AnswersProbes:          true,
		ClusterScope:           l.worker.wide(),
	}, &resp)
	if err != nil {
		return "", fmt.Errorf("register: %w", err)
	}
	return resp.GetRegisterId(), cmp.Or(registerError(&resp), l.worker.inCluster(&resp))
}

// registers reports whether the link is the one on which clients' requests come.
func (l *Link) registers() bool { return l.index == 0 && l.worker.handlers.any() }

// wide reports whether each of the Worker's gateways stands for the whole cluster.
func (w *Worker) wide() bool { return w.config.Cluster || len(w.gateways) == 1 && !w.config.Local }

// inCluster looks whether a registration has got the scope that the Worker cannot do without.
func (w *Worker) inCluster(r *netsvrpb.RegisterResp) error {
	if w.config.Cluster && r.GetCluster() == "" {
		return ErrNoCluster
	}
	return nil
}

// unregister returns when no more events come: the answer stands behind the last.
func (l *Link) unregister(c *conn, registerID string) {
	if registerID == "" {
		return
	}
	// The context of Run is done already.
	ctx, cancel := context.WithTimeout(context.Background(), min(l.worker.config.QueryTimeout, l.worker.config.DrainTimeout))
	defer cancel()
	err := c.ask(ctx, netsvr.CmdUnregister, &netsvrpb.UnRegisterReq{
		WorkerId: int32(l.worker.config.WorkerID), RegisterId: registerID,
	}, &netsvrpb.UnRegisterResp{})
	if err != nil {
		l.worker.log.Warn("not unregistered", "gateway", l.gateway.addr, "error", err)
	}
}

// closeTimeout is how long a gateway may take for what was still queued, and to close its side.
const closeTimeout = time.Second

// finish writes what is queued and closes. Our side goes first: closing a socket that holds unread
// bytes would reset it, and the gateway lose our last replies.
func (l *Link) finish(c *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if c.out.flush(ctx) != nil {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
	}
}
