package admin

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
func peerText(ap netip.AddrPort) string { return string(appendPeer(nil, ap)) }

func appendPeer(dst []byte, ap netip.AddrPort) []byte {
	if !ap.IsValid() {
		return append(dst, "unix"...)
	}
	return ap.AppendTo(dst)
}

// maxTopicNames is how many names of topics the description of one connection has.
const maxTopicNames = 1000

// detail describes a connection, on its loop. sort is left to its caller, who is not there.
func (s *Server) detail(c *engine.Conn) connectionDetail {
	d := connectionDetail{connection: s.row(sightOf(c)), TLS: tlsOf(c), TopicNames: []string{}, Metadata: map[string]string{}, Claims: map[string]string{}}
	if d.Topics <= maxTopicNames {
		d.TopicNames = c.Topics(d.TopicNames)
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

// sort puts the names of topics in order.
func (d *connectionDetail) sort() { slices.Sort(d.TopicNames) }

func pairs(m map[string]string, list []netsvr.Metadata) {
	for _, p := range list {
		m[string(p.Key)] = string(p.Value)
	}
}

// A connFilter says which connections are wanted.
type connFilter struct {
	protocol, state string
	user            *string // empty: those who are logged in without one
	topic, search   []byte
	peer            netip.Prefix
	listener        int // -1: any
	congested       bool
	none            bool // all are wanted
}

func readFilter(q *query) (f connFilter) {
	f = connFilter{
		protocol: q.text("protocol"), user: q.given("user"), state: q.oneOf("state", states...),
		search: []byte(strings.ToLower(q.text("search"))), topic: []byte(q.text("topic")), listener: q.number("listener", -1, 255),
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
	f.none = f.protocol == "" && f.state == "" && f.user == nil && len(f.topic)+len(f.search) == 0 && !f.peer.IsValid() &&
		f.listener < 0 && !f.congested
	return f
}

// wants reports whether c is wanted, on its loop.
func (s *Server) wants(f *connFilter, c *engine.Conn) bool {
	if f.none {
		return true // without a look at the connection, which is not in the cache mostly
	}
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
	if f.user != nil && (session == nil || session.Base().User() != *f.user || *f.user == "" && !session.Base().Online()) {
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
	return len(f.search) == 0 || s.found(f.search, c, session)
}

// found reports whether the user, the uniqId or the address has a text in it, which is in lower case.
func (s *Server) found(text []byte, c *engine.Conn, session gateway.Session) bool {
	var array [128]byte // for what is looked through: this is done for each connection of a loop
	room := array[:0]
	if bytes.Contains(appendPeer(room, c.Peer()), text) {
		return true
	}
	if session == nil {
		return false
	}
	cl := session.Base()
	if bytes.Contains(lower(append(room, cl.User()...)), text) {
		return true
	}
	return cl.Online() && bytes.Contains(lower(s.gateway.AppendID(room, cl)), text)
}

// lower has a text in lower case, in place if it is of ASCII alone.
func lower(text []byte) []byte {
	for i, b := range text {
		switch {
		case b >= utf8.RuneSelf:
			return bytes.ToLower(text)
		case 'A' <= b && b <= 'Z':
			text[i] = b + 'a' - 'A'
		}
	}
	return text
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
	q := parameters(r, "id")
	id := q.part(r, "id")
	if q.err != nil {
		return nil, q.err
	}
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
	d.sort()
	return d, nil
}
