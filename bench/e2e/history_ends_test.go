package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// readerProcessEnv makes a reader of the test's binary: it names the gateway's address.
const readerProcessEnv = "SLUICE_E2E_READER"

// readerProcessMain logs in, subscribes to room, and prints its ticket and what it receives, a line
// each, until it is killed.
func readerProcessMain(addr string) int {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		f := &follower{conn: conn, r: bufio.NewReader(conn)}
		if err = f.login(`{"token":"child","session":true}`); err == nil {
			fmt.Println(f.ticket)
			_, err = conn.Write(compact.ask(1, "sluice.Subscribe", `{"topics":["room"]}`))
		}
		for err == nil {
			var n int
			if n, err = f.next(); err == nil {
				fmt.Println(n)
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// A follower reads the numbers that are published to a topic, over any stream.
type follower struct {
	conn       net.Conn
	r          *bufio.Reader
	ticket     string
	longbridge bool // it speaks that, else GOSOC
}

// begin logs in as a user and subscribes to room.
func (f *follower) begin(user string) error {
	subscribe := compact.ask(1, "sluice.Subscribe", `{"topics":["room"]}`)
	err := error(nil)
	if f.longbridge {
		subscribe = longbridgeRequest(201, 2, []byte(`{"topics":["room"]}`))
		err = f.loginLongbridge(2, user)
	} else {
		err = f.login(fmt.Sprintf(`{"token":%q,"session":true}`, user))
	}
	if err == nil {
		_, err = f.conn.Write(subscribe)
	}
	if err == nil {
		var n int
		if n, err = f.next(); n != 0 && err == nil {
			err = fmt.Errorf("%d in place of an answer", n)
		}
	}
	return err
}

// resume comes back with a ticket.
func (f *follower) resume(ticket string) error {
	if f.longbridge {
		return f.loginLongbridge(3, ticket)
	}
	return f.login(resume(ticket))
}

func (f *follower) loginLongbridge(cmd byte, text string) error {
	_ = f.conn.SetDeadline(time.Now().Add(patience))
	if _, err := f.conn.Write(append(unhex("1109"), longbridgeRequest(cmd, 1, workerMsg(nil).text(1, text))...)); err != nil {
		return err
	}
	head, body, err := f.packet()
	if err == nil && (head[0] != 2 || head[6] != 0) {
		err = fmt.Errorf("login: %x %x", head, body)
	}
	if err != nil {
		return err
	}
	answer, err := workerParse(body)
	if err == nil {
		f.ticket = answer.text(1)
	}
	return err
}

// packet reads one of Longbridge's.
func (f *follower) packet() (head, body []byte, err error) {
	head = make([]byte, 5, 10)
	if _, err = io.ReadFull(f.r, head); err != nil {
		return nil, nil, err
	}
	if head[0] == 2 {
		head = head[:10]
		if _, err = io.ReadFull(f.r, head[5:]); err != nil {
			return nil, nil, err
		}
	}
	n := len(head)
	body = make([]byte, int(head[n-3])<<16|int(head[n-2])<<8|int(head[n-1]))
	_, err = io.ReadFull(f.r, body)
	return head, body, err
}

// nextLongbridge is next.
func (f *follower) nextLongbridge() (int, error) {
	for {
		head, body, err := f.packet()
		switch {
		case err != nil:
			return 0, err
		case head[0] == 2:
			return 0, nil
		case head[0] == 3 && head[1] == 0: // Close
			continue
		case head[0] != 3 || head[1] != 100:
			return 0, fmt.Errorf("a packet %x: %s", head, body)
		}
		return numberOf(string(body))
	}
}

// numberOf is the number in a payload, which spaces make longer.
func numberOf(payload string) (int, error) {
	return strconv.Atoi(strings.TrimSpace(strings.Trim(payload, `"`)))
}

// login logs in and waits for the ticket.
func (f *follower) login(payload string) error {
	_ = f.conn.SetDeadline(time.Now().Add(patience))
	if _, err := f.conn.Write(compact.connect(0, payload)); err != nil {
		return err
	}
	if p, err := compact.read(f.r); err != nil || p.typ != connAck || p.body[1] != accepted {
		return fmt.Errorf("login: %v, %w", p, err)
	}
	p, err := compact.read(f.r)
	if err != nil {
		return err
	}
	msg, err := compact.message(p)
	if err != nil {
		return err
	}
	var told ticket
	if err := json.Unmarshal([]byte(msg.payload), &told); err != nil || told.SessionID == "" {
		return fmt.Errorf("%q is no ticket: %w", msg.payload, err)
	}
	f.ticket = told.SessionID
	return nil
}

// next returns the next number; answers are 0.
func (f *follower) next() (int, error) {
	_ = f.conn.SetReadDeadline(time.Now().Add(patience))
	if f.longbridge {
		return f.nextLongbridge()
	}
	for {
		p, err := compact.read(f.r)
		switch {
		case err != nil:
			return 0, err
		case p.typ == sendResp:
			return 0, nil
		case p.typ == disconnect:
			continue
		}
		msg, err := compact.message(p)
		if err != nil {
			return 0, err
		}
		if msg.route != "push" {
			return 0, fmt.Errorf("a push of %s: %s", msg.route, msg.payload)
		}
		return numberOf(msg.payload)
	}
}

// numberStream publishes numbers to room, one after the other, until it is stopped.
type numberStream struct {
	stop chan struct{}
	done sync.WaitGroup
	last int
}

func (p *process) streamNumbers(t *testing.T, pause time.Duration, size int) *numberStream {
	s := &numberStream{stop: make(chan struct{})}
	c := p.login(t, modes[0], "")
	s.done.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-s.stop:
				return
			case <-time.After(pause):
			}
			text := fmt.Sprintf(`"%d%s"`, i, strings.Repeat(" ", size))
			if err := c.send(c.mode.sendReq(0, 0, "sluice.Publish", []byte(publish("room", text)))); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			s.last = i
		}
	})
	return s
}

