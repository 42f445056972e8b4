package link

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"
)

// asked are the requests of other nodes' clients that workers here have yet to answer.
type asked struct {
	mu   sync.Mutex
	list map[uint64]asking // by the id that the worker was given
}

// An asking is one of them.
type asking struct {
	node   uint8
	ticket uint64 // at that node
	worker int
	link   uint32
	until  time.Time
}

const (
	// maxAsked bounds them; more are refused. It is 25 MB.
	maxAsked = 1 << 18
	// askedGrace is how much longer than its client one is kept.
	askedGrace = time.Second
)

// isFar reports whether an id is one of these: the place in the table of a loop's own is never 0.
func isFar(id uint64) bool { return id != 0 && id>>32&(1<<24-1) == 0 }

// clientFar is shareOf for another node's client.
func clientFar(uniqID []byte) uint64 { return max(maphash.Bytes(shareSeed, uniqID), 1) }

// add returns the id, which nobody can guess, and 0 if there are too many.
func (q *asked) add(a asking) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= maxAsked {
		return 0
	}
	if q.list == nil {
		q.list = make(map[uint64]asking)
	}
	for {
		id := rand.Uint64() &^ ((1<<24 - 1) << 32)
		if _, used := q.list[id]; id != 0 && !used {
			q.list[id] = a
			return id
		}
	}
}

func (q *asked) take(id uint64) (a asking, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a, ok = q.list[id]
	delete(q.list, id)
	return a, ok
}

// reassign has another link owe an answer.
func (q *asked) reassign(id uint64, link uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a, ok := q.list[id]; ok {
		a.link = link
		q.list[id] = a
	}
}

// dropLink takes out what a link owes.
func (q *asked) dropLink(link uint32) (list []asking) {
	return q.drop(func(a *asking) bool { return a.link == link })
}

// dropNode forgets what a node's clients wait for.
func (q *asked) dropNode(node uint8) { q.drop(func(a *asking) bool { return a.node == node }) }

// expire forgets what nobody waits for any more.
func (q *asked) expire(now time.Time) {
	q.drop(func(a *asking) bool { return now.After(a.until.Add(askedGrace)) })
}

func (q *asked) drop(gone func(*asking) bool) (list []asking) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, a := range q.list {
		if gone(&a) {
			list = append(list, a)
			delete(q.list, id)
		}
	}
	return list
}
