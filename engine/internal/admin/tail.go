package admin

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

const (
	// maxTails is how many tails there may be at a time: each is a connection of its own.
	maxTails = 16
	// tailBytes bounds what waits for the reader of a tail. Over it the oldest messages go.
	tailBytes = 1 << 20
	// tailText is how much of a message is shown, in bytes.
	tailText = 16 << 10
	// tailCost is what a message costs besides what is shown of it, in bytes.
	tailCost = 64
	// beatEvery is how often a stream says that it lives, and whether messages were dropped.
	beatEvery = 10 * time.Second
	// streamWrite is how long a client may take to read what a stream has written.
	streamWrite = 10 * time.Second
	// maxStreams is how many streams of counters there may be at a time.
	maxStreams = 32
)

// A tailed is a message that waits for the reader of a tail.
type tailed struct {
	at   time.Time
	size int    // of the payload
	text []byte // its first tailText bytes
}

// A backlog is what waits for the reader of a tail.
type tailBacklog struct {
	charge func(bytes int64)
	more   chan struct{} // of one: there is something to take

	mu      sync.Mutex
	waiting []tailed
	bytes   int
	dropped uint64
	err     error // nothing more comes
}

func (b *tailBacklog) add(m tailed) {
	b.mu.Lock()
	b.waiting = append(b.waiting, m)
	b.bytes += len(m.text) + tailCost
	b.charge(int64(len(m.text) + tailCost))
	for b.bytes > tailBytes && len(b.waiting) > 1 {
		b.release(len(b.waiting[0].text) + tailCost)
		b.waiting[0] = tailed{}
		b.waiting = b.waiting[1:]
		b.dropped++
	}
	b.mu.Unlock()
	b.wake()
}

func (b *tailBacklog) release(n int) {
	b.bytes -= n
	b.charge(-int64(n))
}

func (b *tailBacklog) end(err error) {
	b.mu.Lock()
	b.err = err
	b.mu.Unlock()
	b.wake()
}

func (b *tailBacklog) wake() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// take returns all that waits, and how many were dropped so far.
func (b *tailBacklog) take() (list []tailed, dropped uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, b.waiting = b.waiting, nil
	b.release(b.bytes)
	return list, b.dropped, b.err
}

// read reads messages off an attached connection until it ends. It never waits for the reader of the
// tail, so the gateway never waits for either.
func (b *tailBacklog) read(conn net.Conn) {
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			b.end(err)
			return
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		text := make([]byte, min(size, tailText))
		_, err := io.ReadFull(r, text)
		if err == nil {
			_, err = r.Discard(size - len(text))
		}
		if err != nil {
			b.end(err)
			return
		}
		b.add(tailed{time.Now(), size, text})
	}
}

// A tailMessage is a message as a tail shows it.
type tailMessage struct {
	Time      time.Time `json:"time"`
	Bytes     int       `json:"bytes"`
	Payload   string    `json:"payload"`
	Base64    bool      `json:"base64"`    // the payload is not UTF-8, and shown in base64
	Truncated bool      `json:"truncated"` // it is the first part only
}

func (m *tailed) message() tailMessage {
	v := tailMessage{Time: m.at.UTC(), Bytes: m.size, Truncated: m.size > len(m.text)}
	text := m.text
	if v.Truncated { // a rune may be cut
		for n := 0; n < utf8.UTFMax && !utf8.Valid(text) && len(text) > 0; n++ {
			text = text[:len(text)-1]
		}
	}
	if utf8.Valid(text) {
		v.Payload = string(text)
	} else {
		v.Payload, v.Base64 = base64.StdEncoding.EncodeToString(m.text), true
	}
	return v
}

// A stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// newStream begins one. Nobody in between is to keep it back.
func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	return &stream{w, http.NewResponseController(w)}
}

// event writes one; it goes out with flush.
func (st *stream) event(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = st.control.SetWriteDeadline(time.Now().Add(streamWrite))
	_, err = fmt.Fprintf(st.w, "event: %s\ndata: %s\n\n", name, b)
	return err
}

func (st *stream) flush() error {
	_ = st.control.SetWriteDeadline(time.Now().Add(streamWrite))
	return st.control.Flush()
}

