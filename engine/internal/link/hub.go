package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/internal/beat"
	"github.com/sluicenet/sluice/session"
)

// A Hub holds the links to workers and finds the link for what goes to them. Its methods may be
// called from any goroutine.
type Hub struct {
	config  Config
	log     *slog.Logger
	gateway *gateway.Gateway
	tokens  *session.OneTime

	listener net.Listener
	running  sync.WaitGroup // links' readers, and the goroutines of Listen

	mu       sync.Mutex // guards links, unproven, from, maxLinks, groups' changes and closed
	links    map[*link]struct{}
	unproven map[*unproven]struct{}
	from     map[netip.Addr]int // of unproven, by subject
	maxLinks int
	nextID   uint32
	closed   bool

	trust    atomic.Pointer[Trust]
	live     atomic.Pointer[live]
	failures failures
	rates    linkRates

	groups  [gateway.MaxWorker + 1]group
	steps   []step // by loop; made before the first link is in its group
	metrics metrics
	delayed *delayed
	moving  sync.Mutex        // one move at a time
	moves   *engine.Publisher // theirs
	watched bool              // links are looked after that stand still. Guarded by mu
	stop    chan struct{}
	stray   func(*gateway.Gateway, gateway.Ticket) bool // gateway.Stray

	far      far
	cluster  Cluster // nil: there is none
	stats    hubStats
	ended    endCounts
	refusals refusalCounts
	foreign  foreignHosts

	refusalLines refusalLines
}

// A group is the links that are registered under one worker id.
type group struct {
	links atomic.Pointer[[]*link]
	next  atomic.Uint32

	tookRequests bool // one of its links once did. Guarded by Hub.mu
	attached     bool // to the gateway, for requests. Guarded by Hub.mu
}

// pick returns a link of the group in turn, one that want accepts; nil if there is none. A link that
// stands still is left out while another will do.
func (g *group) pick(want func(*link) bool) *link {
	p := g.links.Load()
	if p == nil || len(*p) == 0 {
		return nil
	}
	list, start := *p, uint32(0)
	if len(list) > 1 {
		start = g.next.Add(1)
	}
	var still *link
	for i := range list {
		l := list[(int(start)+i)%len(list)]
		if want != nil && !want(l) {
			continue
		}
		if len(list) == 1 || !l.standsStill(list) {
			return l
		}
		if still == nil {
			still = l
		}
	}
	return still
}

// pickOpen returns a link of the group in turn, one that has room if there is one.
func (g *group) pickOpen() *link {
	if l := g.pick((*link).hasRoom); l != nil {
		return l
	}
	return g.pick(nil)
}

// NewHub makes a Hub for a gateway. tokens are the one-time tokens of custom uniqIds.
func NewHub(g *gateway.Gateway, tokens *session.OneTime, config Config) (*Hub, error) {
	config = config.withDefaults()
	if err := config.Check(); err != nil {
		return nil, err
	}
	h := &Hub{
		config:   config,
		log:      config.Logger,
		gateway:  g,
		tokens:   tokens,
		links:    make(map[*link]struct{}),
		unproven: make(map[*unproven]struct{}),
		from:     make(map[netip.Addr]int),
		maxLinks: config.MaxLinks,
		stop:     make(chan struct{}),
		stray:    gateway.Stray,

		refusalLines: newRefusalLines(config.Logger),
	}
	trust, err := config.Trust()
	if err != nil {
		return nil, err
	}
	h.SetTrust(trust)
	h.SetRates(config.FrameRate, config.ByteRate)
	h.delayed = newDelayed(config.Delayed, func(n int) { h.charge(engine.KindLinkDelayed, n) })
	h.live.Store(liveOf(&config, nil))
	h.metrics.since = time.Now()
	h.metrics.outside = func() (writes, bytes int64) {
		messages, payload := g.Engine().Delivered()
		return int64(messages), int64(payload)
	}
	return h, nil
}

// Listen serves workers on a TCP address and returns the real one.
func (h *Hub) Listen(address string) (net.Addr, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	h.Serve(ln)
	return ln.Addr(), nil
}

