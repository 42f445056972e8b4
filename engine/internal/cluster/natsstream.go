package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A natsStream is a Stream on JetStream. All of it goes over the control connection.
type natsStream struct {
	bus      *natsBus
	name     string
	subs     subjects
	replicas int
	log      *slog.Logger
	acks     chan StreamAck

	mu     sync.Mutex
	conn   *nats.Conn // of what follows
	js     jetstream.JetStream
	inbox  string       // acknowledgements come to inbox.TICKET
	limits StreamLimits // that were wanted last
}

// streamName is the name of the stream of a cluster.
func streamName(cluster string) string { return "SLUICE_" + cluster + "_H" }

func newNATSStream(bus *natsBus, config *NATSConfig) *natsStream {
	return &natsStream{
		bus: bus, name: streamName(config.Name), subs: newSubjects(config.Name), replicas: config.Replicas,
		log: config.Logger, acks: make(chan StreamAck, 1024),
	}
}

// on returns what there is on the connection. Acknowledgements are listened for.
func (s *natsStream) on() (conn *nats.Conn, js jetstream.JetStream, inbox string, err error) {
	conn = s.bus.conn.Load()
	if conn == nil || !s.bus.Connected() {
		return nil, nil, "", errNotStarted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		return conn, s.js, s.inbox, nil
	}
	js, err = jetstream.New(conn)
	if err != nil {
		return nil, nil, "", err
	}
	inbox = conn.NewInbox()
	in := make(chan *nats.Msg, busRoom)
	if _, err := conn.ChanSubscribe(inbox+".*", in); err != nil {
		return nil, nil, "", err
	}
	if !s.bus.besides(func() { s.listen(conn, in) }) {
		return nil, nil, "", nats.ErrConnectionClosed
	}
	s.conn, s.js, s.inbox = conn, js, inbox
	return conn, js, inbox, nil
}

// listen passes acknowledgements on until the connection is closed for good.
func (s *natsStream) listen(conn *nats.Conn, in <-chan *nats.Msg) {
	closed := conn.StatusChanged(nats.CLOSED)
	for {
		select {
		case <-s.bus.done:
			return
		case <-closed:
			return
		case m := <-in:
			k, ok := readAck(m, s.name)
			if !ok {
				continue
			}
			select {
			case s.acks <- k:
			case <-s.bus.done:
				return
			}
		}
	}
}

// Acks implements Stream.
func (s *natsStream) Acks() <-chan StreamAck { return s.acks }

// readAck reads the answer to a frame that was appended.
func readAck(m *nats.Msg, stream string) (k StreamAck, ok bool) {
	ticket, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
	if err != nil {
		return k, false
	}
	k.Ticket = ticket
	if m.Header.Get("Status") == "503" {
		k.Err = ErrNoStream
		return k, true
	}
	var answer struct {
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return k, false
	case answer.Error != nil:
		k.Err = answer.Error
		if answer.Error.Code >= 500 {
			k.Err = &busyError{answer.Error}
		}
	case answer.Stream != stream:
		k.Err = fmt.Errorf("stream %s has taken it", answer.Stream)
	default:
		k.Seq, k.Duplicate = answer.Seq, answer.Duplicate
	}
	return k, true
}

// Append implements Stream.
func (s *natsStream) Append(subject, id string, frame []byte, ticket uint64) error {
	conn, _, inbox, err := s.on()
	if err != nil {
		return err
	}
	return conn.PublishMsg(&nats.Msg{
		Subject: subject, Reply: inbox + "." + strconv.FormatUint(ticket, 10), Data: frame,
		Header: nats.Header{nats.MsgIdHdr: []string{id}},
	})
}

// checkVersion refuses a server that cannot do what is needed.
func (s *natsStream) checkVersion(conn *nats.Conn) error {
	v := conn.ConnectedServerVersion()
	if older(v) {
		return &StreamError{s.name, fmt.Errorf("the NATS server has version %s: topics with history want %s or later", v, leastVersion)}
	}
	return nil
}

// older reports whether a version is below leastVersion.
func older(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 2 || major == 2 && minor < 11
}

const duplicatesWindow = 2 * time.Minute

// config is the stream as it is made.
func (s *natsStream) config(limits StreamLimits) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: s.name, Description: "histories of topics of sluice's nodes", Subjects: []string{s.subs.histories()},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.MemoryStorage,
		MaxBytes: limits.Bytes, MaxAge: limits.Age, MaxMsgsPerSubject: limits.PerSubject, MaxMsgs: -1, MaxConsumers: -1,
		AllowDirect: true, Duplicates: duplicatesWindow, Replicas: s.replicas,
		RePublish: &jetstream.RePublish{Source: s.subs.histories(), Destination: s.subs.heardAs()},
	}
	if limits.File {
		c.Storage = jetstream.FileStorage
	}
	if limits.Age > 0 && limits.Age < c.Duplicates {
		c.Duplicates = limits.Age // it must not be longer
	}
	return c
}

