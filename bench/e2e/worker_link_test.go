package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// A workerLink is a worker's connection. A goroutine reads it all the time and sorts what comes:
// answers and pongs from events, each in order. Its want methods belong on the test's goroutine.
type workerLink struct {
	tb   testing.TB
	conn *net.TCPConn
	ends chan struct{} // closed when the gateway has ended the link, or we have

	mu      sync.Mutex
	events  []workerArrival
	answers []workerArrival
	arrived chan struct{} // has a token when something came
	err     error
}

// A workerArrival is a frame from the gateway. cmd is 0 for a heartbeat.
type workerArrival struct {
	cmd    uint32
	body   []byte // behind the command
	fields workerFields
}

// workerAddr is where the gateway listens for workers.
func (p *process) workerAddr() string {
	p.tb.Helper()
	var real struct {
		Worker string `json:"worker"`
	}
	if err := json.Unmarshal(p.ports, &real); err != nil {
		p.tb.Fatal(err)
	}
	u, err := url.Parse(real.Worker)
	if err != nil || u.Host == "" {
		p.tb.Fatalf("--ports-file names no worker listener: %q", p.ports)
	}
	return u.Host
}

// workerConn dials without reading.
func (p *process) workerConn(tb testing.TB) *net.TCPConn {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", p.workerAddr(), patience)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// workerLink dials and reads.
func (p *process) workerLink(tb testing.TB) *workerLink {
	tb.Helper()
	l := &workerLink{tb: tb, conn: p.workerConn(tb), ends: make(chan struct{}), arrived: make(chan struct{}, 1)}
	go l.read()
	tb.Cleanup(l.close)
	return l
}

// workerFor is a link that has registered for messages under id.
func (p *process) workerFor(tb testing.TB, id int) *workerLink {
	tb.Helper()
	l := p.workerLink(tb)
	l.register(id)
	return l
}

// workerServer is a link that has registered for requests under id.
func (p *process) workerServer(tb testing.TB, id int) *workerLink {
	tb.Helper()
	l := p.workerLink(tb)
	l.wantRegistered(workerMsg(nil).num(1, int64(id)).num(100, 1))
	return l
}

func (l *workerLink) close() {
	l.conn.Close()
	<-l.ends
}

// kill ends the link as the system does for a process that was killed with input unread.
func (l *workerLink) kill() {
	_ = l.conn.SetLinger(0)
	l.close()
}

func (l *workerLink) read() {
	defer close(l.ends)
	r := bufio.NewReaderSize(l.conn, 64<<10)
	for {
		a, err := workerReadFrame(r)
		l.mu.Lock()
		switch {
		case err != nil:
			l.err = err
		case a.cmd == 0 || a.cmd/1000 == 900003 || a.cmd == workerUserConnList || a.cmd == 900009009 || a.cmd == 900009010:
			l.answers = append(l.answers, a)
		default:
			l.events = append(l.events, a)
		}
		l.mu.Unlock()
		select {
		case l.arrived <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// workerReadFrame reads a frame and takes its message apart.
func workerReadFrame(r io.Reader) (a workerArrival, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return a, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > 256<<20 {
		return a, errWorkerMessage
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return a, unexpected(err)
	}
	if string(body) == workerPong {
		return a, nil
	}
	a.cmd, a.body = binary.BigEndian.Uint32(body), body[4:]
	a.fields, err = workerParse(a.body)
	return a, err
}

func (l *workerLink) sendRaw(b []byte) {
	l.tb.Helper()
	if err := l.try(b); err != nil {
		l.tb.Fatalf("writing to the gateway: %v", err)
	}
}

// try is sendRaw for other goroutines than the test's.
func (l *workerLink) try(b []byte) error {
	_ = l.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := l.conn.Write(b)
	return err
}

func (l *workerLink) send(cmd uint32, m workerMsg) {
	l.tb.Helper()
	l.sendRaw(workerCommand(cmd, m))
}

// take returns what is first in a queue, waiting for it until the deadline; ok is false when
// nothing came.
func (l *workerLink) take(queue *[]workerArrival, wait time.Duration) (a workerArrival, ok bool) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		if len(*queue) > 0 {
			a = (*queue)[0]
			*queue = (*queue)[1:]
			l.mu.Unlock()
			return a, true
		}
		err := l.err
		l.mu.Unlock()
		if err != nil {
			return a, false
		}
		select {
		case <-l.arrived:
		case <-timeout.C:
			return a, false
		}
	}
}

// answer waits for the answer to a query that was sent.
func (l *workerLink) answer(cmd uint32) workerFields {
	l.tb.Helper()
	a, ok := l.take(&l.answers, patience)
	if !ok {
		l.tb.Fatalf("no answer to %d: %v", cmd, l.err)
	}
	if a.cmd != cmd {
		l.tb.Fatalf("an answer to %d, want one to %d", a.cmd, cmd)
	}
	return a.fields
}

func (l *workerLink) ask(cmd uint32, m workerMsg) workerFields {
	l.tb.Helper()
	l.send(cmd, m)
	return l.answer(cmd)
}

// sync returns when the gateway has carried out all commands of this link.
func (l *workerLink) sync() { l.tb.Helper(); l.ask(workerUniqIDCount, nil) }

func (l *workerLink) register(id int) string {
	l.tb.Helper()
	return l.wantRegistered(workerMsg(nil).num(1, int64(id)))
}

// wantRegistered registers and returns the registerId.
func (l *workerLink) wantRegistered(m workerMsg) string {
	l.tb.Helper()
	got := l.ask(workerRegister, m)
	if got.num(1) != 0 || got.text(2) != "Success" || got.text(3) == "" {
		l.tb.Fatalf("not registered: %d %q %q", got.num(1), got.text(2), got.text(3))
	}
	return got.text(3)
}

func (l *workerLink) wantPong() {
	l.tb.Helper()
	if a, ok := l.take(&l.answers, patience); !ok || a.cmd != 0 {
		l.tb.Fatalf("got %d, %v, want a pong", a.cmd, ok)
	}
}

// wantAlive checks that the link is still served.
func (l *workerLink) wantAlive() {
	l.tb.Helper()
	l.sendRaw(workerFrame([]byte(workerPing)))
	l.wantPong()
}

// wantEnd wants the gateway to end the link.
func (l *workerLink) wantEnd() {
	l.tb.Helper()
	select {
	case <-l.ends:
		if !over(l.err) {
			l.tb.Fatalf("the link ended with %v", l.err)
		}
	case <-time.After(patience):
		l.tb.Fatalf("the link goes on after %v", patience)
	}
}

// event is the next event, which must be of this command.
func (l *workerLink) event(cmd uint32) workerFields {
	l.tb.Helper()
	a, ok := l.take(&l.events, patience)
	if !ok {
		l.tb.Fatalf("no %d came: %v", cmd, l.err)
	}
	if a.cmd != cmd {
		l.tb.Fatalf("got %d %q, want %d", a.cmd, a.body, cmd)
	}
	return a.fields
}

// wantTransfer wants a message from a client and returns the client's uniqId.
func (l *workerLink) wantTransfer(data string) (uniqID string) {
	l.tb.Helper()
	got := l.event(workerTransfer)
	if got.text(3) != data {
		l.tb.Fatalf("message %.100q, want %.100q", got.text(3), data)
	}
	return got.text(1)
}

// wantTransferOf wants a message from the client called uniqID.
func (l *workerLink) wantTransferOf(uniqID, session, data string) {
	l.tb.Helper()
	got := l.event(workerTransfer)
	if got.text(1) != uniqID || got.text(2) != session || got.text(3) != data {
		l.tb.Fatalf("message of %q, %q: %.100q, want %q, %q: %.100q",
			got.text(1), got.text(2), got.text(3), uniqID, session, data)
	}
}

func (l *workerLink) wantClosed(uniqID, session string) {
	l.tb.Helper()
	if got := l.event(workerConnClose); got.text(1) != uniqID || got.text(2) != session {
		l.tb.Fatalf("ConnClose of %q, %q, want %q, %q", got.text(1), got.text(2), uniqID, session)
	}
}

// wantNoEvent wants nothing for some time.
func (l *workerLink) wantNoEvent(d time.Duration) {
	l.tb.Helper()
	if a, ok := l.take(&l.events, d); ok {
		l.tb.Fatalf("got %d %.100q, want nothing", a.cmd, a.body)
	}
}

// reply answers a request that came as fields.
func (l *workerLink) reply(request workerFields, status int, payload string) {
	l.tb.Helper()
	l.send(workerReply, workerReplyTo(request, status, payload))
}

func workerReplyTo(request workerFields, status int, payload string) workerMsg {
	return workerMsg(nil).text(1, request.text(1)).num(2, request.num(6)).num(3, int64(status)).text(4, payload)
}

// Queries, each with what the answer says.

func (l *workerLink) online(ids ...string) []string {
	l.tb.Helper()
	return slices.Sorted(slices.Values(l.ask(workerCheckOnline, workerList(ids...)).texts(1)))
}

func (l *workerLink) uniqIDs() []string {
	l.tb.Helper()
	return slices.Sorted(slices.Values(l.ask(workerUniqIDList, nil).texts(2)))
}

func (l *workerLink) topics() []string {
	l.tb.Helper()
	return slices.Sorted(slices.Values(l.ask(workerTopicList, nil).texts(2)))
}

// info is the session and the sorted topics of a client; ok is false when it is not known.
func (l *workerLink) info(id string) (session string, topics []string, ok bool) {
	l.tb.Helper()
	item, ok := l.ask(workerConnInfo, workerList(id)).textMap(1)[id]
	return item.text(1), slices.Sorted(slices.Values(item.texts(2))), ok
}

func (l *workerLink) wantInfo(id, session string, topics ...string) {
	l.tb.Helper()
	s, got, ok := l.info(id)
	if !ok || s != session || !slices.Equal(got, topics) {
		l.tb.Fatalf("%s: known %v, session %q, topics %q, want %q, %q", id, ok, s, got, session, topics)
	}
}

func (l *workerLink) wantUnknown(ids ...string) {
	l.tb.Helper()
	if got := l.online(ids...); len(got) > 0 {
		l.tb.Fatalf("%q are online", got)
	}
}

func (l *workerLink) wantTopics(topics ...string) {
	l.tb.Helper()
	if got := l.topics(); !slices.Equal(got, topics) {
		l.tb.Fatalf("topics %q, want %q", got, topics)
	}
}
