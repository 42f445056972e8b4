package link

import (
	"cmp"
	"slices"
	"time"
)

// A LinkInfo says what is known of a worker's connection.
type LinkInfo struct {
	ID         uint32
	Peer       string
	Since      time.Time
	Registered bool // what follows is known of registered links only

	WorkerID      int
	RegisterID    string
	TakesRequests bool
	WantsIdentity bool

	QueueBytes int           // that wait to be written
	QueueLimit int           // that may
	Received   uint64        // frames from the worker
	Sent       uint64        // messages, requests and events queued for it
	Silent     time.Duration // since it was last heard, or since it has come
	Still      bool          // it owes answers and sends nothing, or takes nothing: others get its share
}

// Links lists the connections of workers in the order in which they came. Any goroutine may call it.
func (h *Hub) Links() []LinkInfo {
	infos := make(map[*link]*LinkInfo)
	h.each(func(l *link) {
		infos[l] = &LinkInfo{ID: l.id, Peer: l.peer, Since: l.begun}
	})
	for i := range h.groups {
		p := h.groups[i].links.Load()
		if p == nil {
			continue
		}
		for _, l := range *p {
			info := infos[l]
			if info == nil {
				continue // it has come meanwhile, or goes
			}
			info.Registered, info.WorkerID, info.RegisterID = true, l.workerID, l.registerID
			info.TakesRequests, info.WantsIdentity = l.takesRequests, l.wantsIdentity
			info.Still = l.standsStill(*p)
		}
	}
	list := make([]LinkInfo, 0, len(infos))
	for l, info := range infos {
		l.outbox.mu.Lock()
		info.QueueBytes, info.QueueLimit = l.outbox.usedLocked(), l.outbox.limit
		l.outbox.mu.Unlock()
		info.Received, info.Sent = l.received.Load(), l.sent.Load()
		info.Silent = time.Since(l.begun)
		if at := l.progress.heard.Load(); at != 0 {
			info.Silent = max(time.Duration(h.now()-at), 0)
		}
		list = append(list, *info)
	}
	slices.SortFunc(list, func(a, b LinkInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
