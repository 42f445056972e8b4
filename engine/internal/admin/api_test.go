package admin_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// An apiClient asks a gateway's API, and holds what it hears against the description.
type apiClient struct {
	t           *testing.T
	base, token string
	description *admin.Description
}

func (a *apiClient) do(method, path, target, body string) (status int, answer []byte) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.base+target, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := web.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	a.description.Check(a.t, path, method, resp.StatusCode, resp.Header.Get("Content-Type"), answer)
	return resp.StatusCode, answer
}

// get asks for a path of the description, decodes the answer and wants a status.
func (a *apiClient) get(path, target string, want int, v any) {
	a.t.Helper()
	a.decode("GET", path, target, "", want, v)
}

// post is get for an action.
func (a *apiClient) post(path, body string, want int, v any) {
	a.t.Helper()
	a.decode("POST", path, path, body, want, v)
}

// patch is post for a change.
func (a *apiClient) patch(path, body string, want int, v any) {
	a.t.Helper()
	a.decode("PATCH", path, path, body, want, v)
}

// bodies returns the paths that take a body, and the method that does.
func (a *apiClient) bodies() map[string]string {
	of := make(map[string]string)
	for path, ops := range a.description.Paths {
		for _, method := range []string{"post", "patch"} {
			if _, ok := ops[method]; ok {
				of[path] = strings.ToUpper(method)
			}
		}
	}
	return of
}

func (a *apiClient) decode(method, path, target, body string, want int, v any) {
	a.t.Helper()
	status, answer := a.do(method, path, target, body)
	if status != want {
		a.t.Errorf("%s %s %s: %d %s, want %d", method, target, body, status, answer, want)
		return
	}
	if v != nil {
		if err := json.Unmarshal(answer, v); err != nil {
			a.t.Fatal(err)
		}
	}
}

type row struct {
	Connection, UniqID, User, Protocol, State, Peer string
	BytesIn, BytesOut, MessagesIn, MessagesOut      uint64
	Topics                                          int
	TopicNames                                      []string
}

type page struct {
	Connections []row
	Next        *string
	Matched     *int
}

// member logs a client in and subscribes it.
func member(t *testing.T, s *server.Server, user string, topics ...string) net.Conn {
	t.Helper()
	c, code := connect(t, s, user)
	if code != 0 {
		t.Fatalf("ConnAck %d", code)
	}
	if len(topics) > 0 {
		list, _ := json.Marshal(map[string][]string{"topics": topics})
		call(t, c, "sluice.Subscribe", string(list))
	}
	return c
}

