package e2e

import (
	"fmt"
	"testing"
)

// Clients that are back before their worker is are served when it registers, in their order, and none
// of their requests is lost or answered twice.
func TestRequestsWaitForWorkers(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "3m", "--wait-workers", "2m", "--route", "slow.*=9", "--limit", "slow=9@5")
	m := modes[0]
	const clients, n = 3, 4
	var all []*client
	for i := range clients {
		c := p.login(t, m, "")
		for id := range uint16(n) {
			c.write(m.ask(id, "x", fmt.Sprintf("%d.%d", i, id)))
		}
		all = append(all, c)
	}
	p.await(func() bool { return p.metrics()["sluice_request_waits_total"] == clients*n }, "the requests to wait")
	l := p.workerServer(t, 1)
	for range clients * n {
		r := l.event(workerRequest)
		if left := r.num(10); left <= 0 || left > 180_000 {
			t.Errorf("the worker has %d ms", left)
		}
		l.reply(r, 0, "to "+r.text(8))
	}
	for i, c := range all {
		for id := range uint16(n) {
			c.wantReply(id, fmt.Sprintf("to %d.%d", i, id))
		}
	}

	// Over the limit of their worker they go on waiting.
	c := all[0]
	for id := range uint16(10) {
		c.write(m.ask(100+id, "slow.x", "1"))
	}
	p.await(func() bool { return p.metrics()["sluice_request_waits_total"] == clients*n+10 }, "the others to wait")
	slow := p.workerServer(t, 9)
	for id := range uint16(10) {
		slow.reply(slow.event(workerRequest), 0, "slowly")
		c.wantReply(100+id, "slowly")
	}
	l.wantAlive()
}

// The development worker answers commands until there was a real one; then they wait for that.
func TestDevelopmentWorkerMakesWay(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--dev", "--wait-workers", "2m", "--request-timeout", "3m")
	m := modes[0]
	c := p.login(t, m, "")
	c.write(m.ask(1, "chat.x", "1"))
	c.wantReply(1, `{"status":4,"message":"no such route: chat.x","data":null}`)
	l := p.workerServer(t, 1)
	l.close()
	p.await(func() bool { return p.metrics()["sluice_workers"] == 0 }, "the worker to be gone")
	c.write(m.ask(2, "chat.x", "1"))
	p.await(func() bool { return p.metrics()["sluice_request_waits_total"] == 1 }, "the request to wait")
	l = p.workerServer(t, 1)
	l.reply(l.event(workerRequest), 0, "back")
	c.wantReply(2, "back")
}

// Workers of one id that take messages alone do not answer for one that takes requests and is away:
// requests wait for it, and come to the others as messages only if there never was one.
func TestRequestsWaitForWorkersThatTakeThem(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--wait-workers", "2m", "--request-timeout", "3m")
	m := modes[0]
	c := p.login(t, m, "")
	plain := p.workerFor(t, 1)
	c.write(m.ask(1, "x", "before"))
	plain.wantTransfer("before")
	c.wantWorkerError(1, "the worker takes messages, not requests")

	for id := uint16(2); id < 4; id++ {
		l := p.workerServer(t, 1)
		l.close()
		p.await(func() bool { return p.metrics()["sluice_workers"] == 1 }, "the worker to be gone")
		c.write(m.ask(id, "x", "meanwhile"))
		p.await(func() bool { return p.metrics()["sluice_request_waits_total"] == float64(id-1) }, "the request to wait")
		another := p.workerFor(t, 1) // nor does one that comes
		another.sync()
		another.close()
		p.await(func() bool { return p.metrics()["sluice_workers"] == 1 }, "that one to be gone")

		l = p.workerServer(t, 1)
		l.reply(l.event(workerRequest), 0, "back")
		c.wantReply(id, "back")
		l.close()
		p.await(func() bool { return p.metrics()["sluice_workers"] == 1 }, "the worker to be gone")
	}
	plain.sync()
	plain.wantNoEvent(0)
}
