package admin

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A connection is a row of the list of connections.
type connection struct {
	Connection  string    `json:"connection"` // names it while it is there
	UniqID      string    `json:"uniqId"`
	User        string    `json:"user"`
	Protocol    string    `json:"protocol"`
	State       string    `json:"state"`
	Peer        string    `json:"peer"`
	Listener    int       `json:"listener"`
	Loop        int       `json:"loop"`
	Since       time.Time `json:"since"`
	BytesIn     uint64    `json:"bytesIn"`
	BytesOut    uint64    `json:"bytesOut"`
	MessagesIn  uint64    `json:"messagesIn"`
	MessagesOut uint64    `json:"messagesOut"`
	UnsentBytes int       `json:"unsentBytes"`
	LagBytes    int       `json:"lagBytes"`
	Queue       int       `json:"queue"`
	InputBytes  int       `json:"inputBytes"`
	MemoryBytes int       `json:"memoryBytes"`
	Topics      int       `json:"topics"`
	Pending     int       `json:"pendingRequests"`
	Congested   bool      `json:"congested"`
	Stalled     bool      `json:"stalled"`
	Paused      bool      `json:"paused"`
}

// A connectionDetail is all that is known of one connection.
type connectionDetail struct {
	connection
	Session         string            `json:"session"`
	Resumable       bool              `json:"resumable"`
	TopicNames      []string          `json:"topicNames"`
	TopicsTruncated bool              `json:"topicNamesTruncated"`
	Metadata        map[string]string `json:"metadata"` // what the client says of itself
	Claims          map[string]string `json:"claims"`   // what the login vouches for
	TLS             *tlsState         `json:"tls"`      // null: plain
}

// A tlsState is what a connection's handshake has agreed on.
type tlsState struct {
	Version    string `json:"version"`
	Cipher     string `json:"cipherSuite"`
	ServerName string `json:"serverName"` // that the client has asked for
	Protocol   string `json:"alpn"`
	Resumed    bool   `json:"resumed"`
	Subject    string `json:"clientSubject"` // of the client's certificate; empty: none was verified
}

func tlsOf(c *engine.Conn) *tlsState {
	info, ok := c.TLS()
	if !ok {
		return nil
	}
	t := &tlsState{
		Version: tls.VersionName(info.Version), Cipher: tls.CipherSuiteName(info.CipherSuite),
		ServerName: info.ServerName, Protocol: info.Protocol, Resumed: info.Resumed,
	}
	if info.Certificate != nil {
		t.Subject = info.Certificate.Subject.String()
	}
	return t
}

type connectionsPage struct {
	Connections []connection `json:"connections"`
	Next        *string      `json:"next"`
	Matched     *int         `json:"matched"` // of a sorted list: rows in all
}

// The states of a connection.
const (
	stateOpening  = "opening" // it has not said who it is
	stateLogin    = "login"   // the verdict on its login is awaited
	stateOnline   = "online"
	stateAttached = "attached" // an operator's tail of a topic
)

var states = []string{stateOpening, stateLogin, stateOnline, stateAttached}

func stateOf(h engine.Handler) string {
	s, ok := h.(gateway.Session)
	switch {
	case ok && s.Base().Online():
		return stateOnline
	case ok && s.Base().Waiting():
		return stateLogin
	case protocolOf(h) == "attached":
		return stateAttached
	}
	return stateOpening
}

func protocolOf(h engine.Handler) string {
	if p, ok := h.(interface{ Protocol() string }); ok {
		return p.Protocol()
	}
	return "unknown"
}

// refText is how a connection is named that may have no uniqId.
func refText(ref engine.Ref) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[15-i] = digits[ref>>(4*i)&15]
	}
	return string(b[:])
}

func parseRef(text string) (engine.Ref, bool) {
	if len(text) != 16 || strings.ToLower(text) != text {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 16, 64)
	return engine.Ref(n), err == nil
}

// peerText is an address as it is shown. A Unix socket's peers have none.
func peerText(ap netip.AddrPort) string {
	if !ap.IsValid() {
		return "unix"
	}
	return ap.String()
}