// TestAPI goes through all that the API answers, each held against the description, which must hold
// nothing else.
func TestAPI(t *testing.T) {
	var drained atomic.Bool
	var changed map[string]any
	reloadErr := errors.New("config.toml:3: no such key")
	process := &server.AdminProcess{
		Settings: func() any { return []string{"a"} },
		Reload: func() (server.AdminReloaded, error) {
			return server.AdminReloaded{Changed: []string{"log-level"}}, reloadErr
		},
		Change: func(settings map[string]any) (server.AdminReloaded, error) {
			changed = settings
			return server.AdminReloaded{}, reloadErr
		},
		Drain: func() { drained.Store(true) },
	}
	s := start(t, func(c *server.Config) {
		c.Gateway.Login = login.Open{}
		c.Admin.Process = process
	})
	a := &apiClient{t: t, base: s.AdminURL(), description: admin.ReadDescription(t)}
	ann := member(t, s, "ann", "news", "a/b c")
	bob := member(t, s, "bob", "news")
	member(t, s, "cyd")

	// Connections: all, filtered, sorted, page by page.
	const conns = "/api/v1/connections"
	var p page
	a.get(conns, conns, 200, &p)
	if len(p.Connections) != 3 || p.Next != nil || p.Matched != nil {
		t.Errorf("%+v", p)
	}
	for query, want := range map[string]string{
		"user=ann": "ann", "user=nobody": "", "user=": "", "topic=a/b c": "ann", "topic=news": "ann bob", "protocol=gosoc": "ann bob cyd", "protocol=netsvr": "",
		"state=online": "ann bob cyd", "state=login": "", "search=AN": "ann", "peer=127.0.0.0/8": "ann bob cyd", "peer=127.0.0.1": "ann bob cyd",
		"peer=10.0.0.0/8": "", "listener=0": "ann bob cyd", "listener=7": "", "congested=true": "",
		"sort=user": "ann bob cyd", "sort=-user": "cyd bob ann", "sort=-topics&limit=2": "ann bob",
		"sort=user&topic=news": "ann bob", "search=00": "ann bob cyd", "search=%3A": "ann bob cyd",
		"sort=user&once=true": "ann bob cyd", "sort=-user&once=true&limit=2": "cyd bob", "sort=user&once=false": "ann bob cyd",
	} {
		var p page
		a.get(conns, conns+"?"+strings.ReplaceAll(query, " ", "%20"), 200, &p)
		var users []string
		for _, r := range p.Connections {
			users = append(users, r.User)
		}
		got := strings.Join(users, " ")
		if !strings.Contains(query, "sort=") {
			got = sortedWords(got)
		}
		if got != want {
			t.Errorf("?%s: %s, want %s", query, got, want)
		}
	}
	for _, sort := range []string{"", "&sort=-user"} {
		seen := make(map[string]int)
		for target, pages := conns+"?limit=1"+sort, 0; ; pages++ {
			var p page
			a.get(conns, target, 200, &p)
			for _, r := range p.Connections {
				seen[r.User]++
			}
			if p.Next == nil || pages > 9 {
				break
			}
			target = conns + "?limit=1&cursor=" + *p.Next
		}
		if fmt.Sprint(seen) != "map[ann:1 bob:1 cyd:1]" {
			t.Errorf("page by page%s: %v", sort, seen)
		}
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "sort=colour", "state=x", "peer=x", "cursor=x", "cursor=9.0", "cursor=sx", "x=1", "limit=1&limit=2", "listener=-1", "once=x&sort=user", "once=true", "once=true&cursor=s0.1"} {
		a.get(conns, conns+"?"+bad, 400, nil)
	}
	a.get(conns, conns+"?cursor=s0123.1", 410, nil)
	p = page{}
	if a.get(conns, conns+"?sort=user&limit=1&once=true", 200, &p); p.Next != nil || p.Matched == nil || *p.Matched != 3 || len(p.Connections) != 1 {
		t.Errorf("one page of a sorted list: %+v", p)
	}
	a.get(conns, conns, 200, &p)

	// One of them.
	const one = "/api/v1/connections/{id}"
	var id string
	for _, r := range p.Connections {
		if r.User != "ann" {
			continue
		}
		id = r.UniqID
		for _, name := range []string{r.UniqID, r.Connection} {
			var d row
			a.get(one, "/api/v1/connections/"+name, 200, &d)
			if d.User != "ann" || d.Protocol != "gosoc" || d.State != "online" || strings.Join(d.TopicNames, ",") != "a/b c,news" || d.Topics != 2 ||
				d.Peer != ann.LocalAddr().String() || d.MessagesIn != 2 || d.MessagesOut != 2 || d.BytesIn == 0 || d.BytesOut == 0 {
				t.Errorf("%+v", d)
			}
		}
	}
	for _, name := range []string{"nobody", "00ffffff00000001", "ff00000000000001"} {
		a.get(one, "/api/v1/connections/"+name, 404, nil)
	}
	a.get(one, "/api/v1/connections/x?y=1", 400, nil)
	a.get(one, "/api/v1/connections/-?id="+id, 200, nil)
	a.get(one, "/api/v1/connections/"+id+"?id=nobody", 404, nil)

	// Topics.
	const topic = "/api/v1/topics/{name}"
	var tp struct {
		Topics []struct {
			Topic                             string
			Subscribers, Messages, Deliveries int
			MessagesPerSecond                 float64
		}
		Next  *string
		Total int
	}
	a.get("/api/v1/topics", "/api/v1/topics?limit=1", 200, &tp)
	if tp.Total != 2 || len(tp.Topics) != 1 || tp.Topics[0].Topic != "a/b c" || tp.Next == nil {
		t.Fatalf("%+v", tp)
	}
	a.get("/api/v1/topics", "/api/v1/topics?cursor="+url.QueryEscape(*tp.Next), 200, &tp)
	a.get("/api/v1/topics", "/api/v1/topics?sort=-subscribers", 200, &tp)
	if len(tp.Topics) != 2 || tp.Topics[0].Topic != "news" || tp.Topics[0].Subscribers != 2 {
		t.Errorf("%+v", tp)
	}
	for order, want := range map[string]string{"name": "a/b c", "-name": "news", "subscribers": "a/b c", "messages": "a/b c", "-deliveries": "a/b c", "-messagesPerSecond": "a/b c"} {
		if a.get("/api/v1/topics", "/api/v1/topics?sort="+order, 200, &tp); len(tp.Topics) != 2 || tp.Topics[0].Topic != want || tp.Next != nil {
			t.Errorf("by %s: %+v", order, tp)
		}
	}
	if a.get("/api/v1/topics", "/api/v1/topics?sort=-name&cursor=news", 200, &tp); len(tp.Topics) != 1 || tp.Topics[0].Topic != "a/b c" {
		t.Errorf("backwards: %+v", tp)
	}
	a.get("/api/v1/topics", "/api/v1/topics?sort=subscribers&cursor=x", 400, nil)
	a.get(topic, "/api/v1/topics/a%2Fb%20c", 200, nil)
	a.get(topic, "/api/v1/topics/-?name=a%2Fb+c", 200, nil)
	a.get(topic, "/api/v1/topics/a%2Fb%20c?name=none", 404, nil) // the parameter counts
	a.get(topic, "/api/v1/topics/a%2Fb%20c?name=", 404, nil)
	a.get(topic, "/api/v1/topics/none?name=a&name=b", 400, nil)
	a.get(topic, "/api/v1/topics/none", 404, nil)
	a.get(topic, "/api/v1/topics/none?x=1", 400, nil)

	// Publish: it arrives, and is counted.
	a.post("/api/v1/publish", `{"topic":"news","payload":"hello"}`, 200, nil)
	a.post("/api/v1/publish", `{"topic":"news","payloadBase64":"`+base64.StdEncoding.EncodeToString([]byte("again"))+`"}`, 200, nil)
	for _, want := range []string{"hello", "again"} {
		if _, body := readPacket(t, bob); !bytes.Contains(body, []byte(want)) {
			t.Errorf("bob got %q, want %s", body, want)
		}
	}
	waitFor(t, "the other subscriber's loop to deliver", func() bool {
		a.get("/api/v1/topics", "/api/v1/topics?prefix=ne&search=EW", 200, &tp)
		return tp.Topics[0].Deliveries >= 4
	})
	if a.get("/api/v1/topics", "/api/v1/topics?sort=-messages&limit=1", 200, &tp); tp.Topics[0].Topic != "news" || tp.Next != nil {
		t.Errorf("where most was said: %+v", tp)
	}
	if r := tp.Topics[0]; r.Messages != 2 || r.Deliveries != 4 || r.MessagesPerSecond <= 0 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{`{"topic":"news"}`, `{"payload":"x"}`, `{"topic":"","payload":"x"}`, `{"topic":"news","payload":"x","payloadBase64":"eA=="}`,
		`{"topic":"news","payloadBase64":"?"}`, `{"topic":"news","payload":"x","qos":1}`, `{`, `{"topic":"news","payload":"x"}{}`, `[]`,
		`{"topic":"` + strings.Repeat("x", 2000) + `","payload":""}`} {
		a.post("/api/v1/publish", bad, 400, nil)
	}

	// Subscriptions.
	var sub struct {
		Connections, Changed int
		Refused              []struct{ Topic, Reason string }
	}
	a.post("/api/v1/subscribe", `{"user":"cyd","topics":["news","more"]}`, 200, &sub)
	if sub.Connections != 1 || sub.Changed != 2 {
		t.Errorf("%+v", sub)
	}
	a.post("/api/v1/subscribe", `{"user":"nobody","topics":["news"]}`, 200, &sub)
	a.post("/api/v1/unsubscribe", `{"user":"cyd","topics":["news","never"]}`, 200, &sub)
	if sub.Connections != 1 || sub.Changed != 1 {
		t.Errorf("%+v", sub)
	}
	for _, path := range []string{"/api/v1/subscribe", "/api/v1/unsubscribe"} {
		a.post(path, `{"uniqId":"none","topics":["news"]}`, 404, nil)
		a.post(path, `{"user":"cyd","topics":[]}`, 400, nil)
		a.post(path, `{"user":"cyd","topics":[""]}`, 400, nil)
		a.post(path, `{"topics":["news"]}`, 400, nil)
		a.post(path, `{"user":"cyd","uniqId":"x","topics":["news"]}`, 400, nil)
	}

	// Sessions, workers, loops and the rest that is only read.
	for _, path := range []string{"/api/v1/stats", "/api/v1/loops", "/api/v1/workers", "/api/v1/sessions", "/api/v1/config", "/api/v1/closed"} {
		a.get(path, path, 200, nil)
		a.get(path, path+"?x=1", 400, nil)
	}
	a.get("/api/v1/online", "/api/v1/online?user=ann", 200, nil)
	a.get("/api/v1/online", "/api/v1/online", 400, nil)
	a.get("/api/v1/stats/stream", "/api/v1/stats/stream?x=1", 400, nil)
	a.get("/api/v1/topics/{name}/tail", "/api/v1/topics/"+strings.Repeat("x", 2000)+"/tail", 400, nil)
	a.history(s.Engine())

	// Ends, and what is known of them.
	a.post("/api/v1/disconnect", `{"uniqId":"`+id+`"}`, 200, nil)
	readToEnd(t, ann)
	a.post("/api/v1/kick", `{"user":"bob","reason":"kicked-out"}`, 200, nil)
	readToEnd(t, bob)
	for _, path := range []string{"/api/v1/disconnect", "/api/v1/kick"} {
		a.post(path, `{"uniqId":"`+id+`"}`, 404, nil)
		a.post(path, `{"connection":"00"}`, 404, nil)
		a.post(path, `{}`, 400, nil)
	}
	a.post("/api/v1/kick", `{"user":"bob","reason":"bored"}`, 400, nil)
	var ends struct {
		Closed []struct {
			Reason, User, UniqID, Protocol, Peer string
			BytesIn                              uint64
			Seconds                              float64
		}
		Next  *int
		Total int
	}
	a.get("/api/v1/closed", "/api/v1/closed?limit=1", 200, &ends)
	if len(ends.Closed) != 1 || ends.Closed[0].User != "bob" || ends.Closed[0].Reason != "kicked-out" || ends.Next == nil || ends.Total != 2 {
		t.Fatalf("%+v", ends)
	}
	a.get("/api/v1/closed", fmt.Sprintf("/api/v1/closed?cursor=%d", *ends.Next), 200, &ends)
	if e := ends.Closed[0]; len(ends.Closed) != 1 || e.User != "ann" || e.Reason != "disconnected" || e.UniqID != id || e.BytesIn == 0 || e.Peer != ann.LocalAddr().String() {
		t.Errorf("%+v", ends)
	}
	for query, want := range map[string]int{"reason=disconnected": 1, "user=bob": 1, "user=": 0, "protocol=gosoc": 2, "peer=127.0.0.1": 2, "peer=10.0.0.0/8": 0, "search=ANN": 1} {
		a.get("/api/v1/closed", "/api/v1/closed?"+query, 200, &ends)
		if len(ends.Closed) != want {
			t.Errorf("?%s: %d, want %d", query, len(ends.Closed), want)
		}
	}
	a.get("/api/v1/closed", "/api/v1/closed?reason=x", 400, nil)
	a.get("/api/v1/closed", "/api/v1/closed?peer=x", 400, nil)

	sessionsOf(t, a, s)

	// The process.
	a.post("/api/v1/reload", `{}`, 422, nil)
	const configPath = "/api/v1/config"
	a.patch(configPath, `{"max-topics":5}`, 422, nil)
	reloadErr = nil
	a.patch(configPath, `{"max-topics":5,"limits":{"a":["x",1.5,true,null]}}`, 200, nil)
	if want := map[string]any{"max-topics": json.Number("5"), "limits": map[string]any{"a": []any{"x", json.Number("1.5"), true, nil}}}; !reflect.DeepEqual(changed, want) {
		t.Errorf("%v, want %v", changed, want)
	}
	for _, text := range []string{
		`{}`, `[]`, `null`, `{"a":1}{}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`,
		`{"a":[0` + strings.Repeat(",0", 2000) + `]}`,
	} {
		changed = nil
		if a.patch(configPath, text, 400, nil); changed != nil {
			t.Errorf("%.40s: %v", text, changed)
		}
	}
	a.post("/api/v1/reload", ``, 200, nil)
	a.post("/api/v1/reload", `{"x":1}`, 400, nil)
	a.post("/api/v1/drain", `{"x":1}`, 400, nil)
	if a.post("/api/v1/drain", `{}`, 202, nil); !drained.Load() {
		t.Error("not drained")
	}
	*process = server.AdminProcess{}
	a.get(configPath, configPath, 501, nil)
	a.patch(configPath, `{"max-topics":5}`, 501, nil)
	a.post("/api/v1/reload", `{}`, 501, nil)
	a.post("/api/v1/drain", `{}`, 501, nil)

	// What every body is held to.
	for path, method := range a.bodies() {
		a.decode(method, path, path, `{"user":"`+strings.Repeat("x", 2<<20)+`"}`, 413, nil)
		r, _ := http.NewRequest(method, a.base+path, strings.NewReader("user=ann"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		a.description.Check(t, path, method, resp.StatusCode, resp.Header.Get("Content-Type"), b)
		if resp.StatusCode != 415 {
			t.Errorf("%s of a form: %d", path, resp.StatusCode)
		}
	}

	alone := a.base
	a.get("/api/v1/cluster", "/api/v1/cluster", 404, nil)
	a.get("/api/v1/cluster", "/api/v1/cluster?x=1", 400, nil)
	a.base = inCluster(t)
	a.get("/api/v1/cluster", "/api/v1/cluster", 200, nil)
	a.base = alone

	// Streams.
	for path, target := range map[string]string{"/api/v1/stats/stream": "/api/v1/stats/stream", "/api/v1/topics/{name}/tail": "/api/v1/topics/t/tail"} {
		resp, err := web.Get(a.base + target)
		if err != nil {
			t.Fatal(err)
		}
		a.description.Check(t, path, "GET", resp.StatusCode, resp.Header.Get("Content-Type"), nil)
		if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, "event: ") {
			t.Errorf("%s begins with %q, %v", path, line, err)
		}
		resp.Body.Close()
	}
	for _, key := range a.description.Unseen(401, 403, 405, 429, 503) {
		t.Errorf("%s is described and was not seen", key)
	}
}

func sortedWords(text string) string {
	words := strings.Fields(text)
	for i := range words {
		for j := range i {
			if words[i] < words[j] {
				words[i], words[j] = words[j], words[i]
			}
		}
	}
	return strings.Join(words, " ")
}

// readToEnd reads until a client's connection has ended.
func readToEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection does not end: %v", err)
	}
}

