package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Requests that are with a worker when the shutdown begins are answered before the goodbye. What is
// asked meanwhile is refused with an answer, and so is who wants to log in.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--drain", "20s", "--close-worker", "1")
	w := p.workerServer(t, 1)
	fresh := p.dial(t, modes[0])
	var clients []*client
	for _, m := range modes {
		c := p.login(t, m, token("ann"+m.String()))
		c.write(m.ask(1, "slow", "1"))
		clients = append(clients, c)
	}
	var asked []workerArrival
	for range clients {
		asked = append(asked, w.take1(t))
	}
	idle := p.login(t, modes[0], token("idle"))
	p.signal(syscall.SIGTERM)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "draining") }, "the drain")
	for _, c := range clients {
		c.wantQuiet(50 * time.Millisecond)
	}
	idle.write(idle.mode.ask(7, "other", "1"))
	if got := idle.wantMessage(sendResp); !strings.Contains(got.payload, "shutting down") || got.id != 7 {
		t.Errorf("a request during the drain: %v", got)
	}
	fresh.write(fresh.mode.connect(0, token("late")))
	fresh.wantConnAck(serverUnavailable)
	fresh.wantEOF()
	fresh.hangUp()
	w.wantAlive()
	late := p.workerServer(t, 1) // the gateway serves workers to the end
	late.wantAlive()
	for _, a := range asked {
		w.reply(a.fields, 0, `"done"`)
	}
	for _, c := range clients {
		c.wantReply(1, `"done"`)
		c.wantDisconnect(0)
		c.wantEOF()
		c.hangUp()
	}
	idle.wantDisconnect(0)
	idle.wantEOF()
	idle.hangUp()
	w.wantEnd()
	late.wantEnd()
	p.wantExit(0)
}

// Longbridge's requests that are under way are answered before the Close push; what is asked
// meanwhile is refused.
func TestDrainLongbridge(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--drain", "20s")
	w := p.workerServer(t, 1)
	c, status, _ := p.longbridgeAuth(t, "ann", nil)
	idle, idleStatus, _ := p.longbridgeAuth(t, "ben", nil)
	if status != 0 || idleStatus != 0 {
		t.Fatalf("Auth: status %d, %d", status, idleStatus)
	}
	late := p.dial(t, modes[0])
	late.write(unhex("1109"))
	c.write(longbridgeRequest(9, 2, []byte("slow")))
	asked := w.take1(t)
	p.signal(syscall.SIGTERM)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "draining") }, "the drain")
	c.wantQuiet(50 * time.Millisecond)
	idle.write(longbridgeRequest(9, 2, []byte("other")))
	if status, e := idle.longbridgeResponse(); status != 7 || e.text(2) != "shutting down" {
		t.Errorf("a request during the drain: status %d, %q", status, e.text(2))
	}
	late.write(longbridgeRequest(2, 1, workerMsg(nil).text(1, "cem")))
	if status, e := late.longbridgeResponse(); status != 7 || e.num(1) != 503 {
		t.Errorf("Auth during the drain: status %d, code %d", status, e.num(1))
	}
	w.reply(asked.fields, 0, "done")
	if status, body := c.longbridgeAnswer(); status != 0 || string(body) != "done" {
		t.Errorf("the reply: status %d, %q", status, body)
	}
	const shutdown = "03 00 000002 0802"
	for _, c := range []*client{c, idle} {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c.r); string(got) != string(unhex(shutdown)) || err != nil {
			t.Errorf("the goodbye: %x, %v, want %s", got, err, shutdown)
		}
		c.hangUp()
	}
	w.wantEnd()
	p.wantExit(0)
}

// What a worker has to say to netsvr's customers while others are answered arrives before the
// goodbye.
func TestDrainNetsvr(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--drain", "20s")
	w := p.workerServer(t, 1)
	customer, id := p.netsvrKnown(t, w, 1)
	other := p.login(t, modes[0], token("ann"))
	other.write(other.mode.ask(1, "slow", "1"))
	asked := w.take1(t)
	p.signal(syscall.SIGTERM)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "draining") }, "the drain")
	customer.say("001one more")
	w.wantTransferOf(id, "", "one more")
	w.send(workerSingleCast, workerCast(id, "an answer"))
	w.reply(asked.fields, 0, `"done"`)
	customer.wantText("an answer")
	customer.wantClose(1001)
	other.wantReply(1, `"done"`)
	other.wantDisconnect(0)
	other.wantEOF()
	other.hangUp()
	w.wantEnd()
	p.wantExit(0)
}

