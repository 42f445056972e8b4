package e2e

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"
)

// startNetsvr runs a gateway without a worker of its own.
func startNetsvr(tb testing.TB, args ...string) *process {
	tb.Helper()
	return startServe(tb, append([]string{"--login", "open", "--listen", "tcp://127.0.0.1:0"}, args...)...)
}

func TestWorkerFrames(t *testing.T) {
	t.Parallel()
	const limit = 4 << 10
	p := startNetsvr(t, "--worker-max-packet", "4KiB")
	count := workerCommand(workerUniqIDCount, nil)

	t.Run("any split", func(t *testing.T) {
		l := p.workerLink(t)
		wire := append(append([]byte(nil), count...), workerFrame([]byte(workerPing))...)
		for i := range wire {
			l.sendRaw(wire[i : i+1])
			time.Sleep(50 * time.Microsecond)
		}
		l.answer(workerUniqIDCount)
		l.wantPong()
		for i := 1; i < len(wire); i++ {
			l.sendRaw(wire[:i])
			time.Sleep(50 * time.Microsecond)
			l.sendRaw(wire[i:])
			l.answer(workerUniqIDCount)
			l.wantPong()
		}
	})
	t.Run("as long as allowed", func(t *testing.T) {
		l := p.workerLink(t)
		l.sendRaw(workerFrame(append(count[4:8:8], make([]byte, limit-4)...))) // what follows is ignored
		l.answer(workerUniqIDCount)
	})
	t.Run("longer than allowed", func(t *testing.T) {
		l := p.workerLink(t)
		l.sendRaw(binary.BigEndian.AppendUint32(nil, limit+1)) // closed on the length alone
		l.wantEnd()
	})
	t.Run("absurdly long", func(t *testing.T) {
		l := p.workerLink(t)
		l.sendRaw([]byte{0xFF, 0xFF, 0xFF, 0xFF})
		l.wantEnd()
	})
	for n := range uint32(4) {
		t.Run(fmt.Sprintf("length %d", n), func(t *testing.T) {
			l := p.workerLink(t)
			l.sendRaw(append(count, binary.BigEndian.AppendUint32(nil, n)...))
			l.answer(workerUniqIDCount) // what came before is served
			l.wantEnd()
		})
	}
	for _, cmd := range []uint32{
		0, 1, 2, 3, 900001000, workerConnOpen, workerConnClose, workerTransfer, workerRequest,
		900002000, 900002014, 900002017, 900003000, 900003014, 900003018, 900009000, 900009999, 1<<32 - 1,
	} {
		t.Run(fmt.Sprintf("command %d", cmd), func(t *testing.T) {
			l := p.workerLink(t)
			l.send(cmd, workerList("x"))
			l.wantEnd()
		})
	}
}

// A link at the default limit: 2 MiB pass, a byte more does not.
func TestWorkerFrameDefaultLimit(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l := p.workerLink(t)
	const limit = 2 << 20
	l.sendRaw(workerFrame(append(workerCommand(workerUniqIDCount, nil)[4:], make([]byte, limit-4)...)))
	l.answer(workerUniqIDCount)
	l.sendRaw(binary.BigEndian.AppendUint32(nil, limit+1))
	l.wantEnd()
}

