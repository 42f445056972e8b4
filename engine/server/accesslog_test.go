package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

// records are what an access log has written, as JSON.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// wait returns the records once there are n.
func (r *records) wait(t *testing.T, n int) (list []map[string]any) {
	t.Helper()
	waitUntil(t, "records of the access log", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		list = nil
		for line := range strings.Lines(r.text.String()) {
			m := make(map[string]any)
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			list = append(list, m)
		}
		return len(list) >= n
	})
	return list
}

// named logs everybody in, by a name that is hard to write.
type named struct{ login.Open }

const hardName = "ann \"x\" \u2028<&> level=ERROR msg=forged"

func (named) LoginNow(_ time.Time, r login.Request) (login.Identity, error) {
	return login.Identity{User: hardName, Topics: []string{"a", "b"}}, nil
}

// TestAccessLog: one record for each login and one for each end, with what was agreed on and what went
// over the connection, whatever the level of the log.
func TestAccessLog(t *testing.T) {
	var out records
	config := base()
	config.AccessLog = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
	config.Gateway.Login = named{}
	config.Gateway.WaitWorkers = patience // the request is not answered before its client leaves
	s, addr := begin(t, config)
	c := dialGOSOC(t, addr, "the-secret")
	c.ask("nobody", "{}")
	c.Close()
	tail, err := s.Engine().Attach([]byte("a"), netip.AddrPort{}) // which is nobody who is connected
	if err != nil {
		t.Fatal(err)
	}
	tail.Close()
	waitUntil(t, "its end", func() bool { return s.Engine().Connections() == 0 })
	stranger := dial(t, addr)
	stranger.write([]byte("\xff\xff\xff\xff"), nil)
	stranger.wantEnd()

	list := out.wait(t, 3)
	slices.SortStableFunc(list, func(a, b map[string]any) int {
		return strings.Compare(b["event"].(string)+b["protocol"].(string), a["event"].(string)+a["protocol"].(string))
	})
	connect, other, closed := list[0], list[1], list[2]
	for _, m := range list {
		if _, err := time.Parse(time.RFC3339Nano, m["time"].(string)); err != nil || m["msg"] != "access" || m["listener"] != s.Addrs()[0] {
			t.Errorf("%v, %v", m, err)
		}
		delete(m, "time")
		delete(m, "level")
		delete(m, "msg")
		delete(m, "listener")
	}
	id, _ := connect["uniqId"].(string)
	if seconds := closed["seconds"].(float64); seconds < 0 || seconds > 60 || len(id) != 18 {
		t.Errorf("%v", closed)
	}
	delete(connect, "seconds")
	delete(closed, "seconds")
	delete(other, "seconds")
	local := c.LocalAddr().String()
	for _, tt := range []struct{ got, want map[string]any }{
		{connect, map[string]any{"event": "connect", "uniqId": id, "user": hardName, "protocol": "gosoc", "peer": local,
			"login": "custom", "resumed": false}},
		{closed, map[string]any{"event": "close", "reason": "peer-closed", "refused": false, "uniqId": id, "user": hardName,
			"protocol": "gosoc", "peer": local, "bytesIn": 0.0, "bytesOut": 4.0, "messagesIn": 2.0, "messagesOut": 1.0, "topics": 2.0}},
		{other, map[string]any{"event": "close", "reason": "unknown-protocol", "refused": false, "protocol": "unknown",
			"peer": stranger.LocalAddr().String(), "bytesIn": 4.0, "bytesOut": 0.0, "messagesIn": 0.0, "messagesOut": 0.0, "topics": 0.0}},
	} {
		if tt.want["bytesIn"] == 0.0 {
			tt.want["bytesIn"] = tt.got["bytesIn"]
		}
		if !maps.Equal(tt.got, tt.want) {
			t.Errorf("%v,\nwant %v", tt.got, tt.want)
		}
	}
	if strings.Contains(out.text.String(), "the-secret") {
		t.Error("the token is in it")
	}
}

// refuseAll lets nobody in.
type refuseAll struct{ login.Open }

func (refuseAll) LoginNow(time.Time, login.Request) (login.Identity, error) {
	return login.Identity{}, login.ErrRefused
}

// TestAccessLogHasFinalWords: what is sent together with the end counts, whoever brings that about.
func TestAccessLogHasFinalWords(t *testing.T) {
	for name, tc := range map[string]struct {
		provider login.Provider
		end      func(t *testing.T, s *Server)
		reason   string
		messages float64
	}{
		"a refused login": {refuseAll{}, nil, "login-refused", 1},
		"a shutdown":      {login.Open{}, end, "shutdown", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var out records
			config := base()
			config.AccessLog = slog.New(slog.NewJSONHandler(&out, nil))
			config.Gateway.Login = tc.provider
			s, addr := begin(t, config)
			c := connectGOSOC(t, addr, "ann")
			if tc.end != nil {
				out.wait(t, 1)
				go tc.end(t, s)
			}
			got, err := io.ReadAll(c.r)
			if err != nil || len(got) == 0 {
				t.Fatalf("%x, %v", got, err)
			}
			waitUntil(t, "the record", func() bool {
				list := out.wait(t, 1)
				last := list[len(list)-1]
				if last["event"] != "close" {
					return false
				}
				if last["reason"] != tc.reason || last["bytesOut"] != float64(len(got)) || last["messagesOut"] != tc.messages {
					t.Errorf("%v, but there were %d bytes", last, len(got))
				}
				return true
			})
		})
	}
}

// TestAccessLogOfRefusals: who is refused at the door has a record, too, and a resumed session says so.
func TestAccessLogOfRefusals(t *testing.T) {
	var out records
	config := base()
	config.AccessLog = slog.New(slog.NewTextHandler(&out, nil))
	config.Gateway.Login = login.Open{}
	config.Engine.MaxConnections = 1
	s, addr := begin(t, config)
	first := gosocPeer{dial(t, addr)}
	first.login(`{"token":"ann","session":true}`)
	ticket := first.ticket()
	has := func(text string) bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return strings.Contains(out.text.String(), text)
	}
	over := dial(t, addr)
	waitUntil(t, "the refusal", func() bool {
		return has("event=close reason=too-many-clients refused=true protocol=unknown peer=" + over.LocalAddr().String())
	})
	waitUntil(t, "how the first one has logged in", func() bool { return has("login=open resumed=false") })
	first.Close()
	waitUntil(t, "its end", func() bool { return has("event=close reason=peer-closed refused=false uniqId=") })
	waitUntil(t, "room for another", func() bool { return s.Engine().Connections() == 0 })
	gosocPeer{dial(t, addr)}.login(`{"session_id":"` + ticket + `"}`)
	waitUntil(t, "how it has logged in again", func() bool { return has("login=session resumed=true") })
	if has(ticket) || has(ticket[:20]) {
		t.Error("the ticket is in it")
	}
}
