package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nodesLife is how long a lease is good behind its last renewal: by far longer than NATS takes to elect
// a leader, up to 9 s, while nobody can renew.
const nodesLife = 20 * time.Second

// namesLife is how long a user or uniqId of a node that has died stays in the bucket of names, where it
// counts for nothing: what is there is written again each third of it.
const (
	namesLife      = 24 * time.Hour
	leastNamesLife = 3 * minRenewal
)

// sessionMargin is how much longer a session's key lives behind its last write than its tickets can.
const sessionMargin = time.Minute

// quietWatch is how long a watch may be silent before another is made. Leases are renewed each second; of a
// bucket that was deleted nothing more is told, and by suspectAfter it must be known who is in the new one.
const quietWatch = 3 * time.Second

// A kvStore is a Store on JetStream. It opens its bucket when it is first used, again after errors that
// say that it has gone, and makes it if there is none.
type kvStore struct {
	bus      *natsBus
	bucket   string
	about    string        // what it is, for operators
	least    time.Duration // of life
	want     time.Duration // of life, if it is made
	replicas int
	log      *slog.Logger
	life     atomic.Int64 // of the bucket that there is

	opening  chan struct{} // has room for the one who opens the bucket
	warnedOf string        // the server's version; of the one who opens

	mu    sync.Mutex
	kv    jetstream.KeyValue // nil: not open
	conn  *nats.Conn         // of kv
	wrong string             // what of the bucket is not as it has to be
	seen  int                // its replicas
}

func newKVStore(bus *natsBus, bucket, about string, life, least time.Duration, replicas int, log *slog.Logger) *kvStore {
	s := &kvStore{
		bus: bus, bucket: bucket, about: about, least: least, want: life, replicas: replicas, log: log,
		opening: make(chan struct{}, 1),
	}
	s.life.Store(int64(life))
	return s
}

// A BucketError says that there is no bucket as it is needed, and that none can be made.
type BucketError struct {
	Bucket string
	Err    error
}

func (e *BucketError) Error() string { return "bucket " + e.Bucket + ": " + e.Err.Error() }

func (e *BucketError) Unwrap() error { return e.Err }

// opened returns the bucket if it is open on the connection, and whether it has ever been.
func (s *kvStore) opened(conn *nats.Conn) (kv jetstream.KeyValue, used bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		kv = s.kv
	}
	return kv, s.conn != nil
}

// open returns the bucket. One caller opens it at a time; the others wait for that no longer than their
// own contexts say.
func (s *kvStore) open(ctx context.Context) (jetstream.KeyValue, error) {
	conn := s.bus.conn.Load()
	if conn == nil || !s.bus.Connected() {
		return nil, errNotStarted
	}
	if kv, _ := s.opened(conn); kv != nil {
		return kv, nil
	}
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-ctx.Done():
		return nil, s.explain(ctx.Err())
	}
	conn = s.bus.conn.Load()
	kv, used := s.opened(conn)
	if kv != nil {
		return kv, nil
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	s.warnOfVersion(conn)
	kv, err = js.KeyValue(ctx, s.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = s.make(ctx, js, conn)
	}
	if err != nil {
		return nil, s.explain(err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	if status.TTL() == 0 && !used { // of one that was in use it is said
		return nil, &BucketError{s.bucket, fmt.Errorf("its keys live for ever: want a TTL of %v", s.want)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if info, ok := status.(*jetstream.KeyValueBucketStatus); ok {
		s.judge(&info.StreamInfo().Config)
	}
	s.kv, s.conn = kv, conn
	return kv, nil
}

// make makes the bucket. Several nodes may do so at once.
func (s *kvStore) make(ctx context.Context, js jetstream.JetStream, conn *nats.Conn) (jetstream.KeyValue, error) {
	config := jetstream.KeyValueConfig{
		Bucket: s.bucket, Description: s.about, TTL: s.want, Replicas: s.replicas,
		Storage: jetstream.FileStorage,
	}
	if config.Replicas == 0 {
		config.Replicas = 1
		if conn.ConnectedClusterName() != "" {
			config.Replicas = 3
		}
	}
	kv, err := js.CreateKeyValue(ctx, config)
	if refused := (*jetstream.APIError)(nil); s.replicas == 0 && config.Replicas > 1 && errors.As(err, &refused) &&
		!errors.Is(err, jetstream.ErrBucketExists) {
		s.log.Warn("the bucket is made without replicas: it is lost with its server", "bucket", s.bucket, "err", err)
		config.Replicas = 1
		kv, err = js.CreateKeyValue(ctx, config)
	}
	switch {
	case errors.Is(err, jetstream.ErrBucketExists):
		return js.KeyValue(ctx, s.bucket)
	case err == nil:
		s.log.Info("a bucket was made", "bucket", s.bucket, "replicas", config.Replicas, "ttl", s.want)
	}
	return kv, err
}

// explain has errors that trying again does not mend be a BucketError.
func (s *kvStore) explain(err error) error {
	refused := (*jetstream.APIError)(nil)
	switch denied := s.bus.denial(); {
	case denied != nil && errors.Is(err, context.DeadlineExceeded):
		return &RefusedError{denied}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders) && !s.hasJetStream():
		return &BucketError{s.bucket, errors.New("the NATS server has no JetStream, or not for this account")}
	case errors.Is(err, jetstream.ErrBadBucket):
		return &BucketError{s.bucket, errors.New("there is a stream of this name that is no bucket")}
	case errors.Is(err, jetstream.ErrStreamNotFound): // it was made a moment ago: not all servers know of it yet
		return err
	case errors.As(err, &refused) && refused.Code < 500:
		return &BucketError{s.bucket, err}
	}
	return err
}

// hasJetStream reports whether the server says that it has JetStream. If it has, and nobody answers,
// there is no leader yet.
func (s *kvStore) hasJetStream() bool {
	conn := s.bus.conn.Load()
	if conn == nil {
		return true
	}
	enabled, _ := conn.ConnectedServerJetStream()
	return enabled
}

// leastVersion is from which version on servers can do all that a cluster wants.
const leastVersion = "2.11"

// warnOfVersion warns of an old server, once for each version.
func (s *kvStore) warnOfVersion(conn *nats.Conn) {
	v := conn.ConnectedServerVersion()
	if older(v) && v != s.warnedOf {
		s.warnedOf = v
		s.log.Warn("an old NATS server: topics and commands work, history over nodes does not", "version", v,
			"want", leastVersion)
	}
}

// failed returns what an operation's error is to the caller, and forgets the bucket if it has gone.
func (s *kvStore) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return ErrKeyExists
	case errors.Is(err, jetstream.ErrKeyNotFound): // ErrKeyDeleted is one, too
		return ErrKeyNotFound
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound),
		errors.Is(err, nats.ErrNoResponders):
		s.forget()
	}
	return s.explain(err)
}

