package link

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// An unproven is a connection to the worker listener that has not shown yet that it is a worker's. It
// has one goroutine and a small buffer, and nothing of what it says is carried out but heartbeats and
// the Register that has the token, with which it becomes a link.
type unproven struct {
	hub    *Hub
	conn   net.Conn // the socket: whoever closes u closes this
	stream net.Conn // what is spoken on: the same, or TLS over it. Of run's goroutine
	peer   string
	ip     netip.Addr // behind a proxy invalid until it has said whose the connection is
	addr   netip.Addr // ip by address.Key
	begun  time.Time
	made   bool // evicted: it goes to make room. Guarded by Hub.mu
}

const (
	// unprovenFrame is the longest frame body of a connection that is unproven, in bytes: a Register
	// with the longest token.
	unprovenFrame = 2 << 10
	// unprovenBytes is how much it may send, heartbeats with it.
	unprovenBytes = 16 << 10
	// refusalTime is how long it may take to read why it is refused, and to close its side.
	refusalTime = time.Second
)

// A refusal says why a connection did not become a link. The counters and the log carry its name.
type refusal uint32

const (
	refusedAddress   refusal = iota // its address is not allowed, and there are no tokens
	refusedCrowd                    // its address has too many that are unproven
	refusedMissing                  // a Register without a token
	refusedWrong                    // a Register with a token that is none
	refusedCommand                  // a command before the Register
	refusedMalformed                // bytes that are no frame, or too long, or too many
	refusedTimeout                  // no token in time
	refusedRoom                     // closed to make room for another
	refusedClosed                   // the peer closed, or the connection broke
	refusedShutdown                 // the gateway stops
	refusedHandshake                // no TLS, or a certificate that is not good, or none
	refusedProxy                    // no proxy that may say whose its connections are
	refusedHeader                   // no PROXY header, or a bad one

	numRefusals
)

var refusalNames = [numRefusals]string{
	"address-not-allowed", "too-many-of-address", "no-token", "wrong-token", "command-before-token", "malformed",
	"timeout", "made-room", "closed", "shutdown", "tls-handshake", "proxy-untrusted", "proxy-header",
}

func (r refusal) String() string { return refusalNames[r] }

