package e2e

import (
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
	if took := time.Since(begun); !slowBuild && took > 3*time.Second {
		t.Errorf("the shutdown took %v of 2 s", took)
	}
}

// Whatever workers have asked for and do not read, the end comes in time, and it is no failure when
// the clients were told.
func TestDrainWithFloodingWorkers(t *testing.T) {
	t.Parallel()
	for name, cmd := range map[string][]byte{
		"UniqIdList":     workerCommand(workerUniqIDList, nil),
		"UniqIdCount":    workerCommand(workerUniqIDCount, nil),
		"TopicCount":     workerCommand(workerTopicCount, nil),
		"TopicPublish":   workerCommand(workerTopicPublish, workerMsg(nil).text(1, "t").text(2, "data")),
		"Broadcast":      workerCommand(workerBroadcast, workerMsg(nil).text(1, "data")),
		"TopicSubscribe": workerCommand(workerTopicSubscribe, workerMsg(nil).text(1, "nobody").text(2, "t")),
	} {
		t.Run(name, func(t *testing.T) {
			p := startNetsvr(t, "--drain", "2s")
			c := p.login(t, modes[0], token("ann"))
			many := []byte(strings.Repeat(string(cmd), 40_000))
			for range 20 {
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
			for {
				if got, err := c.next(); err != nil || got.typ == disconnect {
					if err != nil {
						t.Errorf("%v, want Disconnect", err)
					}
					break
				}
			}
			c.hangUp()
			p.wantExit(0)
			if took := time.Since(begun); !slowBuild && took > 4*time.Second {
				t.Errorf("the shutdown took %v of 2 s", took)
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
	p := startServe(t, "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0", "--login", "http:"+provider.URL, "--drain", "20s", "--login-timeout", "1m")
	c := p.dial(t, modes[0])
	c.write(c.mode.connect(0, token("ann")))
	<-asked
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	c.wantConnAck(serverUnavailable)
	c.wantEOF()
	c.hangUp()
	p.wantExit(0)
	if took := time.Since(begun); !slowBuild && took > 3*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
}
