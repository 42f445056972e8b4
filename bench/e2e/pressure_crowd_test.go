package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A crowd is subscribers of a topic each that are read by two threads without the runtime's poller.
// Each push carries its number and when it was published. Members can be told not to read.
type crowd struct {
	size    int    // of payloads
	every   uint64 // one in so many pushes is a sample; 0: none
	head    []byte // of each push, before its payload
	members []*member
	loops   []*crowdLoop
	phase   atomic.Int32 // what samples count for
	stop    atomic.Bool
	done    sync.WaitGroup
}

// crowdPhases is how many phases are told apart.
const crowdPhases = 4

// crowdStamp is the number and the time in front of each payload.
const crowdStamp = 16

// crowdEpoch is what times count from.
var crowdEpoch = time.Now()

type crowdLoop struct {
	crowd   *crowd
	epoll   int
	byFD    map[int32]*member
	samples [crowdPhases][]time.Duration // of those who are counted
	counts  [crowdPhases]atomic.Int64
}

type member struct {
	fd      int
	file    *os.File
	loop    *crowdLoop
	counted bool          // its samples are
	stalled atomic.Bool   // it does not read
	next    atomic.Uint64 // number of the next push
	part    []byte        // of a head that is not whole
	skip    int           // bytes of the current payload still to come
	failed  atomic.Pointer[error]
}

// joinCrowd logs n clients in, subscribes them to one topic each, in turn, and reads none of them yet.
func (p *process) joinCrowd(tb testing.TB, d *net.Dialer, n, size int, topics []string, counted func(int) bool) *crowd {
	tb.Helper()
	push := modes[0].sendReq(0, 0, "push", make([]byte, size))
	c := &crowd{size: size, head: push[:len(push)-size]}
	for range 2 {
		fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = syscall.Close(fd) })
		c.loops = append(c.loops, &crowdLoop{crowd: c, epoll: fd, byFD: make(map[int32]*member)})
	}
	for i := range n {
		client := p.loginWith(tb, d, modes[0], "")
		client.subscribe(topics[i%len(topics)])
		file := streamFile(tb, client.conn, client.r.Buffered())
		m := &member{file: file, fd: int(file.Fd()), loop: c.loops[i%len(c.loops)], counted: counted(i)}
		if err := syscall.SetNonblock(m.fd, true); err != nil {
			tb.Fatal(err)
		}
		m.loop.byFD[int32(m.fd)] = m
		c.members = append(c.members, m)
		if err := m.watch(syscall.EPOLL_CTL_ADD, syscall.EPOLLIN); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(c.end) // and none of its files is closed before
	return c
}

func (m *member) watch(op int, events uint32) error {
	return syscall.EpollCtl(m.loop.epoll, op, m.fd, &syscall.EpollEvent{Events: events, Fd: int32(m.fd)})
}

// stall makes a member stop reading, or go on. On one goroutine only.
func (m *member) stall(on bool) {
	if m.stalled.Swap(on) == on || m.failed.Load() != nil {
		return
	}
	events := uint32(syscall.EPOLLIN)
	if on {
		events = 0
	}
	_ = m.watch(syscall.EPOLL_CTL_MOD, events)
}

func (m *member) fail(err error) {
	m.failed.CompareAndSwap(nil, &err)
	_ = m.watch(syscall.EPOLL_CTL_DEL, 0)
}

// err is why a member has ended.
func (m *member) err() error {
	if e := m.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// read reads with both threads until end.
func (c *crowd) read() {
	for _, l := range c.loops {
		c.done.Go(l.run)
	}
}

// end ends the reading and the connections.
func (c *crowd) end() {
	c.stop.Store(true)
	c.done.Wait()
	for _, m := range c.members {
		_ = syscall.SetsockoptLinger(m.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		_ = m.file.Close()
	}
	c.members = nil
}

func (l *crowdLoop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]syscall.EpollEvent, 64)
	buf := make([]byte, 64<<10)
	for !l.crowd.stop.Load() {
		n, err := syscall.EpollWait(l.epoll, events, 20)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			panic(err)
		}
		for i := range max(n, 0) {
			m := l.byFD[events[i].Fd]
			if m.stalled.Load() && events[i].Events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
				m.fail(errors.New("ended while it did not read"))
				continue
			}
			if m.failed.Load() == nil {
				m.readOnce(buf)
			}
		}
	}
}

