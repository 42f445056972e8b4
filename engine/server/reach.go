package server

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/sluicenet/sluice/engine"
)

// Who names connections: one by its uniqId (UniqID) or all of a user's (User). The zero Who names
// nobody.
type Who struct{ id, user string }

// UniqID names the connection that holds a uniqId.
func UniqID(id string) Who { return Who{id: id} }

// User names all connections of a user, of every protocol that logs in. The empty user, who is
// anonymous, has none.
func User(user string) Who { return Who{user: user} }

// find returns the connections that w names now.
func (s *Server) find(w Who) []engine.Ref {
	if w.id == "" {
		return s.gateway.Connections(nil, w.user)
	}
	if ref := s.gateway.Lookup([]byte(w.id)); ref != 0 {
		return []engine.Ref{ref}
	}
	return nil
}

// Online returns how many connections a user has, of every protocol that logs in. The empty user, who
// is anonymous, has none. Any goroutine may call it.
func (s *Server) Online(user string) int { return s.gateway.Online(user) }

// Send pushes payload to the connections that who names, as a push of the configured route and
// command, and returns how many those were when it looked; one that closes meanwhile gets nothing
// and is counted as a drop. payload is copied.
//
// It may be called from any goroutine. Outside the loops it waits and keeps order as Publish does; the
// error is ctx's own, behind which a push that waited for room may still be delivered, or
// engine.ErrStopped. In a
// handler or a hook it does not wait and does not look at ctx: the push is delivered in a later
// turn of the connection's loop, in the order of the loop's own Sends but maybe before what the
// handler has published, and the error is engine.ErrBusy while 16 MiB of such pushes are under way.
// With an error addressed is 0.
func (s *Server) Send(ctx context.Context, who Who, payload []byte) (addressed int, err error) {
	payload = bytes.Clone(payload)
	return s.reach(ctx, who, cap(payload), func(pb *engine.Publisher, refs []engine.Ref) error {
		return pb.Multicast(refs, s.gateway.Push(payload))
	}, func(c *engine.Conn) { c.Deliver(s.gateway.Push(payload)) })
}

// Kick closes the connections that who names, with the final words that their protocols have for
// why, and returns how many those were when it looked. engine.ReasonForcedOffline, ReasonKickedOut,
// ReasonLoginExpired and ReasonLoginRevoked end the session, too; after any other its client may resume
// it.
//
// It may be called from any goroutine, waits as Send does, with the same errors and one for a why that
// is no Reason, and takes effect behind earlier Sends.
func (s *Server) Kick(ctx context.Context, who Who, why engine.Reason) (addressed int, err error) {
	if int(why) >= len(engine.Reasons()) {
		return 0, fmt.Errorf("server: %d is no reason to close a connection", why)
	}
	return s.reach(ctx, who, 0, func(pb *engine.Publisher, refs []engine.Ref) error {
		for _, ref := range refs {
			err := pb.Do(ref, func(c *engine.Conn) {
				if c != nil {
					c.Close(why)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	}, func(c *engine.Conn) { c.Close(why) })
}

// reach does with the connections that who names what outside does off the loops, or on one each,
// which holds so many bytes meanwhile.
func (s *Server) reach(ctx context.Context, who Who, bytes int,
	outside func(*engine.Publisher, []engine.Ref) error, each func(*engine.Conn),
) (int, error) {
	if !s.running() {
		return 0, engine.ErrStopped
	}
	refs := s.find(who)
	if len(refs) == 0 {
		return 0, ctx.Err()
	}
	var err error
	if engine.OnLoop() {
		err = s.fromLoop(refs, bytes, each)
	} else {
		err = s.outside(ctx, func(pb *engine.Publisher) error { return outside(pb, refs) })
	}
	if err != nil {
		return 0, err
	}
	return len(refs), nil
}

const (
	// maxFromLoops bounds the pushes from handlers that are under way: as many bytes as a
	// connection's share of published runs, and enough for a burst of every client.
	maxFromLoops = 16 << 20
	// tellSize is what one of them costs besides its payload, in bytes.
	tellSize = 64
)

// fromLoop does each with connections on their loops, without waiting. It charges the bytes that
// each holds to the engine until that has happened.
func (s *Server) fromLoop(refs []engine.Ref, bytes int, each func(*engine.Conn)) error {
	size := int64(bytes + tellSize*len(refs))
	if n := s.fromLoops.Add(size); n > maxFromLoops && n > size { // one always fits
		s.fromLoops.Add(-size)
		return engine.ErrBusy
	}
	s.engine.Charge(engine.KindDeferred, size)
	var left atomic.Int64
	left.Store(int64(len(refs)))
	release := func() {
		if left.Add(-1) == 0 {
			s.fromLoops.Add(-size)
			s.engine.Charge(engine.KindDeferred, -size)
		}
	}
	var err error
	for _, ref := range refs {
		if !s.engine.Tell(ref, func(c *engine.Conn) {
			defer release()
			if c != nil && c.Open() {
				each(c)
			}
		}) {
			release()
			err = engine.ErrStopped // for all of them
		}
	}
	return err
}