// level is how much an operator wants to know of it.
func (r refusal) level() slog.Level {
	switch r {
	case refusedClosed:
		return slog.LevelDebug
	case refusedShutdown:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// refusalCounts counts connections that did not become links, by reason.
type refusalCounts [numRefusals]atomic.Uint64

func (c *refusalCounts) snapshot() map[string]uint64 {
	m := make(map[string]uint64, numRefusals)
	for r := range numRefusals {
		m[r.String()] = c[r].Load()
	}
	return m
}

// refusalLines log connections that do not become links. A flood of one reason takes nothing from the
// others.
type refusalLines [numRefusals]*lograte.Kind

func newRefusalLines(log *slog.Logger) (lines refusalLines) {
	for why := range lines {
		lines[why] = lograte.NewKind(lograte.Logger(log), lograte.KindConfig{
			Level: refusal(why).level(), PerSecond: 10,
			Message: "worker refused", Omitted: "workers refused, each without a line of its own",
			Attr: slog.String("reason", refusal(why).String()),
		})
	}
	return lines
}

// logRefusal counts and logs a connection that does not become a link.
func (h *Hub) logRefusal(why refusal, peer string, err error) {
	h.refusals[why].Add(1)
	from, _ := netip.ParseAddrPort(peer) // of a unix socket there is none
	h.refusalLines[why].Log(from.Addr(), func() []slog.Attr {
		attrs := []slog.Attr{slog.String("peer", peer)}
		if err != nil {
			attrs = append(attrs, slog.String("err", err.Error()))
		}
		return attrs
	})
}

// prove takes on a connection that is unproven. It reports why not, if it does not. h.mu is held.
func (h *Hub) prove(conn net.Conn, peer string, addr netip.Addr) (why refusal, ok bool) {
	u := &unproven{hub: h, conn: conn, stream: conn, peer: peer, begun: time.Now()}
	if h.config.Proxy {
		if !h.gateway.Engine().RelaysFor(addr) {
			return refusedProxy, false
		}
	} else {
		u.ip, u.addr = addr, address.Key(addr)
		if why = h.mayProve(u); why != numRefusals {
			return why, false
		}
	}
	h.enterLocked(u)
	h.running.Go(u.run)
	return 0, true
}

// mayProve says why a connection whose address is known cannot become a worker's; numRefusals: it may
// show that it is one, or is one by its address. h.mu is held.
func (h *Hub) mayProve(u *unproven) refusal {
	allowed := u.allowed()
	switch {
	case allowed:
	case len(h.trust.Load().tokens) == 0 && !(h.config.TLS != nil && h.config.Certificates):
		return refusedAddress
	case u.ip.IsValid() && h.from[u.addr] >= h.live.Load().maxUnproven && !h.evictUnproven(u.addr):
		return refusedCrowd
	}
	return numRefusals
}

// allowed reports whether u needs no token for its address.
func (u *unproven) allowed() bool {
	if u.hub.config.Proxy && !u.ip.IsValid() {
		return false
	}
	return u.hub.trust.Load().allowed(u.ip)
}

// enterLocked has u count.
func (h *Hub) enterLocked(u *unproven) {
	h.unproven[u] = struct{}{}
	h.from[u.addr]++
}

// evictUnproven ends the oldest of the unproven connections, of those from addr if that is valid, unless
// it has only just come. It reports whether there was one. h.mu is held.
func (h *Hub) evictUnproven(addr netip.Addr) bool {
	var oldest *unproven
	for u := range h.unproven {
		if !u.made && (!addr.IsValid() || u.addr == addr) && (oldest == nil || u.begun.Before(oldest.begun)) {
			oldest = u
		}
	}
	if oldest == nil || time.Since(oldest.begun) < evictAfter {
		return false
	}
	oldest.made = true
	oldest.leaveLocked()
	oldest.conn.Close()
	return true
}

// leaveLocked has u count no more.
func (u *unproven) leaveLocked() {
	h := u.hub
	if _, ok := h.unproven[u]; !ok {
		return
	}
	delete(h.unproven, u)
	if h.from[u.addr]--; h.from[u.addr] == 0 {
		delete(h.from, u.addr)
	}
}

// cutUnproven has them all end: run wakes up and takes leave.
func (h *Hub) cutUnproven() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for u := range h.unproven {
		_ = u.conn.SetDeadline(past)
	}
}

// past is a deadline that ends what waits, and what would.
var past = time.Unix(1, 0)

// limit gives u until a time, the zero one for good, but not beyond the end of the hub.
func (u *unproven) limit(until time.Time) error {
	err := u.conn.SetDeadline(until)
	select {
	case <-u.hub.stop:
		return u.conn.SetDeadline(past)
	default:
		return err
	}
}

// leave closes a connection whose peer may still be sending: one that is closed with input unread is
// reset.
func leave(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil &&
		conn.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
		_, _ = io.CopyN(io.Discard, conn, unprovenBytes)
	}
	conn.Close()
}

// run waits for the token and then makes a link of the connection, or refuses it.
func (u *unproven) run() {
	h := u.hub
	frames := frameReader{limit: unprovenFrame, buf: make([]byte, 0, unprovenFrame+8)}
	h.charge(engine.KindLinkInput, frames.size())
	defer h.charge(engine.KindLinkInput, -frames.size())
	why, err := u.admit(&frames)
	if why == numRefusals {
		if u.become(frames.buf[frames.start:]) {
			return
		}
		why, err = refusedShutdown, nil
	}
	h.mu.Lock()
	if u.made {
		why, err = refusedRoom, nil
	} else if h.closed {
		why, err = refusedShutdown, nil
	}
	u.leaveLocked()
	h.mu.Unlock()
	h.logRefusal(why, u.peer, err)
	if why == refusedShutdown {
		leave(u.conn)
	} else {
		u.conn.Close()
	}
}