func (s *numberStream) end() int {
	close(s.stop)
	s.done.Wait()
	return s.last
}

// A slowLink is between a client and the gateway, and passes on so many bytes a second.
type slowLink struct {
	listener net.Listener
	rate     int
}

func newSlowLink(t *testing.T, to string, rate int) *slowLink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &slowLink{ln, rate}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			_ = far.(*net.TCPConn).SetReadBuffer(16 << 10)
			running.Go(func() { _, _ = io.Copy(far, near); _ = far.(*net.TCPConn).CloseWrite() })
			running.Go(func() {
				defer near.Close()
				defer far.Close()
				buf := make([]byte, 4<<10)
				for {
					n, err := far.Read(buf)
					if _, werr := near.Write(buf[:n]); err != nil || werr != nil {
						return
					}
					time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
				}
			})
		}
	})
	return s
}

// Clients end their connection again and again in the middle of what is published, over plain TCP, over
// TLS and through a slow link, and read what had been sent to its end: together with what the
// resumption brings nothing is missing, and what comes twice had not been acknowledged.
func TestHistoryThroughEnds(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, t.TempDir(), "localhost")
	trust := trusting(t, cert)
	for name, tt := range map[string]struct {
		args       []string
		longbridge bool
		slow       int
		size       int
	}{
		"plain":           {size: 20},
		"longbridge":      {longbridge: true, size: 20},
		"longbridge slow": {longbridge: true, slow: 400 << 10, size: 700},
		"tls":             {args: []string{"--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key}, size: 20},
		"slow":            {slow: 400 << 10, size: 700},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startDev(t, append([]string{"--history", "room=100000,5m"}, tt.args...)...)
			dial := func() (net.Conn, error) { return net.Dial("tcp", p.addr) }
			if tt.args != nil {
				var real struct{ Listen []string }
				if err := json.Unmarshal(p.ports, &real); err != nil || len(real.Listen) != 2 {
					t.Fatalf("listeners: %s", p.ports)
				}
				secure := strings.TrimPrefix(real.Listen[1], "tls://")
				dial = func() (net.Conn, error) { return tls.Dial("tcp", secure, trust) }
			}
			if tt.slow > 0 {
				link := newSlowLink(t, p.addr, tt.slow)
				dial = func() (net.Conn, error) { return net.Dial("tcp", link.listener.Addr().String()) }
			}
			connect := func() *follower {
				t.Helper()
				conn, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				return &follower{conn: conn, r: bufio.NewReader(conn), longbridge: tt.longbridge}
			}
			f := connect()
			if err := f.begin("ann"); err != nil {
				t.Fatal(err)
			}
			s := p.streamNumbers(t, time.Millisecond, tt.size)
			seen, repeats := 0, 0
			read := func(fresh *bool) error {
				n, err := f.next()
				switch {
				case err != nil:
					return err
				case *fresh && n <= seen+1:
					repeats += seen + 1 - n
				case n != seen+1:
					t.Fatalf("%d behind %d, right after a resumption: %v", n, seen, *fresh)
				}
				*fresh, seen = false, n
				return nil
			}
			const rounds = 6
			fresh := false
			for round := range rounds {
				for end := time.Now().Add(time.Duration(20+15*round) * time.Millisecond); time.Now().Before(end); {
					if err := read(&fresh); err != nil {
						t.Fatalf("behind %d: %v", seen, err)
					}
				}
				var err error
				switch c := f.conn.(type) {
				case *tls.Conn:
					err = c.NetConn().(*net.TCPConn).CloseWrite()
				case *net.TCPConn:
					err = c.CloseWrite()
				}
				for err == nil {
					err = read(&fresh)
				}
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatalf("the old connection ends with %v", err)
				}
				f.conn.Close()
				ticket := f.ticket
				f, fresh = connect(), true
				if err := f.resume(ticket); err != nil {
					t.Fatalf("resumption %d: %v", round+1, err)
				}
			}
			last := s.end()
			for seen < last {
				if err := read(&fresh); err != nil {
					t.Fatalf("behind %d of %d: %v", seen, last, err)
				}
			}
			t.Logf("%d messages through %d resumptions, %d of them twice", last, rounds, repeats)
			if tt.slow == 0 && repeats > last/2 { // the link holds what it has yet to pass on
				t.Errorf("%d of %d messages came twice", repeats, last)
			}
		})
	}
}