// TestMethods: HEAD and OPTIONS are answered as they should be, and others are told what there is.
func TestMethods(t *testing.T) {
	s := start(t, nil)
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"HEAD", "/api/v1/stats", 200, ""}, {"HEAD", "/api/v1/connections", 200, ""}, {"HEAD", "/api/v1/none", 404, ""},
		{"OPTIONS", "/api/v1/stats", 204, "GET, HEAD, OPTIONS"}, {"OPTIONS", "/api/v1/kick", 204, "OPTIONS, POST"},
		{"OPTIONS", "/api/v1/stats/stream", 204, "GET, OPTIONS"}, {"HEAD", "/api/v1/stats/stream", 405, "GET, OPTIONS"},
		{"PUT", "/api/v1/stats", 405, "GET, HEAD, OPTIONS"}, {"GET", "/api/v1/kick", 405, "OPTIONS, POST"}, {"DELETE", "/api/v1/connections/x", 405, "GET, HEAD, OPTIONS"},
	} {
		r, _ := http.NewRequest(tc.method, s.AdminURL()+tc.path, nil)
		resp, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.status || resp.Header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: %d, Allow %q", tc.method, tc.path, resp.StatusCode, resp.Header.Get("Allow"))
		}
		if tc.method == "HEAD" && len(body) > 0 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: %q %v", tc.method, tc.path, body, resp.Header)
		}
	}
}

