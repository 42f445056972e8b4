package longbridge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// The client side here is written by hand from the protocol's description and shares no code with
// codec/longbridge, so that a misreading there cannot hide itself.

// patience is how long a test waits for what must come: longer than any machine stands still, and
// longer than every timer that a test has set to run out.
const patience = time.Minute

// never is for timers that must not run out in a test, however long the machine stands still.
const never = 5 * time.Minute

// door is a login provider: the token is the user, "bad" is refused, "broken" gets no verdict, and
// "slow" gets it late.
type door struct{}

func (door) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	return door{}.LoginNow(time.Now(), r)
}

func (door) LoginNow(_ time.Time, r login.Request) (login.Identity, error) {
	switch r.Token {
	case "bad":
		return login.Identity{}, login.ErrRefused
	case "broken":
		return login.Identity{}, login.ErrUnavailable
	}
	return login.Identity{User: r.Token}, nil
}

// queue is door for those who wait in line: it may block.
type queue struct{ pause time.Duration }

func (q queue) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	select {
	case <-time.After(q.pause):
	case <-ctx.Done():
		return login.Identity{}, login.ErrUnavailable
	}
	return door{}.LoginNow(time.Now(), r)
}

// start runs a server on a port of its own until the end of the test. Its timers do not run out
// unless change says so.
func start(tb testing.TB, change func(*server.Config)) *server.Server {
	tb.Helper()
	config := server.Config{
		Listen: []string{"tcp://127.0.0.1:0"},
		Dev:    true,
		Gateway: gateway.Config{Login: door{}, LoginFailures: -1, MaxLogins: 4096, MaxTokenLogins: -1,
			LoginTimeout: never, RequestTimeout: never},
	}
	config.Longbridge.HeartbeatTimeout, config.Longbridge.HeartbeatInterval = never, never
	config.Engine.Loops = 2
	config.Engine.Linger = never // a client that reads late is not reset, and an end without its FIN is seen
	if change != nil {
		change(&config)
	}
	s, err := server.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, s) })
	return s
}

func stop(tb testing.TB, s *server.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		tb.Errorf("stop: %v", err)
	}
	if n := s.Engine().Stats().Panics; n > 0 {
		tb.Errorf("%d panics on loops", n)
	}
}

func address(s *server.Server) string {
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	return addr
}

// form is how a client's packets are written.
type form struct {
	name   string
	v2     bool
	json   bool
	framed bool
}

var forms = []form{
	{name: "v1"},
	{name: "v2", v2: true},
	{name: "json", json: true},
	{name: "v2-json", v2: true, json: true},
	{name: "ws-v1", framed: true},
	{name: "ws-v2", v2: true, framed: true},
	{name: "ws-json", json: true, framed: true},
}

// peer is a client.
type peer struct {
	tb   testing.TB
	conn net.Conn
	r    *bufio.Reader
	form
	nextID uint32
	pings  int       // ping frames seen
	opcode byte      // of the last message
	gzip   bool      // packets may be compressed
	begun  time.Time // before it dialled; zero if nobody noted it
}

func dialRaw(tb testing.TB, addr string) net.Conn {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	return conn
}

// dial connects and shakes hands.
func dial(tb testing.TB, s *server.Server, f form) *peer {
	tb.Helper()
	begun := time.Now()
	p := &peer{tb: tb, conn: dialRaw(tb, address(s)), form: f, begun: begun}
	p.r = bufio.NewReaderSize(p.conn, 64<<10)
	switch {
	case f.framed:
		p.upgrade("/any/path", f.query())
	default:
		p.raw(f.handshake())
	}
	return p
}

func (f form) handshake() string {
	codec, version := "1", "1"
	if f.json {
		codec = "2"
	}
	if f.v2 {
		version = "2"
	}
	return codec + version + "09"
}

func (f form) query() string {
	h := f.handshake()
	return "platform=9&version=" + h[1:2] + "&codec=" + h[:1]
}

func (p *peer) upgrade(path, query string) {
	p.tb.Helper()
	fmt.Fprintf(p.conn, "GET %s?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, query)
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		p.tb.Fatalf("upgrade: %v %v", resp.Status, resp.Header)
	}
}

func unhex(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// raw writes bytes as they are, given in hex.
func (p *peer) raw(text string) { p.write(unhex(text)) }

func (p *peer) write(b []byte) {
	p.tb.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.tb.Errorf("write: %v", err)
	}
}