// Messages that cannot be decoded cost the link nothing, whatever their command.
func TestWorkerUndecodable(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l := p.workerFor(t, 7)
	c, id := p.netsvrKnown(t, l, 7)
	for name, bad := range map[string]workerMsg{
		"field past the end": append(workerList(id), 0x0A, 0x05, 'x'),
		"tag cut off":        append(workerList(id), 0x80),
		"not UTF-8":          workerList(id, "\xFF\xFE"),
		"field 0":            append(workerList(id), 0x02, 0x00),
		"reserved wire type": append(workerList(id), 0x0F),
		"endless varint":     append(workerList(id), 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01),
	} {
		for _, cmd := range []uint32{
			workerConnInfoUpdate, workerConnInfoDelete, workerBroadcast, workerMulticast, workerSingleCast,
			workerSingleCastBulk, workerTopicSubscribe, workerTopicUnsubscribe, workerTopicDelete,
			workerTopicPublish, workerForceOffline, workerForceOfflineGuest, workerTopicPublishBulk,
			workerReply, workerPush,
			workerUnregister, workerCheckOnline, workerTopicUniqIDList, workerTopicUniqIDCount, workerConnInfo, workerLimit,
		} {
			if name == "not UTF-8" && (cmd == workerBroadcast || cmd == workerUnregister) {
				continue // there, field 1 is no text
			}
			l.send(cmd, bad)
			l.wantAlive() // and no answer came before the pong
		}
		if name == "not UTF-8" {
			continue
		}
		if got := l.ask(workerRegister, bad); got.num(1) != 1 || got.text(2) != "UnmarshalError" || got.text(3) != "" {
			t.Errorf("Register, %s: %d %q %q", name, got.num(1), got.text(2), got.text(3))
		}
	}
	for _, cmd := range []uint32{workerUniqIDList, workerUniqIDCount, workerTopicCount, workerTopicList, workerMetrics, workerCustomToken} {
		l.ask(cmd, workerMsg("\xFF\xFF rubbish behind a command without a message is ignored"))
	}
	l.wantInfo(id, "")
	c.wantAlive()
	// Fields that the protocol does not know are skipped, of every wire type.
	unknown := workerMsg(nil).num(90, 1).text(91, "x")
	unknown = append(unknown, 0xE5, 0x05, 1, 2, 3, 4)             // field 92, 32 bits
	unknown = append(unknown, 0xE9, 0x05, 1, 2, 3, 4, 5, 6, 7, 8) // field 93, 64 bits
	l.send(workerSingleCast, append(workerCast(id, "data"), unknown...))
	c.wantText("data")
	if got := l.online(id); len(got) != 1 {
		t.Errorf("online: %q", got)
	}
}

func TestWorkerHeartbeats(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l := p.workerLink(t)
	const n = 5000
	var wire []byte
	for range n {
		wire = append(wire, workerFrame([]byte(workerPing))...)
	}
	go func() { _ = l.try(wire) }()
	for range n {
		l.wantPong()
	}
	l.sync()
	// Something that only begins like a heartbeat is an unknown command.
	l.sendRaw(workerFrame([]byte(workerPing + "x")))
	l.wantEnd()
}

func TestWorkerIdle(t *testing.T) {
	t.Parallel()
	const idle = 5 * time.Second
	p := startNetsvr(t, "--worker-idle", idle.String())
	var mu sync.Mutex
	ended := make(map[*workerLink]time.Time)
	link := func(l *workerLink) *workerLink {
		go func() {
			<-l.ends
			mu.Lock()
			defer mu.Unlock()
			ended[l] = time.Now()
		}()
		return l
	}
	start := time.Now()
	silent, half, pings, asks := link(p.workerFor(t, 1)), link(p.workerLink(t)), link(p.workerLink(t)), link(p.workerLink(t))
	half.sendRaw([]byte{0, 0})
	var last time.Time // that silent, pings and asks were heard
	for time.Since(start) < idle/2 {
		time.Sleep(100 * time.Millisecond)
		last = time.Now()
		pings.wantAlive()
		asks.send(workerSingleCast, workerCast("nobody", "x"))
		silent.wantAlive()
	}
	silentSince := last
	for begun := time.Now(); time.Since(begun) < idle+time.Second; time.Sleep(100 * time.Millisecond) { // every frame counts
		last = time.Now()
		pings.wantAlive()
		asks.send(workerSingleCast, workerCast("nobody", "x"))
	}
	asks.wantAlive()
	for _, l := range []*workerLink{half, silent, pings, asks} {
		l.wantEnd()
	}
	p.await(func() bool { mu.Lock(); defer mu.Unlock(); return len(ended) == 4 }, "the ends to be noted")
	for _, end := range []struct {
		name  string
		l     *workerLink
		since time.Time
	}{{"half a length", half, start}, {"silent", silent, silentSince}, {"pings", pings, last}, {"asks", asks, last}} {
		if took := ended[end.l].Sub(end.since); took < idle-early {
			t.Errorf("%s was cut off after %v, want %v", end.name, took, idle)
		}
	}
	// The link that ended serves nobody any more.
	other := p.workerFor(t, 1)
	for range 4 {
		p.netsvrKnown(t, other, 1)
	}
}
