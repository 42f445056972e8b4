package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A stream is a subscriber for tests that are about speed. It knows how every push begins, and
// checks the topic and the number in it: in each topic they must follow one another.
type stream struct {
	fd     int
	file   *os.File
	pong   []byte   // whole
	ping   []byte   // whole
	head   []byte   // of each push, before its payload
	next   []uint32 // number of the next push, by topic
	part   []byte   // what came of a head that is not whole
	skip   int      // bytes of the current payload that are still to come
	pings  int
	pongs  int
	failed error
}

// A payload is a topic, its number, and padding. Text, so that WebSocket clients take it as such.
const streamStamp = 1 + 9

// streamPayload is the payload of size bytes number n of a topic.
func streamPayload(dst []byte, topic int, n uint32, size int) []byte {
	dst = append(dst, 'A'+byte(topic))
	for div := uint32(100_000_000); div > 0; div /= 10 {
		dst = append(dst, '0'+byte(n/div%10))
	}
	for len(streamPadding) < size-streamStamp {
		streamPadding = append(streamPadding, '.')
	}
	return append(dst, streamPadding[:size-streamStamp]...)
}

// streamBite is the most that is read from a stream at a time, unless it is slow on purpose.
const streamBite = 32 << 10

var streamPadding = bytes.Repeat([]byte("."), 64<<10)

// A streamSet reads many streams on few goroutines, without the runtime's poller, so that what
// reads costs little beside the gateway.
type streamSet struct {
	size  int           // of payloads
	pause time.Duration // behind each read: a program that has more to do than to read
	loops []*streamLoop
	all   []*stream
	stop  atomic.Bool
	quiet atomic.Bool   // no further pings
	total atomic.Uint64 // pushes read
	pings atomic.Int64  // without a pong
	done  sync.WaitGroup
}

type streamLoop struct {
	set   *streamSet
	epoll int
	own   []*stream
	turn  time.Duration // the longest over all its sockets
	byFD  map[int32]*stream
}

func newStreamSet(tb testing.TB, size int) *streamSet {
	set := &streamSet{size: size}
	for range 2 {
		fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = syscall.Close(fd) })
		set.loops = append(set.loops, &streamLoop{set: set, epoll: fd, byFD: make(map[int32]*stream)})
	}
	tb.Cleanup(set.end)
	return set
}

// add takes over a client that nothing is on its way to. s has its wire forms filled in.
func (set *streamSet) add(tb testing.TB, file *os.File, s *stream, topics int) {
	tb.Helper()
	s.file, s.fd = file, int(file.Fd())
	s.next = make([]uint32, topics)
	if err := syscall.SetNonblock(s.fd, true); err != nil {
		tb.Fatal(err)
	}
	l := set.loops[len(set.all)%len(set.loops)]
	set.all = append(set.all, s)
	l.own = append(l.own, s)
	l.byFD[int32(s.fd)] = s
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, s.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(s.fd)}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = file.Close() })
}

// addCustomer and addClient take over the connections that tests usually have.
func (set *streamSet) addCustomer(tb testing.TB, c *netsvrCustomer, topics int) {
	tb.Helper()
	head := []byte{0x80 | netsvrText}
	switch {
	case set.size < 126:
		head = append(head, byte(set.size))
	case set.size < 1<<16:
		head = append(head, 126, byte(set.size>>8), byte(set.size))
	default:
		head = append(head, 127, 0, 0, 0, 0, byte(set.size>>24), byte(set.size>>16), byte(set.size>>8), byte(set.size))
	}
	set.add(tb, streamFile(tb, c.conn, c.r.Buffered()), &stream{
		head: head,
		ping: netsvrFrame(0x80|netsvrText, []byte(workerPing)),
		pong: append([]byte{0x80 | netsvrText, byte(len(workerPong))}, workerPong...),
	}, topics)
}

func (set *streamSet) addClient(tb testing.TB, c *client, topics int) {
	tb.Helper()
	push := c.mode.sendReq(0, 0, "push", streamPayload(nil, 0, 0, set.size))
	set.add(tb, streamFile(tb, c.conn, c.r.Buffered()), &stream{
		head: push[:len(push)-set.size],
		ping: c.mode.ping(),
		pong: c.mode.packet(pingResp, 0),
	}, topics)
}

// streamFile is conn's socket without the runtime's poller.
func streamFile(tb testing.TB, conn interface {
	File() (*os.File, error)
	Close() error
}, buffered int) *os.File {
	tb.Helper()
	if buffered > 0 {
		tb.Fatal("something came before the first publish")
	}
	file, err := conn.File()
	if err != nil {
		tb.Fatal(err)
	}
	_ = conn.Close()
	return file
}

// start reads until finish. Each stream is asked for a sign of life every pings, 0: never.
func (set *streamSet) start(pings time.Duration) {
	for _, l := range set.loops {
		set.done.Go(func() { l.run(pings) })
	}
}

// end ends the reading.
func (set *streamSet) end() {
	set.stop.Store(true)
	set.done.Wait()
}