// readOnce reads once and reports whether there may be more.
func (m *member) readOnce(buf []byte) bool {
	have := copy(buf, m.part)
	n, err := syscall.Read(m.fd, buf[have:])
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return false
	case n <= 0:
		if err == nil {
			err = io.EOF
		}
		m.fail(fmt.Errorf("closed behind push %d: %w", m.next.Load(), err))
		return false
	}
	rest, err := m.take(buf[:have+n])
	if err != nil {
		m.fail(err)
		return false
	}
	m.part = append(m.part[:0], rest...)
	return true
}

// take works off b and returns what is not whole.
func (m *member) take(b []byte) (rest []byte, err error) {
	l := m.loop
	phase := l.crowd.phase.Load()
	now, count := time.Since(crowdEpoch), int64(0)
	next := m.next.Load()
	for len(b) > 0 {
		if m.skip > 0 {
			n := min(m.skip, len(b))
			m.skip -= n
			b = b[n:]
			continue
		}
		if len(b) < len(l.crowd.head)+crowdStamp {
			break
		}
		if !bytes.HasPrefix(b, l.crowd.head) {
			return nil, fmt.Errorf("behind push %d comes %x", next, b[:len(l.crowd.head)+crowdStamp])
		}
		stamp := b[len(l.crowd.head):]
		if got := binary.BigEndian.Uint64(stamp); got != next {
			return nil, fmt.Errorf("got push %d, want %d", got, next)
		}
		if m.counted && l.crowd.every > 0 && next%l.crowd.every == 0 {
			l.samples[phase] = append(l.samples[phase], now-time.Duration(binary.BigEndian.Uint64(stamp[8:])))
		}
		next++
		count++
		m.skip = l.crowd.size - crowdStamp
		b = b[len(l.crowd.head)+crowdStamp:]
	}
	m.next.Store(next)
	if m.counted {
		l.counts[phase].Add(count)
	}
	return b, nil
}

// counted is how many pushes a counted member got in a phase, on average.
func (c *crowd) counted(phase int) float64 {
	sum, n := int64(0), 0
	for _, l := range c.loops {
		sum += l.counts[phase].Load()
	}
	for _, m := range c.members {
		if m.counted {
			n++
		}
	}
	return float64(sum) / float64(max(n, 1))
}

// p99 is that of the counted in some phases, after the reading has ended.
func (c *crowd) p99(phases ...int) time.Duration {
	var all []time.Duration
	for _, l := range c.loops {
		for _, phase := range phases {
			all = append(all, l.samples[phase]...)
		}
	}
	slices.Sort(all)
	return percentile(all, 0.99)
}

// missing says what members that pass the filter have not got of want pushes, waiting for it as
// long as something comes.
func (c *crowd) missing(want uint64, filter func(*member) bool) (problems []string) {
	var last uint64
	for since := time.Now(); time.Since(since) < patience/3; time.Sleep(5 * time.Millisecond) {
		sum, open := uint64(0), false
		for _, m := range c.members {
			if filter(m) {
				n := m.next.Load()
				sum += n
				open = open || n < want && m.failed.Load() == nil
			}
		}
		if !open {
			break
		}
		if sum != last {
			last, since = sum, time.Now()
		}
	}
	for i, m := range c.members {
		if !filter(m) {
			continue
		}
		if err := m.err(); err != nil {
			problems = append(problems, fmt.Sprintf("subscriber %d: %v", i, err))
		} else if n := m.next.Load(); n != want {
			problems = append(problems, fmt.Sprintf("subscriber %d got %d of %d", i, n, want))
		}
	}
	return problems
}

// A flood is a worker that publishes to some topics in turn as fast as it can.
type flood struct {
	link    *workerLink
	round   []byte // a publish to each; payloads are at the ends
	ends    []int  // of the frames in it
	size    int
	sent    atomic.Uint64 // to each
	stop    atomic.Bool
	done    chan struct{}
	err     error
	longest time.Duration // a write took
}

func startFlood(link *workerLink, size int, topics ...string) *flood {
	f := &flood{link: link, size: size, done: make(chan struct{})}
	for _, topic := range topics {
		f.round = append(f.round, workerCommand(workerTopicPublish, workerMsg(nil).text(1, topic).bytes(2, make([]byte, size)))...)
		f.ends = append(f.ends, len(f.round))
	}
	// What waits in the worker's own socket is not the gateway's doing.
	_ = link.conn.SetWriteBuffer(128 << 10)
	go f.run()
	return f
}