// packet writes whole packets, each in a message of its own when framed.
func (p *peer) packet(packets ...[]byte) {
	p.tb.Helper()
	var out []byte
	for _, b := range packets {
		if p.framed {
			b = frame(0x2, b)
		}
		out = append(out, b...)
	}
	p.write(out)
}

// frame is a whole masked frame.
func frame(opcode byte, payload []byte) []byte {
	out := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	mask := []byte{0xde, 0xad, 0xbe, 0xef}
	out = append(out, mask...)
	masked := bytes.Repeat(mask, len(payload)/4+1)
	n := subtle.XORBytes(masked, masked, payload) // many frames are long, and the race detector slows down loops
	return append(out, masked[:n]...)
}

// req is a request as the client's form writes it.
func (p *peer) req(cmd byte, id uint32, timeout uint16, metadata, body []byte) []byte {
	b := []byte{1, cmd}
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint16(b, timeout)
	if p.v2 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(metadata)))
	}
	b = append(b, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	return append(append(b, metadata...), body...)
}

// send sends a request and returns its id.
func (p *peer) send(cmd byte, body string) uint32 {
	p.tb.Helper()
	p.nextID++
	p.packet(p.req(cmd, p.nextID, 0, nil, []byte(body)))
	return p.nextID
}

// A got is a packet from the server.
type got struct {
	typ, cmd byte
	flags    byte
	id       uint32
	timeout  uint16
	status   byte
	metadata []byte
	body     []byte
}

// next reads the next packet. Ping frames are counted and answered. At the end of the stream it
// returns io.EOF.
func (p *peer) next() (got, error) {
	if !p.framed {
		return p.parse(p.r)
	}
	for {
		var head [2]byte
		if _, err := io.ReadFull(p.r, head[:]); err != nil {
			return got{}, err
		}
		n := int(head[1])
		switch {
		case n > 127:
			return got{}, errors.New("masked frame from the server")
		case n == 126:
			var l [2]byte
			if _, err := io.ReadFull(p.r, l[:]); err != nil {
				return got{}, err
			}
			n = int(binary.BigEndian.Uint16(l[:]))
		case n == 127:
			var l [8]byte
			if _, err := io.ReadFull(p.r, l[:]); err != nil {
				return got{}, err
			}
			n = int(binary.BigEndian.Uint64(l[:]))
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(p.r, payload); err != nil {
			return got{}, err
		}
		switch head[0] {
		case 0x81, 0x82:
			p.opcode = head[0] & 0xf
			r := bytes.NewReader(payload)
			g, err := p.parse(r)
			if err == nil && r.Len() > 0 {
				err = fmt.Errorf("%d bytes behind the packet in a message", r.Len())
			}
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return g, err
		case 0x89:
			p.pings++
			p.write(frame(0xa, payload))
		default:
			return got{}, fmt.Errorf("frame %02x %x", head[0], payload)
		}
	}
}

// parse reads a packet as the client's form has it.
func (p *peer) parse(r io.Reader) (g got, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		return b
	}
	number := func(n int) (v uint32) {
		for _, c := range read(n) {
			v = v<<8 | uint32(c)
		}
		return v
	}
	first := read(1)[0]
	if err != nil {
		return g, err // a clean end
	}
	g.typ, g.flags = first&0x0f, first>>4
	g.cmd = byte(number(1))
	switch g.typ {
	case 1:
		g.id = number(4)
		g.timeout = uint16(number(2))
	case 2:
		g.id = number(4)
		g.status = byte(number(1))
	case 3:
	default:
		return g, fmt.Errorf("packet type %d", g.typ)
	}
	metadata := uint32(0)
	if p.v2 {
		metadata = number(2)
	}
	body := number(3)
	g.metadata = read(int(metadata))
	g.body = read(int(body))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && g.flags != 0 && !(p.gzip && g.flags == 2) {
		err = fmt.Errorf("flags %x", g.flags)
	}
	return g, err
}

// want reads the next packet, which must come.
func (p *peer) want() got {
	p.tb.Helper()
	g, err := p.next()
	if err != nil {
		p.tb.Fatalf("want a packet: %v", err)
	}
	return g
}

// wantResponse reads the next packet, which must be the response to a request.
func (p *peer) wantResponse(cmd byte, id uint32, status byte) got {
	p.tb.Helper()
	g := p.want()
	if g.typ != 2 || g.cmd != cmd || g.id != id || g.status != status {
		p.tb.Fatalf("got %+v, want the response to request %d of command %d with status %d", g, id, cmd, status)
	}
	return g
}