// limited lets a few in at a time.
func limited(w http.ResponseWriter, places chan struct{}, what string) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, codeBusy, fmt.Sprintf("%d %s are open: close one", cap(places), what))
		return false
	}
}

type dropped struct {
	Dropped uint64 `json:"dropped"` // messages, since the tail began
}

type tailBegin struct {
	Topic string `json:"topic"`
}

// tail answers with what is published to a topic, as it comes, until the client has enough. The events
// are open, message, dropped when messages were, and beat. With ?last=n the last n messages that the
// topic has kept come first.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) {
	q := parameters(r, "last", "name")
	topic := q.part(r, "name")
	last := q.number("last", 0, gateway.MostHistory)
	err := q.err
	if err == nil {
		err = s.checkTopic(topic)
	}
	if err == nil && last > 0 && !s.engine.History().Keeps([]byte(topic)) {
		err = noHistory(topic)
	}
	if err != nil {
		s.answerError(w, err)
		return
	}
	if !limited(w, s.tails, "tails") {
		return
	}
	defer func() { <-s.tails }()
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // none over a unix socket
	past, err := s.lastOf(r.Context(), topic, last)
	if err != nil {
		s.answerError(w, err)
		return
	}
	conn, err := s.attachBehind(topic, past, peer)
	if err != nil {
		s.answerError(w, err)
		return
	}
	defer conn.Close()
	s.act(r, "tail", "topic", clip(topic))
	b := &tailBacklog{more: make(chan struct{}, 1), charge: s.charge}
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		b.read(conn)
	}()
	defer func() {
		conn.Close()
		<-reader
		_, n, _ := b.take()
		s.tailDrops.Add(n)
	}()
	_ = s.sendTail(r.Context(), newStream(w), topic, past, b) // the client is gone, or the gateway stops
}

// lastOf returns the last n messages that a topic has kept: what a page has no room for is left to
// who attaches behind them.
func (s *Server) lastOf(ctx context.Context, topic string, n int) (past gateway.History, err error) {
	if n > 0 {
		past, _, err = s.gateway.History(ctx, []byte(topic), gateway.HistoryQuery{Last: n, Limit: n, Bytes: tailBytes})
	}
	return past, err
}

// attachBehind attaches to what is published to a topic behind what lastOf has returned.
func (s *Server) attachBehind(name string, past gateway.History, peer netip.AddrPort) (net.Conn, error) {
	from := past.End
	if n := len(past.Messages); n > 0 {
		from.Seq = past.Messages[n-1].Seq
	}
	if from.Epoch == 0 {
		return s.engine.Attach([]byte(name), peer)
	}
	return s.engine.AttachFrom([]byte(name), from, peer)
}

func (s *Server) sendTail(ctx context.Context, st *stream, topic string, past gateway.History, b *tailBacklog) error {
	if err := st.event("open", tailBegin{topic}); err != nil {
		return err
	}
	for i := range past.Messages {
		m := tailedOf(&past.Messages[i])
		if err := st.event("message", m.message()); err != nil {
			return err
		}
	}
	s.tailed.Add(uint64(len(past.Messages)))
	if err := st.flush(); err != nil {
		return err
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	told := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if err := st.event("beat", dropped{told}); err != nil {
				return err
			}
		case <-b.more:
		}
		list, lost, ended := b.take()
		if lost != told {
			told = lost
			if err := st.event("dropped", dropped{lost}); err != nil {
				return err
			}
		}
		for i := range list {
			if err := st.event("message", list[i].message()); err != nil {
				return err
			}
		}
		s.tailed.Add(uint64(len(list)))
		if err := st.flush(); err != nil || ended != nil {
			return err
		}
	}
}

// streamStats answers with the counters once a second, as events called stats.
func (s *Server) streamStats(w http.ResponseWriter, r *http.Request) {
	if err := parameters(r).err; err != nil {
		s.answerError(w, err)
		return
	}
	if !limited(w, s.streams, "streams of counters") {
		return
	}
	defer func() { <-s.streams }()
	st := newStream(w)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		if st.event("stats", s.report(time.Now())) != nil || st.flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-t.C:
		}
	}
}

// charge counts bytes that are kept for operators.
func (s *Server) charge(n int64) { s.engine.Charge(engine.KindMonitor, n) }