// row describes a connection, on its loop.
func (s *Server) row(c *engine.Conn) connection {
	t, k := c.Traffic(), c.Holding()
	now := s.engine.Time()
	row := connection{
		Connection: refText(c.Ref()), Protocol: protocolOf(c.Handler()), State: stateOf(c.Handler()),
		Peer: peerText(c.Peer()), Listener: c.ListenerIndex(), Loop: c.Loop().Index(),
		Since:   now.Add(-time.Duration(c.Loop().Now()-t.Since) * time.Millisecond).UTC().Truncate(time.Millisecond),
		BytesIn: t.BytesIn, BytesOut: t.BytesOut, MessagesIn: t.PacketsIn, MessagesOut: t.PacketsOut,
		UnsentBytes: k.Unsent, LagBytes: k.Lag, Queue: k.Messages, InputBytes: k.Input, MemoryBytes: k.Account,
		Topics: c.TopicCount(), Congested: k.Congested, Stalled: k.Excluded, Paused: k.Paused,
	}
	if h, ok := c.Handler().(gateway.Session); ok {
		cl := h.Base()
		row.User, row.Pending = cl.User(), cl.Pending()
		if cl.Online() {
			row.UniqID = s.gateway.ID(cl)
		}
	}
	return row
}

// maxTopicNames is how many names of topics the description of one connection has.
const maxTopicNames = 1000

func (s *Server) detail(c *engine.Conn) connectionDetail {
	d := connectionDetail{connection: s.row(c), TLS: tlsOf(c), TopicNames: []string{}, Metadata: map[string]string{}, Claims: map[string]string{}}
	if d.Topics <= maxTopicNames {
		d.TopicNames = c.Topics(d.TopicNames)
		slices.Sort(d.TopicNames)
	} else {
		d.TopicsTruncated = true // all of them or none: a loop must not be held up
	}
	if h, ok := c.Handler().(gateway.Session); ok {
		cl := h.Base()
		d.Session, d.Resumable = cl.Session(), cl.Resumable()
		metadata, claims := cl.About()
		pairs(d.Metadata, metadata)
		pairs(d.Claims, claims)
	}
	return d
}

func pairs(m map[string]string, list []netsvr.Metadata) {
	for _, p := range list {
		m[string(p.Key)] = string(p.Value)
	}
}

// A connFilter says which connections are wanted.
type connFilter struct {
	protocol, user, state, search string
	topic                         []byte
	peer                          netip.Prefix
	listener                      int // -1: any
	congested                     bool
}

func readFilter(q *query) (f connFilter) {
	f = connFilter{
		protocol: q.text("protocol"), user: q.text("user"), state: q.oneOf("state", states...),
		search: strings.ToLower(q.text("search")), topic: []byte(q.text("topic")), listener: q.number("listener", -1, 255),
		congested: q.oneOf("congested", "true", "false") == "true",
	}
	if text := q.text("peer"); text != "" {
		addr, err := netip.ParseAddr(text)
		if err == nil {
			f.peer = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		} else if f.peer, err = netip.ParsePrefix(text); err != nil {
			q.fail("peer=%s: want an address or a network, as 10.0.0.0/8", clip(text))
		}
		f.peer = f.peer.Masked()
	}
	return f
}

// wants reports whether c is wanted, on its loop.
func (s *Server) wants(f *connFilter, c *engine.Conn) bool {
	h := c.Handler()
	if f.listener >= 0 && c.ListenerIndex() != f.listener || f.protocol != "" && protocolOf(h) != f.protocol {
		return false
	}
	if f.congested {
		if k := c.Holding(); !k.Congested && !k.Excluded {
			return false
		}
	}
	session, _ := h.(gateway.Session)
	if f.user != "" && (session == nil || session.Base().User() != f.user) {
		return false
	}
	if f.state != "" && stateOf(h) != f.state {
		return false
	}
	if f.peer.IsValid() && !f.peer.Contains(c.Peer().Addr()) {
		return false
	}
	if len(f.topic) > 0 && !c.Subscribed(f.topic) {
		return false
	}
	return f.search == "" || s.found(f.search, c, session)
}

// found reports whether the user, the uniqId or the address has a text in it, whatever its case.
func (s *Server) found(text string, c *engine.Conn, session gateway.Session) bool {
	if strings.Contains(peerText(c.Peer()), text) {
		return true
	}
	if session == nil {
		return false
	}
	cl := session.Base()
	if strings.Contains(strings.ToLower(cl.User()), text) {
		return true
	}
	var room [128]byte
	return cl.Online() && strings.Contains(strings.ToLower(string(s.gateway.AppendID(room[:0], cl))), text)
}

