package worker

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// maxWaiting bounds the queries of a link, so that a gateway that answers none costs no more.
const maxWaiting = 4096

// A call is a query on the wire. Answers carry no id but come in the order of the queries, so a
// call whose caller has left keeps its place: its answer must not go to the next in line.
type call struct {
	cmd    netsvr.Command
	answer proto.Message
	done   chan error // capacity 1
	left   time.Time  // when its caller gave up; zero: it waits
}

// waiting are the calls of a connection, oldest first.
type waiting struct {
	mu    sync.Mutex
	calls []*call
	err   error // set when the connection is lost
}

// add is called with the outbox locked, so that calls stand here as they do on the wire.
func (q *waiting) add(c *call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	if len(q.calls) >= maxWaiting {
		return ErrTooManyQueries
	}
	q.calls = append(q.calls, c)
	return nil
}

// leave gives up c at now.
func (q *waiting) leave(c *call, now time.Time) {
	q.mu.Lock()
	c.left = now
	q.mu.Unlock()
}

// answer hands an answer to the oldest call for cmd. Older ones are then never answered. False
// means that nobody had asked.
func (q *waiting) answer(cmd netsvr.Command, payload []byte) (ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, c := range q.calls {
		if c.cmd != cmd {
			continue
		}
		for _, skipped := range q.calls[:i] {
			skipped.done <- ErrUnanswered
		}
		q.dropLocked(i + 1)
		if c.left.IsZero() {
			err = netsvr.Unmarshal(payload, c.answer)
			c.done <- err
		}
		return true, err
	}
	return false, nil
}

func (q *waiting) dropLocked(n int) {
	rest := copy(q.calls, q.calls[n:])
	clear(q.calls[rest:])
	q.calls = q.calls[:rest]
}

// stale reports whether the oldest call was given up before the time limit and still has no
// answer. Then there will be none, and the next answer to the same command would be taken for it.
func (q *waiting) stale(limit time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.calls) > 0 && !q.calls[0].left.IsZero() && q.calls[0].left.Before(limit)
}

// fail ends all calls, also those to come.
func (q *waiting) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	for _, c := range q.calls {
		c.done <- err
	}
	q.calls = nil
}
