package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// A HandlerFunc answers a request. The payload is the reply as the client is to receive it; for an
// error see StatusError. The context ends with the time the client is ready to wait, if it said,
// or when Run gives up waiting for handlers.
type HandlerFunc func(ctx context.Context, r *Request) (payload []byte, err error)

type handlers struct {
	exact    map[string]HandlerFunc
	prefixes []prefixHandler // longest first
	commands []commandHandler
	open     func(context.Context, *Open)
	close    func(context.Context, *Close)
	message  func(context.Context, *Message)
	err      error // the first mistake, for Run
}

type prefixHandler struct {
	prefix string
	handle HandlerFunc
}

type commandHandler struct {
	low, high uint32
	handle    HandlerFunc
}

// Handle has requests answered by h whose route is pattern, or begins with what stands before a *
// at its end: "chat.Say", "chat.*", "*". A whole name goes before a beginning, a longer beginning
// before a shorter one; the same pattern again replaces the handler. A bad pattern makes Run fail.
func (w *Worker) Handle(pattern string, h HandlerFunc) {
	prefix, wild := strings.CutSuffix(pattern, "*")
	hs := &w.handlers
	switch {
	case pattern == "" || strings.Contains(prefix, "*"):
		hs.fail(fmt.Errorf("%w: %q: want a name, or a beginning and one * at the end", ErrPattern, pattern))
	case h == nil:
		hs.fail(fmt.Errorf("%w: %q: no handler", ErrPattern, pattern))
	case !wild:
		if hs.exact == nil {
			hs.exact = make(map[string]HandlerFunc)
		}
		hs.exact[pattern] = h
	default:
		hs.prefixes = slices.DeleteFunc(hs.prefixes, func(p prefixHandler) bool { return p.prefix == prefix })
		hs.prefixes = append(hs.prefixes, prefixHandler{prefix, h})
		slices.SortStableFunc(hs.prefixes, func(a, b prefixHandler) int {
			return cmp.Compare(len(b.prefix), len(a.prefix))
		})
	}
}

// HandleCmd has requests answered by h that have no route but a command of low to high, as
// Longbridge clients send them. The range that was given first decides.
func (w *Worker) HandleCmd(low, high uint32, h HandlerFunc) {
	if low > high || h == nil {
		w.handlers.fail(fmt.Errorf("%w: commands %d to %d", ErrPattern, low, high))
		return
	}
	w.handlers.commands = append(w.handlers.commands, commandHandler{low, high, h})
}

// OnOpen has f called for every new connection.
func (w *Worker) OnOpen(f func(ctx context.Context, o *Open)) { w.handlers.open = f }

// OnClose has f called for every connection that is gone.
func (w *Worker) OnClose(f func(ctx context.Context, c *Close)) { w.handlers.close = f }

// OnMessage has f called for every message of a client that cannot wait for an answer.
func (w *Worker) OnMessage(f func(ctx context.Context, m *Message)) { w.handlers.message = f }

func (hs *handlers) fail(err error) {
	if hs.err == nil {
		hs.err = err
	}
}

func (hs *handlers) takesRequests() bool {
	return len(hs.exact)+len(hs.prefixes)+len(hs.commands) > 0
}

// any reports whether there is a reason to register.
func (hs *handlers) any() bool {
	return hs.takesRequests() || hs.open != nil || hs.close != nil || hs.message != nil
}

// protocolGOSOC is the name of the protocol that has routes; the others have commands.
const protocolGOSOC = "gosoc"

func (hs *handlers) find(r *Request) HandlerFunc {
	if r.Route == "" && r.Protocol != protocolGOSOC { // on GOSOC no route is a route, too
		for i := range hs.commands {
			if c := &hs.commands[i]; c.low <= r.Cmd && r.Cmd <= c.high {
				return c.handle
			}
		}
		return nil
	}
	if h := hs.exact[r.Route]; h != nil {
		return h
	}
	for i := range hs.prefixes {
		if p := &hs.prefixes[i]; strings.HasPrefix(r.Route, p.prefix) {
			return p.handle
		}
	}
	return nil
}