// Serve serves workers on ln, in place of Listen, and returns at once. The Hub closes ln.
func (h *Hub) Serve(ln net.Listener) {
	h.listener = ln
	h.start()
	h.running.Go(h.accept)
}

// start runs what runs beside the links until Close.
func (h *Hub) start() {
	h.moves = h.gateway.Engine().NewPublisher()
	h.running.Go(h.tick)
	h.running.Go(func() {
		late := &link{hub: h, peer: "delayed", publisher: h.gateway.Engine().NewPublisher()}
		h.delayed.run(h.stop, late.runDelayed)
	})
}

// charge counts bytes kept for links, or takes them away.
func (h *Hub) charge(k engine.Kind, n int) { h.gateway.Engine().Charge(k, int64(n)) }

// Config returns the configuration with its defaults filled in. It must not be changed.
func (h *Hub) Config() *Config { return &h.config }

func (h *Hub) accept() {
	for {
		conn, err := h.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			h.stats.acceptRetry.Add(1)
			h.log.Warn("accepting a worker", "err", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-h.stop:
			}
			continue
		}
		h.serve(conn)
	}
}

// serve runs a link on conn, or what is to become one, unless there are too many.
func (h *Hub) serve(conn net.Conn) {
	peer, addr := peerOf(conn)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		leave(conn)
		return
	}
	if len(h.links)+len(h.unproven) >= h.maxLinks && !h.evictUnproven(netip.Addr{}) && !h.evict() {
		limit := h.maxLinks
		h.mu.Unlock()
		h.stats.refused.Add(1)
		h.log.Warn("worker refused: too many links", "peer", peer, "limit", limit)
		conn.Close()
		return
	}
	if !h.config.Proxy && h.config.TLS == nil && h.proven(conn, h.trust.Load().allowed(addr)) {
		h.startLink(conn, peer, address.Key(addr), nil)
		h.mu.Unlock()
		return
	}
	why, ok := h.prove(conn, peer, addr)
	h.mu.Unlock()
	if !ok {
		h.logRefusal(why, peer, nil)
		conn.Close()
	}
}

// startLink runs a link on conn, of which first has been read already. host is its peer's address.Key.
// h.mu is held.
func (h *Hub) startLink(conn net.Conn, peer string, host netip.Addr, first []byte) {
	h.nextID++
	l := newLink(h, conn, h.nextID)
	l.peer, l.host, l.first = peer, host, first
	l.registerID = fmt.Sprintf("%08x%s", l.id, peer)
	h.links[l] = struct{}{}
	h.running.Go(l.run)
}

// evict makes room for a link: of those that have sent nothing yet the one that has been silent for
// longest goes, unless it has only just come. It reports whether there was one. h.mu is held.
func (h *Hub) evict() bool {
	var oldest *link
	for l := range h.links {
		if !l.heard.Load() && !l.evicted && (oldest == nil || l.begun.Before(oldest.begun)) {
			oldest = l
		}
	}
	if oldest == nil || time.Since(oldest.begun) < evictAfter {
		return false
	}
	oldest.evicted = true // it leaves h.links a little later
	oldest.endWith(endMadeRoom)
	h.stats.refused.Add(1)
	h.log.Warn("silent worker link closed to make room", "peer", oldest.peer, "limit", h.maxLinks)
	oldest.conn.Close()
	return true
}

// evictAfter is how long a link may take to its first byte, however many others want its place.
const evictAfter = 2 * time.Second

// SetMaxLinks replaces Config.MaxLinks for connections that come; zero means 4096. Links that are
// there stay.
func (h *Hub) SetMaxLinks(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxLinks = Config{MaxLinks: n}.withDefaults().MaxLinks
}

// MaxLinks is how many connections workers may have.
func (h *Hub) MaxLinks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.maxLinks
}

// tick samples the metrics.
func (h *Hub) tick() {
	next := h.metrics.since.Add(sampleEvery)
	beat.Run(time.Second, h.stop, func() {
		now := time.Now()
		if now.After(next) {
			h.metrics.sample(now)
			next = next.Add(sampleEvery)
		}
		h.far.asked.expire(now)
		h.tokens.Expire(h.gateway.Engine().Time(), 1024)
	})
}

