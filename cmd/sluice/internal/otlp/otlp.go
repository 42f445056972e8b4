package otlp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/redact"
)

const (
	// maxQueue is how many spans may wait, 2 MiB or so: what 2,000 requests a second make in a second, in
	// which a batch is sent.
	maxQueue = 2048
	// maxBatch is how many are sent at once, and batchEvery how long the first of them waits for others.
	maxBatch   = 512
	batchEvery = time.Second
	// maxTries is how often a batch is sent to a collector that asks for another try, and firstPause how
	// long is waited before the second, if it does not say; twice as long before each further one.
	maxTries   = 4
	firstPause = 500 * time.Millisecond
	maxPause   = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 10
	// logEvery is how often the log says that spans were lost.
	logEvery = 10 * time.Second
)

// An Exporter is a server.Tracer that sends spans to a collector.
type Exporter struct {
	config Config
	client http.Client
	log    *slog.Logger
	queue  chan *server.Span
	names  names
	fixed  *trace.ResourceSpans // without its spans

	sent, dropped, lost atomic.Uint64
	unlogged            uint64    // of lost: the log does not know; the goroutine's
	loggedAt            time.Time // when it was last told

	closing sync.Once
	flush   chan struct{}   // closed when the rest is to be sent
	ctx     context.Context // done when nothing is waited for any more
	cancel  context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended
}

var _ server.Tracer = (*Exporter)(nil)

// New makes an Exporter. It asks nobody yet.
func New(c Config) *Exporter {
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Exporter{
		config: c,
		client: http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.TLS, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
				ResponseHeaderTimeout: c.Timeout, TLSHandshakeTimeout: c.Timeout, MaxResponseHeaderBytes: 16 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:   c.Logger,
		queue: make(chan *server.Span, maxQueue),
		fixed: resourceSpans(&c),
		flush: make(chan struct{}),
		done:  make(chan struct{}),
	}
	if c.transport != nil {
		e.client.Transport = c.transport
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	go e.run()
	return e
}

// End implements server.Tracer. Any goroutine may call it; it never waits.
func (e *Exporter) End(s *server.Span) {
	select {
	case e.queue <- s:
	default:
		e.dropped.Add(1)
	}
}

// Stats returns how many spans were sent, dropped because the collector did not keep up, and lost because
// it could not be reached or did not want them.
func (e *Exporter) Stats() (sent, dropped, lost uint64) {
	return e.sent.Load(), e.dropped.Load(), e.lost.Load()
}

// Close sends what waits, until ctx is done. Spans that come later are nobody's.
func (e *Exporter) Close(ctx context.Context) {
	e.closing.Do(func() { close(e.flush) })
	select {
	case <-e.done:
	case <-ctx.Done():
		e.cancel()
		<-e.done
	}
	e.cancel()
	e.client.CloseIdleConnections()
}

// run sends batches until the Exporter is closed.
func (e *Exporter) run() {
	defer close(e.done)
	timer := time.NewTimer(batchEvery)
	defer timer.Stop()
	for {
		batch := make([]*server.Span, 0, maxBatch)
		select {
		case s := <-e.queue:
			batch = append(batch, s)
		case <-e.flush:
			e.sendRest()
			return
		}
		timer.Reset(batchEvery)
		for full := false; !full && len(batch) < maxBatch; {
			select {
			case s := <-e.queue:
				batch = append(batch, s)
			case <-timer.C:
				full = true
			case <-e.flush:
				batch, full = e.take(batch), true
			}
		}
		e.export(batch)
	}
}

// sendRest sends what is in the queue.
func (e *Exporter) sendRest() {
	for {
		batch := e.take(nil)
		if len(batch) == 0 {
			break
		}
		e.export(batch)
	}
	e.tell(nil, true)
}

// take fills a batch with what is in the queue, from which nobody else takes.
func (e *Exporter) take(batch []*server.Span) []*server.Span {
	for len(batch) < maxBatch && len(e.queue) > 0 {
		batch = append(batch, <-e.queue)
	}
	return batch
}

// export sends a batch, or counts it as lost.
func (e *Exporter) export(batch []*server.Span) {
	body, err := proto.Marshal(e.request(batch))
	if err != nil { // all texts are UTF-8
		e.lose(uint64(len(batch)), err)
		return
	}
	pause := firstPause
	for try := 1; ; try++ {
		rejected, again, wait, err := e.post(body)
		if err == nil {
			rejected = min(rejected, uint64(len(batch)))
			e.sent.Add(uint64(len(batch)) - rejected)
			if rejected > 0 {
				e.lose(rejected, errors.New("the collector rejected them"))
			}
			return
		}
		if !again || try == maxTries || !e.sleep(cmp.Or(min(wait, maxPause), pause)) {
			e.lose(uint64(len(batch)), err)
			return
		}
		pause *= 2
	}
}

// sleep reports false when nothing is waited for any more: at the end there is one try.
func (e *Exporter) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.flush:
		return false
	}
}

// post sends one request. again says that another try may do, after wait if the collector has said so.
func (e *Exporter) post(body []byte) (rejected uint64, again bool, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.config.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.config.URL.String(), bytes.NewReader(body))
	if err != nil {
		return 0, false, 0, errors.New("the URL is none of HTTP")
	}
	r.Header = e.config.Header.Clone()
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "sluice/"+e.config.Version)
	resp, err := e.client.Do(r)
	if err != nil {
		return 0, true, 0, fmt.Errorf("%s: %w", e.config.URL.Host, redact.Cause(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusOK:
		var m collector.ExportTraceServiceResponse
		if err == nil && proto.Unmarshal(text, &m) == nil {
			rejected = uint64(max(m.GetPartialSuccess().GetRejectedSpans(), 0))
		}
		return rejected, false, 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			wait = time.Duration(min(s, 3600)) * time.Second
		}
	}
	return 0, again, wait, fmt.Errorf("%s answered %d", e.config.URL.Host, resp.StatusCode)
}

// lose counts spans that were not sent.
func (e *Exporter) lose(n uint64, err error) {
	e.lost.Add(n)
	e.unlogged += n
	e.tell(err, false)
}

// tell has the log know of lost spans, now and then, and at the end.
func (e *Exporter) tell(err error, last bool) {
	if e.unlogged == 0 || !last && time.Since(e.loggedAt) < logEvery {
		return
	}
	attrs := []any{"spans", e.unlogged}
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	e.log.Warn("spans of traces were lost", attrs...)
	e.unlogged, e.loggedAt = 0, time.Now()
}