var (
	errNoRoute  = &StatusError{Status: StatusRefused, Message: "no such route"}
	errTooLate  = &StatusError{Status: StatusInternal, Message: "no answer in time"}
	errStopping = &StatusError{Status: StatusInternal, Message: "worker is stopping"}
	errInternal = &StatusError{Status: StatusInternal}
)

func (r *Request) serve(ctx context.Context, w *Worker) {
	w.stats.requests.Add(1)
	if r.WantsReply {
		// Nobody waits any more: the gateway has said so, and the client may have asked elsewhere.
		if r.conn.lost() {
			w.stats.skipped.Add(1)
			return
		}
		if !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
			w.stats.skipped.Add(1)
			r.reply(ctx, nil, errTooLate)
			return
		}
	}
	h := w.handlers.find(r)
	if h == nil {
		r.reply(ctx, nil, errNoRoute)
		return
	}
	handlerCtx := ctx
	if r.WantsReply && !r.deadline.IsZero() {
		var cancel context.CancelFunc
		handlerCtx, cancel = context.WithDeadline(ctx, r.deadline)
		defer cancel()
	}
	payload, err := w.call(handlerCtx, h, r)
	r.reply(ctx, payload, err)
}

// call makes an error of a panic: one request must not cost the others their worker.
func (w *Worker) call(ctx context.Context, h HandlerFunc, r *Request) (payload []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.panicked(v)
			payload, err = nil, errors.New("handler panicked")
		}
	}()
	return h(ctx, r)
}

func (w *Worker) panicked(v any) {
	w.stats.panics.Add(1)
	w.log.Error("handler panicked", "panic", v, "stack", string(debug.Stack()))
}

func (r *Request) reply(ctx context.Context, payload []byte, err error) {
	w := r.conn.link.worker
	status, message := int32(StatusOK), ""
	if err != nil {
		var se *StatusError
		if !errors.As(err, &se) {
			se = errInternal
			w.stats.failed.Add(1)
			attrs := []slog.Attr{slog.String("route", r.Route), slog.Uint64("cmd", uint64(r.Cmd)),
				slog.String("uniqId", r.UniqID), slog.Any("error", err)}
			if r.Traceparent != "" {
				attrs = append(attrs, slog.String("traceparent", r.Traceparent))
			}
			w.log.LogAttrs(ctx, slog.LevelWarn, "request failed", attrs...)
		}
		status, payload, message = se.reply(r.Protocol)
	}
	if !r.WantsReply {
		return
	}
	err = r.conn.reply(ctx, r, status, payload, message)
	if errors.Is(err, netsvr.ErrFrameTooLarge) {
		w.log.Error("reply too large", "route", r.Route, "cmd", r.Cmd, "bytes", len(payload))
		status, payload, message = errInternal.reply(r.Protocol)
		err = r.conn.reply(ctx, r, status, payload, message)
	}
	if err != nil {
		w.stats.unsent.Add(1)
		w.log.LogAttrs(ctx, slog.LevelDebug, "reply not sent", slog.String("uniqId", r.UniqID), slog.Any("error", err))
	}
}

func (o *Open) serve(ctx context.Context, w *Worker) {
	w.stats.opens.Add(1)
	defer w.guard()
	w.handlers.open(ctx, o)
}

func (c *Close) serve(ctx context.Context, w *Worker) {
	w.stats.closes.Add(1)
	defer w.guard()
	w.handlers.close(ctx, c)
}

func (m *Message) serve(ctx context.Context, w *Worker) {
	w.stats.messages.Add(1)
	defer w.guard()
	w.handlers.message(ctx, m)
}

func (w *Worker) guard() {
	if v := recover(); v != nil {
		w.panicked(v)
	}
}
