package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// A Bus is one connection to what carries messages between nodes. Messages that are published to one
// subject on one Bus arrive in that order, at most once each; a message published on a Bus behind a
// Subscribe of the same Bus reaches another node behind the subscription.
type Bus interface {
	// Publish sends data, which is copied. It may block for about a second. The error says that the
	// message was not sent.
	Publish(subject string, data []byte) error
	// Subscribe has messages to subject arrive in Messages, until Unsubscribe. It holds across
	// reconnections. It does not wait for the server.
	Subscribe(subject string) error
	Unsubscribe(subject string) error
	// Flush waits until the server has got what was published before, for about a second at most.
	Flush() error
	// Messages returns what arrives for all subscriptions. It is closed when the Bus is.
	Messages() <-chan *nats.Msg
	// Connected reports whether the Bus has its server. What it publishes meanwhile is refused.
	Connected() bool
	// Dropped is how many messages arrived and were dropped, since nobody took them.
	Dropped() uint64
	// MaxPayload is how long a message may be, in bytes.
	MaxPayload() int
	// OnChange has f called when the connection is lost or is there again, on a goroutine of the Bus's.
	// It is called once, before the first Subscribe.
	OnChange(f func(connected bool))
	Close()
}

// Errors of a Store.
var (
	ErrKeyExists   = errors.New("cluster: the key exists, or has another revision")
	ErrKeyNotFound = errors.New("cluster: no such key")
)

// An Entry is a value of a Store and its revision. Of a key that was deleted or has expired Value is nil.
// Revisions rise for as long as the Store is the same: one that was deleted and made again begins anew.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	At       time.Time // when it was written, by the server's clock
}

// A Store is a bucket of keys with revisions, all of which live for one time behind their last write.
// The errors are ErrKeyExists, ErrKeyNotFound, the context's or the server's.
type Store interface {
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Get(ctx context.Context, key string) (Entry, error)
	Delete(ctx context.Context, key string, revision uint64) error
	// Watch calls f for each key that there is, then with an Entry without a key, and then for each
	// change, one after the other, until ctx is done. That a key has expired is not told.
	Watch(ctx context.Context, f func(Entry)) error
	// Life is how long a key lives behind its last write.
	Life() time.Duration
}
