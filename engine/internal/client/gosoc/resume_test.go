package gosoc_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A phone is a GOSOC client over TCP, of the compact form.
type phone struct {
	conn net.Conn
	r    *bufio.Reader
}

func call(t *testing.T, s *server.Server) *phone {
	t.Helper()
	conn := dial(t, s)
	return &phone{conn, bufio.NewReader(conn)}
}

// connect says Connect with a payload.
func (p *phone) connect(payload string) {
	body := append([]byte("\x05GOSOC\x01\x00\x00\x00"), varint(nil, len(payload))...)
	body = append(body, payload...)
	_, _ = p.conn.Write(append(varint([]byte{0x10}, len(body)), body...))
}

// next reads a packet: its first byte and its body.
func (p *phone) next() (first byte, body []byte, err error) {
	if first, err = p.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n := 0
	for shift := 0; ; shift += 7 {
		c, err := p.r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		if n |= int(c&0x7f) << shift; c < 0x80 {
			break
		}
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	return first, body, err
}

// code reads ConnAck; -1 stands for anything else.
func (p *phone) code() int {
	first, body, err := p.next()
	if err != nil || first != 0x20 || len(body) != 2 {
		return -1
	}
	return int(body[1])
}

// ticket reads the push that tells of one.
func (p *phone) ticket(t *testing.T) string {
	t.Helper()
	_, body, err := p.next()
	var m struct {
		SessionID string `json:"session_id"`
	}
	if i := strings.IndexByte(string(body), '{'); err != nil || i < 0 || json.Unmarshal(body[i:], &m) != nil || m.SessionID == "" {
		t.Fatalf("got %q, %v, want a session", body, err)
	}
	return m.SessionID
}

// Many connections resume with one ticket at the same moment. One has the session in the end, with
// its topics, and hears each publish once; the others have been told.
func TestOneTicketManyConnections(t *testing.T) {
	for name, provider := range map[string]login.Provider{"at once": login.Open{}, "later": later{}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, provider)
			for round := range 5 {
				user, topic := fmt.Sprint("ann-", round), fmt.Sprint("news-", round)
				first := call(t, s)
				first.connect(`{"token":"` + user + `","session":true}`)
				if code := first.code(); code != 0 {
					t.Fatalf("ConnAck %d", code)
				}
				ticket := first.ticket(t)
				request := "\x00\x01\x10sluice.Subscribe" + string(varint(nil, len(topic)+15)) + `{"topics":["` + topic + `"]}`
				_, _ = first.conn.Write(append(varint([]byte{0x62}, len(request)), request...))
				if _, body, err := first.next(); err != nil || !strings.Contains(string(body), `"status":0`) {
					t.Fatalf("subscribe: %q, %v", body, err)
				}

				const n = 40
				phones := make([]*phone, n)
				for i := range phones {
					phones[i] = call(t, s)
				}
				codes := make([]int, n)
				var all sync.WaitGroup
				for i, p := range phones {
					all.Go(func() {
						p.connect(`{"session_id":"` + ticket + `","session":true}`)
						codes[i] = p.code()
					})
				}
				all.Wait()
				in := 0
				for i, code := range codes {
					switch code {
					case 0:
						in++
					case 5, 6, -1: // another is at it; used up; taken over before it was told
					default:
						t.Errorf("connection %d: ConnAck %d", i, code)
					}
				}
				if in == 0 {
					t.Fatal("nobody got the session")
				}
				for deadline := time.Now().Add(patience); s.Gateway().Stats().Clients != 1; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("%d clients are left, want 1", s.Gateway().Stats().Clients)
					}
				}
				for _, push := range []string{`{"n":1}`, `{"n":2}`} {
					if err := s.Publish(t.Context(), topic, []byte(push)); err != nil {
						t.Fatal(err)
					}
				}
				// Each hears what there is to hear: up to the second publish, or to its end.
				heard, last := 0, 0
				for i, p := range phones {
					if codes[i] != 0 {
						continue
					}
					for ended := false; !ended; {
						first, body, err := p.next()
						switch {
						case err != nil:
							ended = true
						case first == 0x60 && strings.HasSuffix(string(body), `{"n":1}`):
							heard++
						case first == 0x60 && strings.HasSuffix(string(body), `{"n":2}`):
							last++
							ended = true
						}
					}
				}
				if heard != 1 || last != 1 {
					t.Errorf("round %d: %d and %d heard the publishes, want 1; %d were told that they are in", round, heard, last, in)
				}
				if st := s.Gateway().Stats(); st.Sessions.Attached != 1 {
					t.Errorf("%d sessions attached", st.Sessions.Attached)
				}
				for _, p := range phones {
					_ = p.conn.Close()
				}
				for deadline := time.Now().Add(patience); s.Gateway().Stats().Clients != 0 && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
}