// Who is refused at a shutdown, for want of room, hears so, in the words of each protocol; one that says
// nothing is waited for a second, and is no failure.
func TestDrainRefused(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--drain", "20s", "--max-connections", "1")
	served := p.login(t, modes[0], "")
	silent := p.dial(t, modes[0])
	var refused []*client
	for _, m := range modes {
		refused = append(refused, p.dial(t, m))
	}
	web := p.dial(t, modes[0])
	eventually(t, "the refusals", func() bool {
		return p.metric(t, `sluice_connections_refused_total{reason="too-many-clients"}`) == fmt.Sprint(len(modes)+2)
	})
	p.signal(syscall.SIGTERM)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "draining") }, "the drain")
	for _, c := range refused {
		c.write(c.mode.connect(0, ""))
	}
	web.write([]byte("GET /netsvr HTTP/1.1\r\nHost: x\r\n\r\n"))
	for _, c := range refused {
		c.wantConnAck(serverUnavailable)
		c.wantEOF()
		c.hangUp()
	}
	if status, err := web.r.ReadString('\n'); !strings.HasPrefix(status, "HTTP/1.1 503") {
		t.Errorf("the answer to HTTP: %q, %v", status, err)
	}
	web.hangUp()
	served.wantDisconnect(0)
	served.wantEOF()
	served.hangUp()
	_ = silent.conn.SetReadDeadline(time.Now().Add(patience))
	silent.wantEOF()
	p.wantExit(0)
}

// take1 takes one request.
func (l *workerLink) take1(t *testing.T) workerArrival {
	t.Helper()
	for {
		a, ok := l.take(&l.events, patience)
		if !ok {
			t.Fatal("no request has come")
		}
		if a.cmd == workerRequest {
			return a
		}
	}
}

// A worker that does not answer costs no more than the time there is, and its clients are told.
func TestDrainWithoutAnswers(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--drain", "2s")
	w := p.workerServer(t, 1)
	c := p.login(t, modes[0], token("ann"))
	c.write(c.mode.ask(1, "slow", "1"))
	w.take1(t)
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	if got := c.wantMessage(sendResp); !strings.Contains(got.payload, "shutting down") {
		t.Errorf("the reply: %v", got)
	}
	c.wantDisconnect(0)
	c.wantEOF() // and leaves its side open
	p.wantExit(0)
	if took := time.Since(begun); took > patience {
		t.Errorf("the shutdown took %v of 2 s", took)
	}
}

// Whatever workers have asked for and do not read, the end comes in time, and it is no failure when
// the clients were told.
//
// It is not run beside others: these would wait for a core.
func TestDrainWithFloodingWorkers(t *testing.T) {
	for name, cmd := range map[string][]byte{
		"UniqIdList":     workerCommand(workerUniqIDList, nil),
		"UniqIdCount":    workerCommand(workerUniqIDCount, nil),
		"TopicCount":     workerCommand(workerTopicCount, nil),
		"TopicPublish":   workerCommand(workerTopicPublish, workerMsg(nil).text(1, "t").text(2, "data")),
		"Broadcast":      workerCommand(workerBroadcast, workerMsg(nil).text(1, "data")),
		"TopicSubscribe": workerCommand(workerTopicSubscribe, workerMsg(nil).text(1, "nobody").text(2, "t")),
	} {
		t.Run(name, func(t *testing.T) {
			p := startNetsvr(t, "--drain", "3s")
			c := p.login(t, modes[0], token("ann"))
			var got []byte
			read := make(chan error)
			go func() { // as fast as it comes: it can be much
				_ = c.conn.SetReadDeadline(time.Now().Add(patience))
				var err error
				got, err = io.ReadAll(c.r)
				read <- err
			}()
			many := []byte(strings.Repeat(string(cmd), 40_000))
			for range 8 {
				conn := p.workerConn(t)
				go func() { // more than fits: it reads nothing
					for {
						if _, err := conn.Write(many); err != nil {
							return
						}
					}
				}()
			}
			time.Sleep(500 * time.Millisecond)
			begun := time.Now()
			p.signal(syscall.SIGTERM)
			err := <-read
			if goodbye := c.mode.packet(disconnect, 0, []byte{0}); err != nil || !bytes.HasSuffix(got, goodbye) {
				t.Errorf("%d bytes and %v, want Disconnect at the end", len(got), err)
			}
			c.hangUp()
			p.wantExit(0)
			if took := time.Since(begun); took > patience {
				t.Errorf("the shutdown took %v of 3 s", took)
			}
		})
	}
}

// A login provider that does not answer holds nothing up; who waits for it is told.
func TestDrainWithSlowProvider(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 10), make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	defer provider.Close()
	defer close(release)
	p := startServe(t, "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0", "--login", "http:"+provider.URL, "--drain", "3m", "--login-timeout", "5m")
	c := p.dial(t, modes[0])
	c.write(c.mode.connect(0, token("ann")))
	<-asked
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	c.wantConnAck(serverUnavailable)
	c.wantEOF()
	c.hangUp()
	p.wantExit(0)
	if took := time.Since(begun); took > patience {
		t.Errorf("the shutdown took %v", took)
	}
}
