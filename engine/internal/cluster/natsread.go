package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pullFrames and pullBytes are how much of a read is on its way at a time.
	pullFrames = 2000
	pullBytes  = 4 << 20
	// pullSilence is how long nothing comes before what is left is asked for again.
	pullSilence = 2 * time.Second
	// consumerLife is when a consumer ends by itself whose reader has died.
	consumerLife = 10 * time.Second
	// lastBytes bounds the answer to a Last: the frames themselves come with it.
	lastBytes = 8 << 20
)

var errRead = errors.New("cluster: a read of the log of histories has missed something")

// apiDirect is where one message of the stream, or several, are asked for.
const apiDirect = "$JS.API.DIRECT.GET."

// Last implements Stream.
func (s *natsStream) Last(ctx context.Context, subjects []string, from uint64) (map[string]uint64, error) {
	conn, _, _, err := s.on()
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(map[string]any{"multi_last": subjects, "seq": from, "max_bytes": lastBytes})
	if err != nil {
		return nil, err
	}
	in := make(chan *nats.Msg, len(subjects)+1)
	inbox := conn.NewInbox()
	sub, err := conn.ChanSubscribe(inbox, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := conn.PublishRequest(apiDirect+s.name, inbox, request); err != nil {
		return nil, err
	}
	last := make(map[string]uint64)
	for {
		var m *nats.Msg
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case m = <-in:
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			n, err := strconv.ParseUint(m.Header.Get(headerSeq), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errRead, err)
			}
			last[m.Header.Get("Nats-Subject")] = n
		case "204", "404": // the end, nothing
			return last, nil
		case "503":
			return nil, ErrNoStream
		default:
			return nil, fmt.Errorf("%w: %s %s", errRead, status, m.Header.Get("Description"))
		}
	}
}

// A prober is a Stream that finds out whether the node may do what it needs of it.
type prober interface {
	Probe(ctx context.Context) error
}

// Probe implements prober. What the server does not allow is a *RefusedError that names it.
func (s *natsStream) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	nobody := []string{s.subs.history("sluice.probe")}
	_, err := s.Last(ctx, nobody, 1)
	if err == nil {
		err = s.read(ctx, nobody, 1, 1, func(Stored) bool { return false })
	}
	if denied := s.bus.denial(); err != nil && denied != nil {
		return &RefusedError{denied}
	}
	return err
}

// Read implements Stream, by a consumer that is thrown away.
func (s *natsStream) Read(ctx context.Context, subjects []string, from uint64, each func(Stored) bool) error {
	return s.read(ctx, subjects, from, 0, each)
}

// read asks for least frames at least, although there may be none.
func (s *natsStream) read(
	ctx context.Context, subjects []string, from, least uint64, each func(Stored) bool,
) (err error) {
	conn, js, _, err := s.on()
	if err != nil {
		return err
	}
	config := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1), AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: consumerLife, MemoryStorage: true, Replicas: 1, FilterSubjects: subjects,
	}
	info, err := s.createConsumer(ctx, js, config)
	if err != nil {
		return err
	}
	defer func() {
		if e := s.deleteConsumer(ctx, conn, js, info.Name, least > 0); err == nil {
			err = e
		}
	}()
	in := make(chan *nats.Msg, 2*pullFrames)
	inbox := conn.NewInbox()
	sub, err := conn.ChanSubscribe(inbox+".*", in)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	p := pull{s: s, conn: conn, in: in, inbox: inbox, consumer: info.Name, left: max(info.NumPending, least), each: each}
	for p.left > 0 && !p.stopped {
		if err := p.some(ctx); err != nil {
			return err
		}
	}
	return nil
}

// createConsumer makes one. The server that is asked may be dying: it is asked again before what is to be
// read has gone from the stream.
func (s *natsStream) createConsumer(
	ctx context.Context, js jetstream.JetStream, config jetstream.ConsumerConfig,
) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	consumer, err := js.CreateConsumer(ctx, s.name, config)
	if err != nil {
		return nil, err
	}
	return consumer.CachedInfo(), nil
}

// deleteConsumer throws one away. Nobody waits for that, unless it is to be known whether it may be done:
// a consumer that stays ends by itself.
func (s *natsStream) deleteConsumer(ctx context.Context, conn *nats.Conn, js jetstream.JetStream, name string, wait bool) error {
	if wait {
		return js.DeleteConsumer(ctx, s.name, name)
	}
	if err := conn.Publish("$JS.API.CONSUMER.DELETE."+s.name+"."+name, nil); err != nil {
		s.log.Debug("a consumer could not be deleted: it ends by itself", "err", err)
	}
	return nil
}

// A pull is a read under way.
type pull struct {
	s        *natsStream
	conn     *nats.Conn
	in       chan *nats.Msg
	inbox    string // what comes of pull N is told to inbox.N
	pulls    int
	consumer string
	left     uint64 // frames
	got      uint64
	each     func(Stored) bool
	stopped  bool
}

// some asks for some frames, and passes on what comes.
func (p *pull) some(ctx context.Context) error {
	most := int(min(p.left, pullFrames))
	request, err := json.Marshal(map[string]any{
		"batch": most, "max_bytes": max(pullBytes, 2*int(p.conn.MaxPayload())), "no_wait": true,
	})
	if err != nil {
		return err
	}
	p.pulls++
	reply := p.inbox + "." + strconv.Itoa(p.pulls)
	if err := p.conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+p.s.name+"."+p.consumer, reply, request); err != nil {
		return err
	}
	quiet := time.NewTimer(pullSilence)
	defer quiet.Stop()
	for n := 0; n < most; {
		var m *nats.Msg
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-quiet.C:
			return fmt.Errorf("%w: it is silent", errRead)
		case m = <-p.in:
		}
		switch status := m.Header.Get("Status"); {
		case status != "" && m.Subject != reply: // of the pull before
			continue
		case status == "404", status == "408": // no more
			if n == 0 {
				p.left = 0
			}
			return nil
		case status == "409" && n > 0: // as many bytes as may be
			return nil
		case status != "":
			return fmt.Errorf("%w: %s %s", errRead, status, m.Header.Get("Description"))
		}
		about, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("%w: %w", errRead, err)
		}
		if p.got++; about.Sequence.Consumer != p.got {
			return errRead
		}
		n++
		p.left = about.NumPending
		if !p.each(Stored{Subject: m.Subject, Seq: about.Sequence.Stream, At: about.Timestamp, Frame: m.Data}) {
			p.stopped = true
			return nil
		}
	}
	return nil
}