// A process that reads is killed. What it had read it gets no second time, and nothing that it had not,
// but for what the system had acknowledged for it and it had not read.
func TestHistoryOfKilledReader(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--history", "room=100000,5m")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, flowing := range []bool{false, true} {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), readerProcessEnv+"="+p.addr)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		line := func() string {
			t.Helper()
			if !lines.Scan() {
				t.Fatalf("the reader ends: %v", lines.Err())
			}
			return lines.Text()
		}
		ticket := line()
		if got := line(); got != "0" { // the answer
			t.Fatalf("the reader prints %q", got)
		}
		s := p.streamNumbers(t, 300*time.Microsecond, 20)
		seen := 0
		for seen < 200 {
			seen, _ = strconv.Atoi(line())
		}
		if !flowing {
			for last := s.end(); seen < last; {
				seen, _ = strconv.Atoi(line())
			}
			time.Sleep(100 * time.Millisecond) // the system acknowledges late
		}
		_ = cmd.Process.Kill()
		for lines.Scan() {
			seen, _ = strconv.Atoi(lines.Text())
		}
		_ = cmd.Wait()
		if !flowing {
			p.publishNumbers(t, "room", seen+1, seen+50)
		}
		p.awaitDetached(t, "child")
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		f := &follower{conn: conn, r: bufio.NewReader(conn)}
		if err := f.login(resume(ticket)); err != nil {
			t.Fatal(err)
		}
		first, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		last := seen + 50
		if flowing {
			last = s.end()
		}
		for n := first; n < last; n++ {
			if got, err := f.next(); err != nil || got != n+1 {
				t.Fatalf("%d, %v behind %d of %d", got, err, n, last)
			}
		}
		t.Logf("flowing %v: killed behind %d, resumed with %d", flowing, seen, first)
		if !flowing && first != seen+1 || first > seen+1000 || first < seen-1000 {
			t.Errorf("flowing %v: killed behind %d, resumed with %d", flowing, seen, first)
		}
		_, _ = conn.Write(compact.ask(1, "sluice.Unsubscribe", `{"topics":["room"]}`))
		_, _ = f.next()
		conn.Close()
	}
}