func (l *streamLoop) run(pings time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]syscall.EpollEvent, 64)
	buf := make([]byte, 256<<10)
	start, asked := time.Now(), 0
	turn, reads := start, 0
	for !l.set.stop.Load() {
		n, err := syscall.EpollWait(l.epoll, events, 20)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			panic(err)
		}
		for i := range max(n, 0) {
			l.read(l.byFD[events[i].Fd], buf)
			if l.set.pause > 0 {
				time.Sleep(l.set.pause)
			}
			if reads++; reads%len(l.own) == 0 {
				now := time.Now()
				l.turn = max(l.turn, now.Sub(turn))
				turn = now
			}
		}
		if n <= 0 {
			turn, reads = time.Now(), 0
		}
		if pings > 0 && !l.set.quiet.Load() {
			for due := int(time.Since(start) * time.Duration(len(l.own)) / pings); asked < due; asked++ {
				s := l.own[asked%len(l.own)]
				if s.failed == nil && l.set.writeAll(s) {
					s.pings++
					l.set.pings.Add(1)
				}
			}
		}
	}
}

// writeAll sends a ping; a socket that has no room for it is a gateway that does not read.
func (set *streamSet) writeAll(s *stream) bool {
	n, err := syscall.Write(s.fd, s.ping)
	if n != len(s.ping) {
		s.failed = fmt.Errorf("ping %d: wrote %d bytes: %w", s.pings, n, err)
		return false
	}
	return true
}

func (l *streamLoop) read(s *stream, buf []byte) {
	if s.failed != nil {
		return
	}
	have := copy(buf, s.part)
	room := buf[have:]
	if l.set.pause == 0 {
		// In small bites, so that on a busy machine, too, nobody's turn comes so late that the gateway
		// takes him for stalled.
		room = room[:streamBite]
	}
	n, err := syscall.Read(s.fd, room)
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		return
	case n <= 0:
		if err == nil {
			err = io.EOF
		}
		l.fail(s, fmt.Errorf("the connection ended behind push %v: %w", s.next, err))
		return
	}
	rest, err := s.take(buf[:have+n], l.set)
	if err != nil {
		l.fail(s, err)
		return
	}
	s.part = append(s.part[:0], rest...)
}

func (l *streamLoop) fail(s *stream, err error) {
	s.failed = err
	_ = syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, s.fd, nil)
}

// take works off b and returns what is not whole.
func (s *stream) take(b []byte, set *streamSet) (rest []byte, err error) {
	count := uint64(0)
	defer func() { set.total.Add(count) }()
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(b))
			if !bytes.Equal(b[:n], streamPadding[:n]) {
				return nil, fmt.Errorf("the payload behind push %v is not what was sent", s.next)
			}
			if s.skip -= n; s.skip == 0 {
				count++
			}
			b = b[n:]
			continue
		}
		if bytes.HasPrefix(b, s.pong) {
			s.pongs++
			set.pings.Add(-1)
			b = b[len(s.pong):]
			continue
		}
		if len(b) < len(s.head)+streamStamp {
			return b, nil // a pong is shorter than that
		}
		if !bytes.HasPrefix(b, s.head) {
			return nil, fmt.Errorf("behind push %v comes %x", s.next, b[:len(s.head)+streamStamp])
		}
		stamp := b[len(s.head):][:streamStamp]
		topic, number := int(stamp[0])-'A', uint32(0)
		for _, d := range stamp[1:] {
			number = number*10 + uint32(d-'0')
		}
		if topic < 0 || topic >= len(s.next) || number != s.next[topic] {
			return nil, fmt.Errorf("got push %d of topic %d, want one of %v", number, topic, s.next)
		}
		s.next[topic]++
		b = b[len(s.head)+streamStamp:]
		s.skip = set.size - streamStamp
	}
	return nil, nil
}

// finish waits until every stream has read want of each topic and each pong, as long as something
// arrives, ends the reading, and returns what is missing.
func (set *streamSet) finish(want []uint32) (problems []string) {
	full := uint64(0)
	for _, n := range want {
		full += uint64(n)
	}
	full *= uint64(len(set.all))
	set.quiet.Store(true)
	last, since := set.total.Load(), time.Now()
	for (set.total.Load() < full || set.pings.Load() > 0) && time.Since(since) < patience {
		time.Sleep(5 * time.Millisecond)
		if now := set.total.Load(); now != last {
			last, since = now, time.Now()
		}
	}
	time.Sleep(50 * time.Millisecond) // what is too much comes now
	set.end()
	bad := 0
	for i, s := range set.all {
		err := s.failed
		for topic := range want {
			if err == nil && s.next[topic] != want[topic] {
				err = fmt.Errorf("%d pushes of topic %d, want %d", s.next[topic], topic, want[topic])
			}
		}
		if err == nil && (s.skip > 0 || len(s.part) > 0) {
			err = fmt.Errorf("%d bytes missing of the last push, %d too many", s.skip, len(s.part))
		}
		if err == nil && s.pongs < s.pings {
			err = fmt.Errorf("%d pongs to %d pings", s.pongs, s.pings)
		}
		if err != nil {
			if bad++; bad <= 10 {
				problems = append(problems, fmt.Sprintf("subscriber %d: %v", i, err))
			}
		}
	}
	if bad > 10 {
		problems = append(problems, fmt.Sprintf("and %d more of %d", bad-10, len(set.all)))
	}
	return problems
}