// sortKeys are what connections may be sorted by.
var sortKeys = map[string]func(*engine.Conn) int64{
	"since":           func(c *engine.Conn) int64 { return c.Traffic().Since },
	"bytesIn":         func(c *engine.Conn) int64 { return int64(c.Traffic().BytesIn) },
	"bytesOut":        func(c *engine.Conn) int64 { return int64(c.Traffic().BytesOut) },
	"messagesIn":      func(c *engine.Conn) int64 { return int64(c.Traffic().PacketsIn) },
	"messagesOut":     func(c *engine.Conn) int64 { return int64(c.Traffic().PacketsOut) },
	"unsentBytes":     func(c *engine.Conn) int64 { return int64(c.Holding().Unsent) },
	"lagBytes":        func(c *engine.Conn) int64 { return int64(c.Holding().Lag) },
	"memoryBytes":     func(c *engine.Conn) int64 { return int64(c.Holding().Account) },
	"topics":          func(c *engine.Conn) int64 { return int64(c.TopicCount()) },
	"pendingRequests": pendingOf,
}

func pendingOf(c *engine.Conn) int64 {
	if s, ok := c.Handler().(gateway.Session); ok {
		return int64(s.Base().Pending())
	}
	return 0
}

var sortNames = func() []string {
	names := []string{"user", "-user"}
	for name := range sortKeys {
		names = append(names, name, "-"+name)
	}
	slices.Sort(names)
	return names
}()

func (s *Server) apiConnections(r *http.Request) (any, error) {
	q := parameters(r, "limit", "cursor", "sort", "protocol", "user", "state", "search", "topic", "peer", "listener", "congested")
	limit, cursor, order := q.limit(), q.text("cursor"), q.oneOf("sort", sortNames...)
	f := readFilter(q)
	if q.err != nil {
		return nil, q.err
	}
	if order == "" && !strings.HasPrefix(cursor, "s") {
		return s.listSlots(r.Context(), &f, cursor, limit)
	}
	if cursor == "" {
		refs, err := s.sorted(r.Context(), &f, order)
		if err != nil {
			return nil, err
		}
		return s.pageOf(r.Context(), refs, 0, limit, "")
	}
	id, refs, offset, err := s.cursors.find(cursor, time.Now())
	if err != nil {
		return nil, err
	}
	return s.pageOf(r.Context(), refs, offset, limit, id)
}

// listSlots lists connections in the order of their places, loop by loop. The cursor is the loop and
// the place to go on from, so that it needs no memory, and whoever stays is listed once.
func (s *Server) listSlots(ctx context.Context, f *connFilter, cursor string, limit int) (any, error) {
	loop, slot := 0, uint64(0)
	if cursor != "" {
		a, b, ok := strings.Cut(cursor, ".")
		var err1, err2 error
		loop, err1 = strconv.Atoi(a)
		slot, err2 = strconv.ParseUint(b, 10, 32)
		if !ok || err1 != nil || err2 != nil || loop < 0 || loop >= s.engine.Loops() {
			return nil, badRequest("cursor=%s: want what an earlier answer has as next", clip(cursor))
		}
	}
	page := connectionsPage{Connections: []connection{}}
	for ; loop < s.engine.Loops(); loop, slot = loop+1, 0 {
		for more := true; more; {
			var rows []connection
			var next uint32
			wanted := limit - len(page.Connections)
			err := s.onLoop(ctx, loop, func(l *engine.Loop) {
				sl := newSlice()
				next, more = l.Walk(uint32(slot), func(c *engine.Conn) bool {
					if s.wants(f, c) {
						rows = append(rows, s.row(c))
					}
					return len(rows) < wanted && !sl.over()
				})
			})
			if err != nil {
				return nil, err
			}
			page.Connections = append(page.Connections, rows...)
			slot = uint64(next)
			if len(page.Connections) < limit {
				continue
			}
			if !more {
				loop, slot = loop+1, 0
			}
			if loop < s.engine.Loops() {
				page.Next = new(strconv.Itoa(loop) + "." + strconv.FormatUint(slot, 10))
			}
			return page, nil
		}
	}
	return page, nil
}

// A keyed connection is one with what it is sorted by.
type keyedConn struct {
	ref  engine.Ref
	key  int64
	text string
}

