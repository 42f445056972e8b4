package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Many who send most of a packet and stop do not keep out those who send all of theirs.
func TestPressureHalfPackets(t *testing.T) {
	x := startPressure(t).together()
	// The total is what 17 packets nearly fill.
	total, half, honest := pick(x, 256<<20, 32<<20), pick(x, 15<<20, 15<<17), pick(x, 1<<20, 1<<17)
	p := startDev(x, "--backlog-total", fmt.Sprint(total))
	empty := p.memory()
	var wg sync.WaitGroup
	for i := range 17 {
		c := p.login(x, modes[0], "")
		b := append(c.mode.header(sendReq, 2, half), make([]byte, half-1-i)...)
		wg.Go(func() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			_, _ = c.conn.Write(b)
		})
	}
	wg.Wait()
	for range 60 { // and fill up what is left
		c := p.login(x, modes[0], "")
		_ = c.send(append(c.mode.header(sendReq, 2, 60_000), make([]byte, 59_000)...))
		c = p.dial(x, modes[0]) // and of logins
		_ = c.send(append(c.mode.header(connect, 0, 60_000), c.mode.connectBody(0, make([]byte, 59_000))[:50_000]...))
	}
	time.Sleep(200 * time.Millisecond)
	held := p.memory()
	x.explain(empty, held)
	served, worst := 0, time.Duration(0)
	var firstErr error
	for i := range 10 {
		start := time.Now()
		if err := p.honestEcho(x, i, honest); err != nil && firstErr == nil {
			firstErr = fmt.Errorf("honest %d: %w", i, err)
		} else if err == nil {
			served++
			worst = max(worst, time.Since(start))
		}
	}
	x.hold(served == 10, "10 of 10 served", "%d of 10 honest requests of %d KiB served, the slowest in %v; heap %.0f MiB; %v; closed %v",
		served, honest>>10, worst.Round(time.Millisecond), held.heap/(1<<20), firstErr, p.closedFor())
}

// Many who have little each are bounded as few who have much.
func TestPressureSmallAccounts(t *testing.T) {
	x := startPressure(t).together()
	clients, total := pick(x, 2000, 300), pick(x, 128<<20, 16<<20)
	p := startDev(x, "--backlog-total", fmt.Sprint(total), "--packet-timeout", "5m")
	empty := p.memory()
	var wg sync.WaitGroup
	for range clients { // each below the high-water mark
		c := p.login(x, modes[0], "")
		b := append(c.mode.header(sendReq, 2, 1<<20), make([]byte, 200<<10)...)
		wg.Go(func() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			_, _ = c.conn.Write(b) // who is shed cannot
		})
	}
	wg.Wait()
	time.Sleep(500 * time.Millisecond)
	held := p.memory()
	grown := held.heap - empty.heap
	x.hold(grown <= 1.4*float64(total), fmt.Sprintf("a quarter above --backlog-total, %d MiB, at most", total>>20),
		"heap grew by %.0f MiB with 200 KiB of half a packet of each of %d clients; closed %v", grown/(1<<20), clients, p.closedFor())
	x.explain(empty, held)
	err := p.honestEcho(x, 1, 1<<10)
	x.hold(err == nil, "an honest one is served", "%v", err)
}

// honestEcho logs in, has a request answered, and leaves.
func (p *process) honestEcho(tb testing.TB, i, size int) error {
	c, err := p.open(tb, modes[0])
	if err != nil {
		return err
	}
	defer c.hangUp()
	if err := c.send(append(c.mode.connect(0, ""), c.mode.ask(1, "sluice.Echo", quoted(i, size))...)); err != nil {
		return err
	}
	if got, err := c.next(); err != nil || got.typ != connAck || got.body[1] != accepted {
		return fmt.Errorf("login: %v, %w", got, err)
	}
	got, err := c.next()
	if err != nil {
		return err
	}
	if msg, err := c.mode.message(got); err != nil || msg.payload != echoed(quoted(i, size)) {
		return fmt.Errorf("reply %.60q, %v", msg.payload, err)
	}
	return nil
}

// Messages in fragments that never end are bounded, and cost others nothing.
func TestPressureFragments(t *testing.T) {
	x := startPressure(t).together()
	guests, total := pick(x, 300, 60), pick(x, 256<<20, 32<<20)
	p := startDev(x, "--backlog-total", fmt.Sprint(total))
	honest := p.netsvrOpen(x, "/netsvr")
	pair := p.trip(x, "t")
	empty := p.memory()
	fragment := netsvrFrame(netsvrBinary, append([]byte("001"), make([]byte, 512<<10-3)...))
	further := netsvrFrame(netsvrContinuation, make([]byte, 512<<10))
	message := slices.Concat(fragment, further, further, further)
	const lanes = 8
	all := make([]*netsvrCustomer, guests)
	for i := range all {
		all[i] = p.netsvrOpen(x, "/netsvr")
	}
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < guests; i += lanes {
				_ = all[i].conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
				_, _ = all[i].conn.Write(message) // who is shed cannot
			}
		})
	}
	wg.Wait()
	time.Sleep(500 * time.Millisecond)
	held := p.memory()
	grown := held.heap - empty.heap
	x.hold(grown <= 1.1*float64(total), fmt.Sprintf("below --backlog-total, %d MiB", total>>20),
		"heap grew by %.0f MiB with %d guests' 2 MiB of fragments; closed %v", grown/(1<<20), guests, p.closedFor())
	x.explain(empty, held)
	start := time.Now()
	big := strings.Repeat("h", 64<<10)
	honest.say("001" + big)
	op, got, err := honest.next(patience)
	_, tripErr := pair.once()
	took := time.Since(start)
	x.hold(err == nil && op == netsvrText && string(got) == big && tripErr == nil && took < pick(x, time.Second, patience),
		"an honest guest is served", "64 KiB there and back and a publish in %v, %v %v", took.Round(time.Millisecond), err, tripErr)
}

