package admin

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
)

const (
	// maxCursors is how many sorted lists are kept for those who leaf through them, each for cursorTTL
	// from when it was last asked for. The one goes that was not asked for longest.
	maxCursors = 8
	cursorTTL  = time.Minute
)

// cursors are sorted lists that somebody leafs through: a list that is sorted anew for each page
// would show some connections twice, and others not at all.
type cursors struct {
	charge func(bytes int64)
	mu     sync.Mutex
	lists  map[string]*sortedList
}

type sortedList struct {
	refs []engine.Ref
	used time.Time
}

func (cs *cursors) keep(refs []engine.Ref, now time.Time) (id string) {
	var b [8]byte
	_, _ = rand.Read(b[:])
	id = hex.EncodeToString(b[:])
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.expire(now)
	if len(cs.lists) >= maxCursors {
		oldest := ""
		for other, l := range cs.lists {
			if oldest == "" || l.used.Before(cs.lists[oldest].used) {
				oldest = other
			}
		}
		cs.drop(oldest)
	}
	if cs.lists == nil {
		cs.lists = make(map[string]*sortedList)
	}
	cs.lists[id] = &sortedList{refs, now}
	cs.charge(int64(cap(refs)) * 8)
	return id
}

func (cs *cursors) drop(id string) {
	cs.charge(-int64(cap(cs.lists[id].refs)) * 8)
	delete(cs.lists, id)
}

func (cs *cursors) expire(now time.Time) {
	for id, l := range cs.lists {
		if now.Sub(l.used) > cursorTTL {
			cs.drop(id)
		}
	}
}

// clear drops all lists.
func (cs *cursors) clear() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for id := range cs.lists {
		cs.drop(id)
	}
}

func (cs *cursors) find(cursor string, now time.Time) (id string, refs []engine.Ref, offset int, err error) {
	id, at, ok := strings.Cut(strings.TrimPrefix(cursor, "s"), ".")
	offset, aerr := strconv.Atoi(at)
	if !ok || aerr != nil || !strings.HasPrefix(cursor, "s") {
		return "", nil, 0, badRequest("cursor=%s: want what an earlier answer has as next", clip(cursor))
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.expire(now)
	l := cs.lists[id]
	if l == nil {
		return "", nil, 0, &refusal{http.StatusGone, codeGone, "the list is not kept any more: begin again without a cursor"}
	}
	if offset < 0 || offset > len(l.refs) {
		return "", nil, 0, badRequest("cursor=%s: the list is not so long", clip(cursor))
	}
	l.used = now
	return id, l.refs, offset, nil
}