// Open implements Stream.
func (s *natsStream) Open(ctx context.Context, limits StreamLimits) (st StreamState, err error) {
	conn, js, _, err := s.on()
	if err != nil {
		return st, err
	}
	if err := s.checkVersion(conn); err != nil {
		return st, err
	}
	s.mu.Lock()
	s.limits = limits
	s.mu.Unlock()
	stream, err := js.Stream(ctx, s.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.make(ctx, js, conn, limits)
	}
	if err != nil {
		return st, s.explain(err, limits)
	}
	return s.stateOf(stream.CachedInfo()), nil
}

// make makes the stream. Several nodes may do so at once.
func (s *natsStream) make(
	ctx context.Context, js jetstream.JetStream, conn *nats.Conn, limits StreamLimits,
) (jetstream.Stream, error) {
	config := s.config(limits)
	if config.Replicas == 0 {
		config.Replicas = 1
		if conn.ConnectedClusterName() != "" {
			config.Replicas = 3
		}
	}
	stream, err := js.CreateStream(ctx, config)
	if refused := (*jetstream.APIError)(nil); s.replicas == 0 && config.Replicas > 1 && errors.As(err, &refused) &&
		!errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		config.Replicas = 1
		s.log.Warn("the log of histories is made without replicas", "stream", s.name, "err", err)
		stream, err = js.CreateStream(ctx, config)
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return js.Stream(ctx, s.name)
	case err == nil:
		s.log.Info("the log of histories was made", "stream", s.name, "replicas", config.Replicas, "storage", config.Storage,
			"bytes", config.MaxBytes, "per-topic", config.MaxMsgsPerSubject, "age", config.MaxAge)
	}
	return stream, err
}

// explain has errors that trying again does not mend be a StreamError.
func (s *natsStream) explain(err error, limits StreamLimits) error {
	refused := (*jetstream.APIError)(nil)
	switch denied := s.bus.denial(); {
	case denied != nil && errors.Is(err, context.DeadlineExceeded):
		return &StreamError{s.name, fmt.Errorf("%w; an administrator makes it with: %s", denied, s.command(limits))}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return &StreamError{s.name, errors.New("the NATS server has no JetStream, or not for this account")}
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoStream
	case errors.Is(err, jetstream.ErrStreamNotFound): // it was made a moment ago: not all servers know of it yet
		return err
	case errors.As(err, &refused) && refused.Code < 500:
		return &StreamError{s.name, err}
	}
	return err
}

// command is what makes the stream.
func (s *natsStream) command(limits StreamLimits) string {
	c := s.config(limits)
	storage := "memory"
	if limits.File {
		storage = "file"
	}
	return fmt.Sprintf("nats stream add %s --subjects '%s' --republish-source '%s' --republish-destination '%s' "+
		"--storage %s --replicas %d --retention limits --discard old --allow-direct --dupe-window %v "+
		"--max-bytes %d --max-msgs-per-subject %d --max-age %v --defaults",
		s.name, c.Subjects[0], c.RePublish.Source, c.RePublish.Destination, storage, cmp.Or(s.replicas, 3), c.Duplicates,
		c.MaxBytes, limits.PerSubject, limits.Age)
}

func (s *natsStream) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	_, js, _, err := s.on()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, s.name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// State implements Stream.
func (s *natsStream) State(ctx context.Context) (StreamState, error) {
	info, err := s.info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrNoResponders):
		return StreamState{}, ErrNoStream
	case err != nil:
		return StreamState{}, err
	}
	return s.stateOf(info), nil
}

// stateOf is what the leader has said of the stream.
func (s *natsStream) stateOf(info *jetstream.StreamInfo) StreamState {
	c, st := &info.Config, &info.State
	out := StreamState{
		Epoch: uint64(info.Created.UnixMicro()), First: st.FirstSeq, Last: st.LastSeq, FirstAt: st.FirstTime, LastAt: st.LastTime,
		Limits: StreamLimits{
			PerSubject: c.MaxMsgsPerSubject, Age: c.MaxAge, Bytes: c.MaxBytes, File: c.Storage == jetstream.FileStorage,
		},
		Frames: st.Msgs, Replicas: c.Replicas, Kept: c.MaxMsgsPerSubject,
	}
	if st.Msgs == 0 {
		out.First = st.LastSeq + 1
	} else if kept, until := readKept(c.Metadata); st.FirstTime.Before(until) {
		out.Kept = lower(out.Kept, kept)
	}
	s.mu.Lock()
	limits := s.limits
	s.mu.Unlock()
	for _, k := range s.settings(info, limits) {
		switch {
		case k.right:
		case k.low:
			out.Low = append(out.Low, k.String())
		default:
			out.Wrong = append(out.Wrong, k.String())
		}
	}
	out.Other = s.otherwise(info, limits)
	return out
}