// become makes u a link, whose first bytes are those that have come already.
func (u *unproven) become(first []byte) bool {
	h := u.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.made || h.closed {
		return false
	}
	u.leaveLocked()
	h.startLink(u.stream, u.peer, u.addr, append([]byte(nil), first...))
	return true
}

// admit has u's proxy say whose it is, if there is one, has u speak TLS, if it is to, and then show its
// token, unless its certificate or address do.
func (u *unproven) admit(frames *frameReader) (why refusal, err error) {
	h := u.hub
	if h.config.Proxy {
		if why, err := u.header(); why != numRefusals {
			return why, err
		}
		if h.config.TLS == nil && u.allowed() {
			return numRefusals, nil
		}
	}
	if h.config.TLS != nil {
		switch err := u.handshake(); {
		case errors.Is(err, context.DeadlineExceeded):
			return refusedTimeout, errors.New("in the TLS handshake")
		case err != nil:
			return refusedHandshake, err
		case h.proven(u.stream, u.allowed()):
			return numRefusals, nil
		case len(h.trust.Load().tokens) == 0:
			return refusedAddress, nil
		}
	}
	return u.await(frames)
}

// await reads until the token has come: then why is numRefusals, and frames is at the Register.
func (u *unproven) await(frames *frameReader) (why refusal, err error) {
	h, total := u.hub, 0
	if err := u.limit(u.begun.Add(h.live.Load().proofTimeout)); err != nil {
		return refusedClosed, err
	}
	for {
		at := frames.start
		body, err := frames.next()
		if err != nil {
			return refusedMalformed, err
		}
		if body == nil {
			n, err := u.stream.Read(frames.space())
			frames.filled(n)
			if total += n; total > unprovenBytes {
				return refusedMalformed, errors.New("too many bytes before the token")
			}
			if err != nil && n == 0 {
				return readRefusal(err)
			}
			continue
		}
		cmd, payload := netsvr.V2.Split(body)
		switch {
		case cmd == netsvr.CmdPing:
			if _, err := u.stream.Write(netsvr.V2.AppendPong(nil)); err != nil {
				return readRefusal(err)
			}
			continue
		case cmd != netsvr.CmdRegister:
			u.refuse(netsvrpb.RegisterResp_TokenMissing) // nobody asked, but a closed connection says nothing
			return refusedCommand, errors.New(cmd.String() + " before a Register with a token")
		}
		var req netsvrpb.RegisterReq
		if err := netsvr.Unmarshal(payload, &req); err != nil {
			return refusedMalformed, err
		}
		switch {
		case req.Token == "":
			u.refuse(netsvrpb.RegisterResp_TokenMissing)
			return refusedMissing, nil
		case !h.trust.Load().knows(req.Token):
			u.delay()
			u.refuse(netsvrpb.RegisterResp_TokenWrong)
			return refusedWrong, nil
		}
		frames.start = at
		return numRefusals, u.limit(time.Time{})
	}
}

func readRefusal(err error) (refusal, error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refusedTimeout, nil
	case errors.Is(err, io.EOF):
		return refusedClosed, nil
	}
	return refusedClosed, err
}

// refuse says why there is no registration and lets the peer read it.
func (u *unproven) refuse(code netsvrpb.RegisterResp_Code) {
	message, err := netsvr.AppendMessage(nil, &netsvrpb.RegisterResp{Code: code, Message: code.String()})
	if err != nil || u.stream.SetDeadline(time.Now().Add(refusalTime)) != nil {
		return
	}
	frame := appendFrame(nil, netsvr.CmdRegister, func(dst []byte) []byte { return append(dst, message...) })
	if _, err := u.stream.Write(frame); err != nil {
		return
	}
	if half, ok := u.stream.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, u.stream, unprovenBytes)
	}
}

// delay waits before a wrong token is refused, longer with each that the address has shown of late.
// The connection counts meanwhile, and its peer hangs up in vain: so few tokens can be tried.
func (u *unproven) delay() {
	h := u.hub
	t := time.NewTimer(h.failures.note(u.addr, time.Now()))
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.stop:
	}
}
