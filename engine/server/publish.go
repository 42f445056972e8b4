package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicenet/sluice/engine"
)

// Publish sends payload to a topic's subscribers of every protocol, as a push of the configured
// route and command. It waits for its turn and for room until ctx is done. Publishes, Sends and
// Kicks of one goroutine take effect in order. payload may be used again when it returns.
//
// The error is ctx's own; engine.ErrStopped, when the Server does not run; engine.ErrOnLoop in a
// handler or a hook, which must not wait: a handler has Request.Publish; a NameError, for a topic that
// cannot be one, because its name is not UTF-8 or too long; or an *engine.LogError, when a topic's
// history in a cluster cannot take the message. With an error nobody gets it, but for one that waited
// for such a history when ctx ended: it may get there yet.
func (s *Server) Publish(ctx context.Context, topic string, payload []byte) error {
	if engine.OnLoop() {
		return engine.ErrOnLoop
	}
	if err := s.gateway.CheckTopic([]byte(topic)); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	pb, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer func() { s.turn <- pb }()
	until, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(engine.ErrStopped) })()
	if err = pb.PublishContext(until, []byte(topic), s.gateway.Push(payload)); err != nil {
		if until.Err() != nil && ctx.Err() == nil {
			return context.Cause(until)
		}
	}
	return err
}

// take waits for the Publisher that goroutines outside the loops share, until ctx is done or the
// Server has stopped. Whoever has taken it puts it back into s.turn.
func (s *Server) take(ctx context.Context) (*engine.Publisher, error) {
	if !s.running() || s.life.Err() != nil {
		return nil, engine.ErrStopped
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case pb := <-s.turn:
		return pb, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.life.Done():
		return nil, engine.ErrStopped
	}
}

// errEnded is that of a Send whose encoder has ended the goroutine that it was called on.
var errEnded = errors.New("server: a dialect has ended its goroutine")

// outside has f use the shared Publisher and waits until it has, or ctx is done, or the Server has
// stopped. f may outlast the call.
func (s *Server) outside(ctx context.Context, f func(*engine.Publisher) error) error {
	pb, err := s.take(ctx)
	if err != nil {
		return err
	}
	// f waits without looking at ctx, so it does on a goroutine of its own, of which there is one
	// at a time: whoever comes next waits for the turn that it holds.
	done := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() {
			s.turn <- pb
			done <- err
		}()
		err = f(pb)
		pb.Flush()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return engine.ErrStopped
	}
}