func (f *flood) run() {
	defer close(f.done)
	batch := bytes.Repeat(f.round, max(1, (16<<10)/len(f.round)))
	for n := uint64(0); !f.stop.Load(); {
		start := time.Now()
		for at := 0; at < len(batch); at += len(f.round) {
			for _, end := range f.ends {
				stamp := batch[at+end-f.size:]
				binary.BigEndian.PutUint64(stamp, n)
				binary.BigEndian.PutUint64(stamp[8:], uint64(time.Since(crowdEpoch)))
			}
			n++
		}
		_ = f.link.conn.SetWriteDeadline(start.Add(2 * patience))
		if _, f.err = f.link.conn.Write(batch); f.err != nil {
			return
		}
		f.sent.Store(n)
		f.longest = max(f.longest, time.Since(start))
	}
}

// end ends the flood and returns how many it has published to each topic.
func (f *flood) end(x *pressure) uint64 {
	x.Helper()
	f.stop.Store(true)
	<-f.done
	if f.err != nil {
		x.Errorf("the worker could not go on: %v", f.err)
	}
	return f.sent.Load()
}

// A rolling is subscribers of whom some stall, in turn.
type rolling struct {
	all, atOnce int
	each        time.Duration // a stall takes
}

// Some who stall in turn cost neither the publisher its rate nor the others their time. They are a
// half of all, at most 9% at once.
func TestPressureRollingStalls(t *testing.T) {
	for _, r := range []rolling{
		{200, 18, 400 * time.Millisecond},
		{200, 18, time.Second},
		{2000, 180, 400 * time.Millisecond},
		{2000, 180, time.Second},
	} {
		if !pressureFull && (r.all > 200 || r.each >= time.Second) {
			continue // takes long to come up to speed, or longer than the test
		}
		t.Run(fmt.Sprintf("%d of %d for %v", r.atOnce, r.all, r.each), func(t *testing.T) { r.run(startPressure(t)) })
	}
}

func (r rolling) run(x *pressure) {
	const size = 1 << 10
	stallers := r.all / 2
	p := startDev(x)
	c := p.joinCrowd(x, smallReceiver(32<<10), r.all, size, []string{"t"}, func(i int) bool { return i >= stallers })
	c.every = 16
	c.read()
	f := startFlood(p.workerLink(x), size, "t")
	// Calm, stalls, time to catch up, calm again.
	lasts := x.minute(1500 * time.Millisecond)
	time.Sleep(pick(x, 5*time.Second, 500*time.Millisecond))
	before := [crowdPhases]float64{}
	phase := func(n int, d time.Duration, during func(end time.Time)) float64 {
		before[n] = c.counted(n)
		start := time.Now()
		c.phase.Store(int32(n))
		during(start.Add(d))
		return (c.counted(n) - before[n]) / time.Since(start).Seconds()
	}
	sleep := func(end time.Time) { time.Sleep(time.Until(end)) }
	calm1 := phase(1, max(lasts/4, 700*time.Millisecond), sleep)
	stalled := phase(2, lasts, func(end time.Time) {
		start := time.Now()
		begun, ended := 0, 0 // stalls; the n-th is that of member n%stallers
		for time.Now().Before(end) {
			at := int(time.Since(start) * time.Duration(r.atOnce) / r.each)
			for ; begun < at; begun++ {
				for ; ended <= begun-r.atOnce; ended++ {
					c.members[ended%stallers].stall(false)
				}
				c.members[begun%stallers].stall(true)
			}
			time.Sleep(2 * time.Millisecond)
		}
		for _, m := range c.members[:stallers] {
			m.stall(false)
		}
	})
	phase(0, pick(x, 3*time.Second, 500*time.Millisecond), sleep)
	calm2 := phase(3, max(lasts/4, 700*time.Millisecond), sleep)
	want := f.end(x)
	lost := c.missing(want, func(m *member) bool { return m.counted })
	cut := 0
	for _, m := range c.members[:stallers] {
		if m.failed.Load() != nil {
			cut++
		}
	}
	closed := p.closedFor()
	c.stop.Store(true)
	c.done.Wait()
	calm := (calm1 + calm2) / 2
	quick, slow := c.p99(1, 3), c.p99(2)
	x.holdTime(stalled >= pick(x, 0.85, 0.5)*calm, pick(x, "rate at least 0.85x", "rate at least 0.5x"),
		"%.0f messages/s, %.0f and %.0f without stalls: %.2fx", stalled, calm1, calm2, stalled/calm)
	x.holdTime(slow <= pick(x, quick*3/2, quick*4+300*time.Millisecond), pick(x, "healthy p99 at most 1.5x", "healthy p99 at most 4x and 300 ms"),
		"healthy p99 %v, %v without stalls: %.2fx", slow.Round(time.Millisecond), quick.Round(time.Millisecond), float64(slow)/float64(max(quick, 1)))
	x.hold(len(lost) == 0, "0 healthy closed or short of a message", "%d of %d healthy, %d of %d that stalled were closed; %v; longest write %v %.300q",
		len(lost), r.all-stallers, cut, stallers, closed, f.longest.Round(time.Millisecond), lost[:min(3, len(lost))])
	x.Logf("%d MiB resident at most", p.peakMemory()>>20)
}