func (s *kvStore) forget() {
	s.mu.Lock()
	s.kv = nil
	s.mu.Unlock()
}

// Create implements Store.
func (s *kvStore) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	kv, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	revision, err := kv.Create(ctx, key, value)
	return revision, s.failed(err)
}

// Update implements Store.
func (s *kvStore) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	kv, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	revision, err = kv.Update(ctx, key, value, revision)
	return revision, s.failed(err)
}

// Get implements Store.
func (s *kvStore) Get(ctx context.Context, key string) (Entry, error) {
	kv, err := s.open(ctx)
	if err != nil {
		return Entry{}, err
	}
	e, err := kv.Get(ctx, key)
	if err != nil {
		return Entry{}, s.failed(err)
	}
	return entry(e), nil
}

// Delete implements Store.
func (s *kvStore) Delete(ctx context.Context, key string, revision uint64) error {
	kv, err := s.open(ctx)
	if err != nil {
		return err
	}
	return s.failed(kv.Delete(ctx, key, jetstream.LastRevision(revision)))
}

// Life implements Store.
func (s *kvStore) Life() time.Duration { return time.Duration(s.life.Load()) }

// entry is an entry of the library's as this package has it.
func entry(e jetstream.KeyValueEntry) Entry {
	out := Entry{Key: e.Key(), Revision: e.Revision(), At: e.Created()}
	if e.Operation() == jetstream.KeyValuePut {
		out.Value = append([]byte{}, e.Value()...)
	}
	return out
}

// Watch implements Store. A watch that has ended, or is silent for too long, is followed by another,
// which begins with all keys again.
func (s *kvStore) Watch(ctx context.Context, f func(Entry)) error {
	for {
		if err := s.watch(ctx, f); err != nil && ctx.Err() == nil && !errors.Is(err, errNotStarted) {
			s.log.Debug("the leases of other nodes cannot be watched", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(natsWait):
		}
	}
}

func (s *kvStore) watch(ctx context.Context, f func(Entry)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(quietWatch, cancel)
	defer late.Stop()
	kv, err := s.open(ctx)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	late.Stop()
	if err != nil {
		return s.failed(err)
	}
	defer func() { _ = w.Stop() }()
	quiet := time.NewTimer(quietWatch)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-quiet.C:
			return errors.New("it is silent")
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("it has ended")
			case e == nil:
				f(Entry{})
			default:
				f(entry(e))
			}
			quiet.Reset(quietWatch)
		}
	}
}