// sorted returns the connections that f wants, in order. The loops are asked at the same time.
func (s *Server) sorted(ctx context.Context, f *connFilter, order string) ([]engine.Ref, error) {
	name, down := strings.CutPrefix(order, "-")
	key := sortKeys[name]
	parts := make([][]keyedConn, s.engine.Loops())
	failed := make([]error, len(parts))
	var loops sync.WaitGroup
	for i := range parts {
		loops.Go(func() { parts[i], failed[i] = s.keyed(ctx, i, f, key) })
	}
	loops.Wait()
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	all := slices.Concat(parts...)
	slices.SortFunc(all, func(a, b keyedConn) int {
		n := cmp.Or(cmp.Compare(a.key, b.key), strings.Compare(a.text, b.text))
		if down {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(a.ref, b.ref))
	})
	refs := make([]engine.Ref, len(all))
	for i, k := range all {
		refs[i] = k.ref
	}
	return refs, nil
}

// keyed walks over a loop's connections, slice by slice. A nil key means the user.
func (s *Server) keyed(ctx context.Context, loop int, f *connFilter, key func(*engine.Conn) int64) (list []keyedConn, err error) {
	for from, more := uint32(0), true; more; {
		var found []keyedConn
		var next uint32
		err := s.onLoop(ctx, loop, func(l *engine.Loop) {
			sl := newSlice()
			next, more = l.Walk(from, func(c *engine.Conn) bool {
				if s.wants(f, c) {
					k := keyedConn{ref: c.Ref()}
					if key != nil {
						k.key = key(c)
					} else if h, ok := c.Handler().(gateway.Session); ok {
						k.text = h.Base().User()
					}
					found = append(found, k)
				}
				return !sl.over()
			})
		})
		if err != nil {
			return nil, err
		}
		list, from = append(list, found...), next
	}
	return list, nil
}

// pageOf describes some of a sorted list; those that are gone are left out.
func (s *Server) pageOf(ctx context.Context, refs []engine.Ref, offset, limit int, id string) (any, error) {
	here := refs[offset:min(offset+limit, len(refs))]
	page := connectionsPage{Connections: []connection{}, Matched: new(len(refs))}
	rows := make(map[engine.Ref]connection, len(here))
	for loop := range s.engine.Loops() {
		var of []engine.Ref
		for _, ref := range here {
			if ref.Loop() == loop {
				of = append(of, ref)
			}
		}
		for len(of) > 0 {
			var found []connection
			n := 0
			err := s.onLoop(ctx, loop, func(l *engine.Loop) {
				for sl := newSlice(); n < len(of) && !sl.over(); n++ {
					if c := l.Conn(of[n]); c != nil {
						found = append(found, s.row(c))
					}
				}
			})
			if err != nil {
				return nil, err
			}
			for _, row := range found {
				ref, _ := parseRef(row.Connection)
				rows[ref] = row
			}
			of = of[n:]
		}
	}
	for _, ref := range here {
		if row, ok := rows[ref]; ok {
			page.Connections = append(page.Connections, row)
		}
	}
	if end := offset + len(here); end < len(refs) {
		if id == "" {
			id = s.cursors.keep(refs, time.Now())
		}
		page.Next = new("s" + id + "." + strconv.Itoa(end))
	}
	return page, nil
}

// find returns the connection that an id names: a uniqId, or what a list has as connection.
func (s *Server) find(id string) (engine.Ref, error) {
	if ref := s.gateway.Lookup([]byte(id)); ref != 0 {
		return ref, nil
	}
	if ref, ok := parseRef(id); ok && ref.Loop() < s.engine.Loops() {
		return ref, nil
	}
	return 0, notThere("there is no connection %q", clip(id))
}

func (s *Server) apiConnection(r *http.Request) (any, error) {
	if q := parameters(r); q.err != nil {
		return nil, q.err
	}
	id := r.PathValue("id")
	ref, err := s.find(id)
	if err != nil {
		return nil, err
	}
	var d *connectionDetail
	if err := s.onLoop(r.Context(), ref.Loop(), func(l *engine.Loop) {
		if c := l.Conn(ref); c != nil {
			d = new(s.detail(c))
		}
	}); err != nil {
		return nil, err
	}
	if d == nil {
		return nil, notThere("there is no connection %q", clip(id))
	}
	return d, nil
}