// Many who do not read topic A cost topic B of the same worker little.
func TestPressureOtherTopic(t *testing.T) {
	x := startPressure(t)
	readers, lasts := pick(x, 200, 60), pick(x, 15*time.Second, 2500*time.Millisecond)
	const size, rate = 20_000, 500
	p := startDev(x)
	for range readers {
		c := p.loginWith(x, smallReceiver(4<<10), modes[0], "")
		c.subscribe("a")
	}
	b := p.joinCrowd(x, &net.Dialer{Timeout: patience}, 4, crowdStamp, []string{"b"}, func(int) bool { return true })
	b.every = 1
	b.read()
	link := p.workerLink(x)
	big := workerCommand(workerTopicPublish, workerMsg(nil).text(1, "a").bytes(2, make([]byte, size)))
	start := time.Now()
	n := uint64(0)
	for i := 0; ; i++ {
		due := time.Duration(i) * time.Second / rate
		if due >= lasts {
			break
		}
		time.Sleep(time.Until(start.Add(due)))
		link.sendRaw(big)
		if i%5 == 0 {
			stamp := binary.BigEndian.AppendUint64(nil, n)
			stamp = binary.BigEndian.AppendUint64(stamp, uint64(start.Add(due).Sub(crowdEpoch)))
			link.send(workerTopicPublish, workerMsg(nil).text(1, "b").bytes(2, stamp))
			n++
		}
	}
	lost := b.missing(n, func(*member) bool { return true })
	closed := p.closedFor()
	b.stop.Store(true)
	b.done.Wait()
	var worst time.Duration
	for _, l := range b.loops {
		for _, all := range l.samples {
			for _, d := range all {
				worst = max(worst, d)
			}
		}
	}
	x.holdTime(worst <= pick(x, 600*time.Millisecond, 1500*time.Millisecond), pick(x, "B late by at most 0.6 s", "B late by at most 1.5 s"),
		"B was late by up to %v behind %d stalled readers of A; closed %v", worst.Round(time.Millisecond), readers, closed)
	x.hold(len(lost) == 0, "all of B arrives", "%d of 4 subscribers short of %d messages %.200q", len(lost), n, lost)
}

// Casts to a list wait for those on it alone: that somebody else takes bytes does not prolong a wait
// for one of ten that has stalled.
func TestPressureList(t *testing.T) {
	x := startPressure(t)
	const stall, every = 1900 * time.Millisecond, 2 * time.Second
	lasts := pick(x, 15*time.Second, 5*time.Second)
	p := startDev(x, "--lag", "1GiB", "--backlog-total", "4GiB", "--backlog", "64MiB")
	l := p.workerLink(x)
	_ = l.conn.SetWriteBuffer(64 << 10)
	var ids []string
	end := time.Now().Add(lasts)
	var readers sync.WaitGroup
	read := func(c *client, size int, pause func() time.Duration) {
		readers.Go(func() {
			b := make([]byte, size)
			for time.Now().Before(end) {
				time.Sleep(pause())
				_ = c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				_, _ = c.conn.Read(b)
			}
		})
	}
	start := time.Now()
	for i := range 10 {
		c := p.loginWith(x, smallReceiver(32<<10), modes[0], "")
		ids = append(ids, c.whoami().UniqID)
		read(c, 64<<10, func() time.Duration {
			if at := time.Since(start) % every; i == 0 && at < stall {
				return stall - at
			}
			return 0
		})
	}
	drip := p.loginWith(x, smallReceiver(4<<10), modes[0], "")
	id := drip.whoami().UniqID
	for range 350 {
		l.send(workerSingleCast, workerCast(id, strings.Repeat("d", 20_000)))
	}
	read(drip, 4000, func() time.Duration { return 10 * time.Millisecond })
	cast := workerCommand(workerMulticast, workerMsg(nil).text(1, ids...).text(2, strings.Repeat("x", 30_000)))
	var waited time.Duration
	for time.Now().Before(end) {
		begun := time.Now()
		l.sendRaw(cast)
		if d := time.Since(begun); d > 5*time.Millisecond {
			waited += d
		}
		time.Sleep(2 * time.Millisecond)
	}
	readers.Wait()
	bound := 500*time.Millisecond + lasts/10 + pick(x, 500*time.Millisecond, time.Second)
	x.holdTime(waited <= bound, fmt.Sprintf("at most %v", bound), "casts waited %v of %v; closed %v", waited.Round(time.Millisecond), lasts, p.closedFor())
}