// TestTail: what is published is shown as it comes, whatever is in it; and its end is noticed.
func TestTail(t *testing.T) {
	s := startWithRoles(t)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.AdminURL()+"/api/v1/topics/a%2Fb/tail", nil)
	r.Header.Set("Authorization", "Bearer full-token-0123456789")
	resp, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	next := func() (name, data string) {
		t.Helper()
		for {
			line, err := events.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			switch line = strings.TrimSuffix(line, "\n"); {
			case line == "":
				return name, data
			case strings.HasPrefix(line, "event: "):
				name = line[7:]
			case strings.HasPrefix(line, "data: "):
				data = line[6:]
			}
		}
	}
	if name, data := next(); name != "open" || data != `{"topic":"a/b"}` {
		t.Fatal(name, data)
	}
	list, _ := http.NewRequestWithContext(t.Context(), "GET", s.AdminURL()+"/api/v1/connections?state=attached", nil)
	list.Header = r.Header
	listed, err := web.Do(list)
	if err != nil {
		t.Fatal(err)
	}
	var p page
	err = json.NewDecoder(listed.Body).Decode(&p)
	listed.Body.Close()
	if err != nil || len(p.Connections) != 1 || !strings.HasPrefix(p.Connections[0].Peer, "127.0.0.1:") {
		t.Errorf("the tail is listed as %+v, %v", p.Connections, err)
	}
	big := strings.Repeat("é", 20<<10)
	for _, payload := range []string{"plain", "two\nlines", "\xff\x00", big} {
		if err := s.Publish(t.Context(), "a/b", []byte(payload)); err != nil {
			t.Fatal(err)
		}
		var m struct {
			Payload           string
			Bytes             int
			Base64, Truncated bool
		}
		name, data := next()
		if err := json.Unmarshal([]byte(data), &m); err != nil || name != "message" {
			t.Fatal(name, data, err)
		}
		got := m.Payload
		if m.Base64 {
			b, _ := base64.StdEncoding.DecodeString(got)
			got = string(b)
		}
		if m.Bytes != len(payload) || !strings.HasPrefix(payload, got) || m.Truncated != (got != payload) || m.Base64 != (payload[0] == 0xff) || got == "" {
			t.Errorf("%.20q: %.100s", payload, data)
		}
	}
	resp.Body.Close()
	waitFor(t, "the subscription to end", func() bool { return s.Engine().Topics().Len() == 0 })
}