// What a worker wants delivered later is bounded.
func TestPressureDelayed(t *testing.T) {
	x := startPressure(t).together()
	messages := pick(x, 1000, 150)
	p := startNetsvr(x, "--open-worker", "1")
	l := p.workerFor(x, 1)
	_, id := p.netsvrOpened(x, l, "/netsvr")
	empty := p.memory()
	before := p.metrics()
	command := workerCommand(workerForceOfflineGuest, workerMsg(nil).text(1, id).num(2, 600).bytes(3, bytes.Repeat([]byte("d"), 1<<20)))
	for i := range messages {
		if err := l.try(command); err != nil {
			x.Errorf("message %d: %v", i, err)
			break
		}
	}
	l.sync()
	held := p.memory()
	var counted []string
	for name, v := range p.metrics() {
		if d := v - before[name]; d > 0 && strings.Contains(name, "_total") && (strings.Contains(name, "drop") || strings.Contains(name, "delayed") || strings.Contains(name, "refused")) {
			counted = append(counted, fmt.Sprintf("%s %.0f", name, d))
		}
	}
	slices.Sort(counted)
	grown := held.heap - empty.heap
	x.hold(grown <= 80<<20 && len(counted) > 0, "below 80 MiB, the refused ones counted", "heap grew by %.0f MiB with %d delayed messages of 1 MiB; %v", grown/(1<<20), messages, counted)
	x.explain(empty, held)
	other := p.workerFor(x, 2)
	other.sync() // the others' links are served
}

// Sessions whose clients are gone are bounded in bytes, not only in number.
func TestPressureSessions(t *testing.T) {
	x := startPressure(t).together()
	sessions := pick(x, 6000, 800)
	p := startNetsvr(x, "--open-worker", "1")
	l := p.workerFor(x, 1)
	empty := p.memory()
	text := strings.Repeat("s", 64<<10-8)
	const group = 50
	for n := 0; n < sessions; n += group {
		var clients []*client
		for i := range group {
			c, _ := p.begin(x, modes[0], fmt.Sprint("user", n+i))
			id := l.event(workerConnOpen).text(1)
			l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, fmt.Sprintf("%08d", n+i)+text))
			clients = append(clients, c)
		}
		l.sync()
		for _, c := range clients {
			c.hangUp()
		}
	}
	p.await(func() bool { return p.metrics()["sluice_connections"] == 0 }, "the clients to be gone")
	held := p.memory()
	all := p.metrics()
	grown := held.heap - empty.heap
	x.hold(grown <= 280<<20, "below 280 MiB", "heap grew by %.0f MiB with %d sessions of 64 KiB; %.0f detached, %.0f evicted",
		grown/(1<<20), sessions, all[`sluice_sessions{state="detached"}`], all[`sluice_sessions_evicted_total{reason="memory"}`])
	x.explain(empty, held)
}

// When the total is used up, who has most goes, wherever it is and whoever added the last byte.
func TestPressureLargest(t *testing.T) {
	x := startPressure(t).together()
	for round := range pick(x, 6, 2) {
		largest(x, round)
	}
}

func largest(x *pressure, round int) {
	const mib, piece = 1 << 20, 512 << 10
	p := startDev(x, "--backlog-total", "32MiB", "--backlog", "16MiB", "--send-buffer", "64KiB", "--loops", "2")
	l := p.workerLink(x)
	body := strings.Repeat("p", piece)
	type reader struct {
		*client
		id    string
		count int // of pushes
	}
	var all []reader
	add := func(bytes int) {
		c := p.loginWith(x, smallReceiver(4<<10), modes[0], "")
		all = append(all, reader{c, c.whoami().UniqID, bytes / piece})
	}
	push := func(list []reader) {
		for _, r := range list {
			for range r.count {
				l.send(workerSingleCast, workerCast(r.id, body))
			}
		}
		l.sync()
	}
	honest := p.trip(x, "t")
	sizes := []int{3 * mib, 9 * mib, 2 * mib, 6 * mib, 4 * mib, mib} // 25 MiB
	for i := range sizes {
		add(sizes[(i+round)%len(sizes)])
	}
	large := len(all)
	for range 20 { // the last bytes are those of small ones
		add(piece)
	}
	push(all[:large])
	time.Sleep(2500 * time.Millisecond) // they are not keeping up
	before := p.closedFor()
	push(all[large:])
	time.Sleep(700 * time.Millisecond)
	closed := p.closedFor()
	_, honestErr := honest.once()
	// Who is still there gets all of it.
	var gone []string
	leastGone, mostLeft := 32*mib, 0 // in bytes
	for _, r := range all {
		there := true
		for range r.count {
			if pk, err := r.next(); err != nil || pk.typ != sendReq {
				gone = append(gone, fmt.Sprintf("%d KiB", r.count*piece>>10))
				leastGone, there = min(leastGone, r.count*piece), false
				break
			}
		}
		if there {
			mostLeft = max(mostLeft, r.count*piece)
		}
		r.reset()
	}
	x.hold(len(gone) > 0 && len(gone) <= 3 && leastGone >= mostLeft && honestErr == nil, "the largest go, and no others",
		"round %d: gone: %v; closed %v, before %v; %v", round, gone, closed, before, honestErr)
}