// A program that reads 800 connections in rounds is slow and loses none of them.
func TestPressureRounds(t *testing.T) {
	x := startPressure(t)
	for _, round := range pick(x, []time.Duration{1, 2, 3, 5}, []time.Duration{1}) {
		round *= time.Second
		x.Run(round.String(), func(t *testing.T) { inRounds(startPressure(t).together(), round) })
	}
}

func inRounds(x *pressure, round time.Duration) {
	const size = 100
	connections := pick(x, 800, 300)
	p := startDev(x)
	c := p.joinCrowd(x, &net.Dialer{Timeout: patience}, connections, size, []string{"t"}, func(int) bool { return true })
	f := startFlood(p.workerLink(x), size, "t")
	start, lasts := time.Now(), max(x.minute(3*time.Second)/3, 3*round)
	buf := make([]byte, 64<<10)
	visit := func(m *member) {
		for range 64 { // 4 MiB at most
			if m.failed.Load() != nil || !m.readOnce(buf) {
				return
			}
		}
	}
	var longest time.Duration
	ended := func() bool { // what the worker is writing has to be taken first, and the rounds go on for that
		select {
		case <-f.done:
			return true
		default:
			return false
		}
	}
	for turn := start; !ended(); {
		for i, m := range c.members {
			time.Sleep(time.Until(turn.Add(round * time.Duration(i) / time.Duration(connections))))
			visit(m)
			f.stop.Store(time.Since(start) > lasts)
		}
		longest = max(longest, time.Since(turn))
		turn = time.Now()
	}
	rate := c.counted(0) / time.Since(start).Seconds()
	want := f.end(x)
	c.read() // the rest at once
	lost := c.missing(want, func(*member) bool { return true })
	x.hold(len(lost) == 0, "0 closed, nothing lost", "%d of %d; %.0f messages/s each, rounds of up to %v, %v closed, longest write %v, %d MiB resident at most %.300q",
		len(lost), connections, rate, longest.Round(time.Millisecond), p.closedFor(), f.longest.Round(time.Millisecond), p.peakMemory()>>20, lost[:min(3, len(lost))])
}

// Topics that each have a reader who has stopped, and so keep what he has not read, are bounded
// together, and their other readers notice nothing.
func TestPressureHotTopics(t *testing.T) {
	x := startPressure(t).together()
	topics, total := pick(x, 24, 8), pick(x, 256<<20, 64<<20)
	const each, size = 12, 4 << 10
	p := startDev(x, "--backlog-total", fmt.Sprint(total))
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprint("hot", i)
	}
	c := p.joinCrowd(x, smallReceiver(32<<10), topics*each, size, names, func(i int) bool { return i >= topics })
	for _, m := range c.members[:topics] {
		m.stall(true)
	}
	c.read()
	empty := p.memory()
	f := startFlood(p.workerLink(x), size, names...)
	var most memory
	for end := time.Now().Add(pick(x, 20*time.Second, 2500*time.Millisecond)); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if m := p.memory(); m.heap > most.heap {
			most = m
		}
	}
	want := f.end(x)
	lost := c.missing(want, func(m *member) bool { return m.counted })
	x.hold(len(lost) == 0 && f.longest <= pick(x, 2*time.Second, patience),
		pick(x, "0 healthy closed or short, no write takes 2 s", "0 healthy closed or short, the worker goes on"),
		"%d of %d; %d publishes to each of %d topics; closed %v; longest write %v %.300q",
		len(lost), topics*(each-1), want, topics, p.closedFor(), f.longest.Round(time.Millisecond), lost[:min(3, len(lost))])
	grown := most.heap - empty.heap
	// Who has just stalled may have 2 s before it goes: on a busy machine that is more of a small total.
	share := pick(x, 1.2, 1.6)
	x.hold(grown <= share*float64(total), fmt.Sprintf("heap below %.1fx --backlog-total, %d MiB", share, total>>20),
		"heap grew by up to %.0f MiB, the gauges by %.0f; %d MiB resident at most", grown/(1<<20), (most.gauges()-empty.gauges())/(1<<20), p.peakMemory()>>20)
}