func (h *Hub) each(f func(*link)) {
	h.mu.Lock()
	list := make([]*link, 0, len(h.links))
	for l := range h.links {
		list = append(list, l)
	}
	h.mu.Unlock()
	for _, l := range list {
		f(l)
	}
}

// Serves reports whether a worker of an id is attached, be it for requests or for messages alone. It
// is no method, since a Hub's are for programs, too.
func Serves(h *Hub, id int) bool {
	list := h.groups[id].links.Load()
	return list != nil && len(*list) > 0
}

// join puts a link into its group.
func (h *Hub) join(l *link, id int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.steps == nil {
		h.steps = newSteps(h)
	}
	g := &h.groups[id]
	var list []*link
	if p := g.links.Load(); p != nil {
		list = append(list, *p...)
	}
	list = append(list, l)
	g.links.Store(&list)
	if len(list) > 1 && !h.watched {
		h.watched = true
		h.running.Go(h.watch)
	}
	g.tookRequests = g.tookRequests || l.takesRequests
	h.attach(g, id, list)
}

// attach has the gateway's requests come to a group while it has links for them: those that take
// requests, or any until there was one that does. The messages of the others are not what a client
// wants whose worker has gone for a moment. h.mu is held.
func (h *Hub) attach(g *group, id int, list []*link) {
	wanted := len(list) > 0 && (!g.tookRequests || slices.ContainsFunc(list, func(l *link) bool { return l.takesRequests }))
	if wanted == g.attached {
		return
	}
	g.attached = wanted
	if wanted {
		h.gateway.Attach(id, requests{h, id})
	} else {
		h.gateway.Attach(id, nil)
	}
}

// leave takes a link out of its group. It reports whether it was there.
func (h *Hub) leave(l *link, id int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := &h.groups[id]
	p := g.links.Load()
	if p == nil {
		return false
	}
	list := make([]*link, 0, len(*p))
	for _, other := range *p {
		if other != l {
			list = append(list, other)
		}
	}
	if len(list) == len(*p) {
		return false
	}
	g.links.Store(&list)
	h.attach(g, id, list)
	return true
}

// forget takes a link that ends out of every group.
func (h *Hub) forget(l *link) {
	for id := 1; id <= gateway.MaxWorker; id++ {
		if p := h.groups[id].links.Load(); p != nil && len(*p) > 0 {
			h.leave(l, id)
		}
	}
	h.announce()
}

// find returns the registered link with a registerId.
func (h *Hub) find(id int, registerID string) *link {
	if id < 1 || id > gateway.MaxWorker {
		return nil
	}
	if p := h.groups[id].links.Load(); p != nil {
		for _, l := range *p {
			if l.registerID == registerID {
				return l
			}
		}
	}
	return nil
}

// Close stops listening, lets the links write what waits for their workers, and ends them. Links
// that have not ended shortly before ctx is done are cut off, whatever their workers do; the error
// says how many, and how much was not written. Close returns within ctx, or at most closeGrace after
// it if ctx has no deadline. Clients should be gone by then, so that each ConnClose is among what waits. A second
// Close does nothing.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	if h.listener != nil {
		_ = h.listener.Close()
	}
	close(h.stop)
	h.cutUnproven()
	h.delayed.close()
	h.each((*link).drain)
	ended := make(chan struct{})
	go func() {
		h.running.Wait()
		close(ended)
	}()
	soon, cancel := beforeEnd(ctx)
	defer cancel()
	select {
	case <-ended:
		return nil
	case <-soon.Done():
	}
	links, unwritten := 0, 0
	h.each(func(l *link) {
		links++
		unwritten += l.outbox.cut()
		// In place of what drain has said.
		l.why.Store(uint32(endCutOff))
		l.conn.Close()
	})
	select {
	case <-ended:
	case <-time.After(closeGrace):
		// Readers that wait for a loop end when the engine stops.
	}
	if links == 0 {
		return nil
	}
	return fmt.Errorf("worker: %d links cut off with %d bytes unwritten: %w", links, unwritten, soon.Err())
}

// closeGrace is how long links that are cut off may take to end.
const closeGrace = 100 * time.Millisecond

// beforeEnd returns ctx with closeGrace less time, at most half.
func beforeEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, left-min(closeGrace, left/2))
}