// wantError reads the next packet, which must be a response that says no.
func (p *peer) wantError(cmd byte, id uint32, status byte, code uint64) {
	p.tb.Helper()
	g := p.wantResponse(cmd, id, status)
	m := p.decode(g.body)
	if m.number("code") != code || m.text("msg") == "" {
		p.tb.Fatalf("error %v, want code %d and a message", m, code)
	}
}

// wantClose reads the next packet, which must be a Close, and the end of the stream behind it.
func (p *peer) wantClose(code uint64) {
	p.tb.Helper()
	g := p.want()
	if g.typ != 3 || g.cmd != 0 {
		p.tb.Fatalf("got %+v, want a Close", g)
	}
	if m := p.decode(g.body); m.number("code") != code {
		p.tb.Fatalf("Close %v, want code %d", m, code)
	}
	p.wantEnd()
}

func (p *peer) wantEnd() {
	p.tb.Helper()
	if g, err := p.next(); err != io.EOF {
		p.tb.Fatalf("got %+v, %v, want the end of the stream", g, err)
	}
}

// fields is a control message.
type fields map[string]any

func (m fields) number(name string) uint64 {
	switch v := m[name].(type) {
	case uint64:
		return v
	case float64:
		return uint64(v)
	}
	return 0
}

func (m fields) text(name string) string {
	s, _ := m[name].(string)
	return s
}

// decode reads Close, Error, AuthResponse, ReconnectResponse or Heartbeat: no two of them have the
// same field number with the same type but those named alike here.
func (p *peer) decode(body []byte) fields {
	p.tb.Helper()
	m := make(fields)
	if p.json {
		if err := json.Unmarshal(body, &m); err != nil {
			p.tb.Fatalf("%q: %v", body, err)
		}
		if m.text("reason") != "" {
			m["msg"] = m["reason"]
		}
		return m
	}
	names := map[protowire.Number]map[protowire.Type]string{
		1: {protowire.VarintType: "code", protowire.BytesType: "session_id"},
		2: {protowire.VarintType: "expires", protowire.BytesType: "msg"},
		3: {protowire.VarintType: "limit"},
		4: {protowire.VarintType: "online"},
	}
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		if n < 0 || names[num][typ] == "" {
			p.tb.Fatalf("field %d of type %d", num, typ)
		}
		body = body[n:]
		if typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(body)
			m[names[num][typ]], body = v, body[max(n, 0):]
		} else {
			v, n := protowire.ConsumeBytes(body)
			m[names[num][typ]], body = string(v), body[max(n, 0):]
		}
	}
	return m
}

// message is an AuthRequest or ReconnectRequest: both have one string, of number 1.
func (p *peer) message(name, value string) string {
	if p.json {
		b, _ := json.Marshal(map[string]string{name: value})
		return string(b)
	}
	return string(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), value))
}

// session is what Auth and Reconnect are answered with.
type session struct {
	id            string
	expires       time.Time
	limit, online uint64
}

func (p *peer) session(g got) session {
	p.tb.Helper()
	m := p.decode(g.body)
	s := session{m.text("session_id"), time.UnixMilli(int64(m.number("expires"))), m.number("limit"), m.number("online")}
	if s.id == "" || !s.expires.After(p.begun) { // not now: it may have been read late
		p.tb.Fatalf("session %+v", m)
	}
	return s
}

// auth logs in.
func (p *peer) auth(token string) session {
	p.tb.Helper()
	id := p.send(2, p.message("token", token))
	return p.session(p.wantResponse(2, id, 0))
}

// reconnect resumes.
func (p *peer) reconnect(ticket string) session {
	p.tb.Helper()
	id := p.send(3, p.message("session_id", ticket))
	return p.session(p.wantResponse(3, id, 0))
}

// call sends a request and returns the body of the response, which must be the next packet.
func (p *peer) call(cmd byte, body string) string {
	p.tb.Helper()
	id := p.send(cmd, body)
	return string(p.wantResponse(cmd, id, 0).body)
}

// online dials and logs in.
func online(tb testing.TB, s *server.Server, f form, user string) *peer {
	tb.Helper()
	p := dial(tb, s, f)
	p.auth(user)
	return p
}

// await polls until ok, for what no event tells.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}
