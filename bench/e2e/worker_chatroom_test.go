package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// The library's README shows how its example is run, and what it says: both are taken from there.

func readmeLine(tb testing.TB, beginning string) string {
	tb.Helper()
	readme, err := os.ReadFile("../../engine/worker/README.md")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(readme)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), beginning); ok {
			return rest
		}
	}
	tb.Fatalf("the README has no line %q", beginning)
	return ""
}

// chatroomBinary is the example worker, built by the first test that wants it.
var chatroomBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(gatewayBinary), "chatroom")
	build := exec.Command("go", "build", "-o", path, "./engine/worker/example/chatroom")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the chatroom: %w\n%s", err, out)
	}
	return path, nil
})

// A chatroom is a running example worker.
type chatroom struct {
	tb     testing.TB
	cmd    *exec.Cmd
	stderr *syncbuf.Buffer
	exited chan error
}

func startChatroom(tb testing.TB, gateways ...*process) *chatroom {
	tb.Helper()
	path, err := chatroomBinary()
	if err != nil {
		tb.Fatal(err)
	}
	flags := strings.Fields(readmeLine(tb, "go run github.com/sluicenet/sluice/engine/worker/example/chatroom "))
	if len(flags) != 2 {
		tb.Fatalf("the README runs it with %q", flags)
	}
	var args []string
	for _, p := range gateways {
		args = append(args, flags[0], p.workerAddr())
	}
	c := &chatroom{tb: tb, cmd: exec.Command(path, args...), stderr: new(syncbuf.Buffer), exited: make(chan error, 1)}
	c.cmd.Stderr = c.stderr
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { c.exited <- c.cmd.Wait() }()
	tb.Cleanup(func() { _ = c.cmd.Process.Kill() })
	for deadline := time.Now().Add(patience); !strings.Contains(c.stderr.String(), "msg=ready"); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("the chatroom is not ready:\n%s", c.stderr)
		}
	}
	return c
}

// end signals the chatroom and waits for its end.
func (c *chatroom) end(sig syscall.Signal) {
	c.tb.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.tb.Fatal(err)
	}
	select {
	case err := <-c.exited:
		if sig == syscall.SIGTERM && err != nil {
			c.tb.Errorf("the chatroom ended with %v:\n%s", err, c.stderr)
		}
	case <-time.After(patience):
		c.tb.Fatalf("the chatroom goes on:\n%s", c.stderr)
	}
}

// A chatter is a client in the chat, of either kind.
type chatter struct {
	tb     testing.TB
	ask    func(typ, payload string)
	next   func() (event bool, text string, err error)
	hangUp func()

	events, answers []string
}

func (c *chatter) take(queue *[]string) string {
	c.tb.Helper()
	for len(*queue) == 0 {
		event, text, err := c.next()
		if err != nil {
			c.tb.Fatalf("chatter: %v; events %q, answers %q", err, c.events, c.answers)
		}
		if event {
			c.events = append(c.events, text)
		} else {
			c.answers = append(c.answers, text)
		}
	}
	text := (*queue)[0]
	*queue = (*queue)[1:]
	return text
}

// wantAnswer asks and compares the answer without its type.
func (c *chatter) wantAnswer(typ, payload, want string) {
	c.tb.Helper()
	c.ask(typ, payload)
	got := strings.Replace(c.take(&c.answers), fmt.Sprintf(`{"type":%q,`, typ), "{", 1)
	if got != want {
		c.tb.Fatalf("%s %s: %s, want %s", typ, payload, got, want)
	}
}

func (c *chatter) wantOK(typ, payload, data string) {
	c.tb.Helper()
	c.wantAnswer(typ, payload, `{"status":0,"data":`+data+`}`)
}

func (c *chatter) wantRefusal(typ, payload, message string) {
	c.tb.Helper()
	c.wantAnswer(typ, payload, `{"status":4,"message":"`+message+`","data":null}`)
}

func (c *chatter) wantEvent(event, room, name string, text ...string) {
	c.tb.Helper()
	want := fmt.Sprintf(`{"type":"chat.Event","event":%q,"room":%q,"name":%q`, event, room, name)
	for _, t := range text {
		want += fmt.Sprintf(`,"text":%q`, t)
	}
	if got := c.take(&c.events); got != want+"}" {
		c.tb.Fatalf("event %s, want %s}", got, want)
	}
}

// chatGOSOC is a GOSOC client in the chat.
func chatGOSOC(tb testing.TB, p *process, m mode) *chatter {
	tb.Helper()
	return chatUser(tb, p, m, "")
}

// chatUser is chatGOSOC with what it logs in with.
func chatUser(tb testing.TB, p *process, m mode, login string) *chatter {
	tb.Helper()
	c := p.login(tb, m, login)
	return &chatter{
		tb:  tb,
		ask: func(typ, payload string) { c.id++; c.write(m.ask(c.id, typ, payload)) },
		next: func() (bool, string, error) {
			pk, err := c.next()
			if err != nil {
				return false, "", err
			}
			msg, err := m.message(pk)
			switch {
			case err != nil:
			case pk.typ == sendResp && msg.id != c.id:
				err = fmt.Errorf("reply %d, want %d", msg.id, c.id)
			case pk.typ == sendReq && msg.route != "chat.Event":
				err = fmt.Errorf("a push of route %q", msg.route)
			}
			return pk.typ == sendReq, msg.payload, err
		},
		hangUp: c.reset,
	}
}

// chatWebSocket is a WebSocket client in the chat, with a library of its own.
func chatWebSocket(tb testing.TB, p *process) *chatter {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	tb.Cleanup(cancel)
	c, _, err := websocket.Dial(ctx, "ws://"+p.addr+"/netsvr", nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.CloseNow() })
	return &chatter{
		tb: tb,
		ask: func(typ, payload string) {
			message := fmt.Sprintf(`001{"type":%q`, typ)
			if fields := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(payload, "{"), "}")); fields != "" {
				message += "," + fields
			}
			if err := c.Write(ctx, websocket.MessageText, []byte(message+"}")); err != nil {
				tb.Fatal(err)
			}
		},
		next: func() (bool, string, error) {
			wait, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			kind, b, err := c.Read(wait)
			if err == nil && kind != websocket.MessageText {
				err = fmt.Errorf("a message of type %v", kind)
			}
			return strings.HasPrefix(string(b), `{"type":"chat.Event"`), string(b), err
		},
		hangUp: func() { _ = c.CloseNow() },
	}
}

func TestWorkerChatroom(t *testing.T) {
	t.Parallel()
	args := strings.Fields(readmeLine(t, "sluice serve "))
	p := startServe(t, append(args, "--listen", "tcp://127.0.0.1:0")...)
	other := startServe(t, append(args, "--listen", "tcp://127.0.0.1:0", "--server-id", "1")...)
	room := startChatroom(t, p, other)

	ann, bob := chatGOSOC(t, p, modes[0]), chatWebSocket(t, p)
	cat, dan := chatGOSOC(t, p, modes[3]), chatWebSocket(t, other)
	members := func(names ...string) string {
		list, err := json.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return `{"room":"lobby","members":` + string(list) + `}`
	}
	join := func(c *chatter, name string, inside []*chatter, all ...string) {
		t.Helper()
		c.wantOK("chat.Join", fmt.Sprintf(`{"room":"lobby","name":%q}`, name), members(all...))
		for _, o := range append(inside, c) {
			o.wantEvent("join", "lobby", name)
		}
	}
	say := func(c *chatter, name, text string, inside ...*chatter) {
		t.Helper()
		c.wantOK("chat.Say", fmt.Sprintf(`{"text":%q}`, text), `{}`)
		for _, o := range inside {
			o.wantEvent("say", "lobby", name, text)
		}
	}
	for _, c := range []*chatter{ann, bob} {
		c.wantRefusal("chat.Say", `{"text":"x"}`, "join a room first")
		c.wantRefusal("chat.Leave", `{}`, "join a room first")
		c.wantRefusal("chat.Who", `{}`, "which room?")
		c.wantRefusal("chat.Join", `{"room":"lobby"}`, "room and name, please")
		c.wantRefusal("chat.Join", `{"room":"`+strings.Repeat("x", 65)+`"}`, "too long")
	}
	ann.wantRefusal("chat.Shout", `{}`, "no such route")
	bob.wantRefusal("chat.Shout", `{}`, "no such type")
	ann.wantRefusal("chat.Say", `[]`, "want a JSON object")

	// Everybody is in one room, over both protocols and both gateways.
	join(ann, "ann", nil, "ann")
	join(bob, "bob", []*chatter{ann}, "ann", "bob")
	join(cat, "cat", []*chatter{ann, bob}, "ann", "bob", "cat")
	join(dan, "dan", []*chatter{ann, bob, cat}, "ann", "bob", "cat", "dan")
	all := []*chatter{ann, bob, cat, dan}
	for i := range 20 {
		for j, name := range []string{"ann", "bob", "cat", "dan"} {
			say(all[j], name, fmt.Sprint("hello ", i, " é∀😀"), all...)
		}
	}
	for _, c := range all {
		c.wantOK("chat.Who", `{}`, members("ann", "bob", "cat", "dan"))
	}
	outside := chatGOSOC(t, other, modes[2])
	outside.wantOK("chat.Who", `{"room":"lobby"}`, members("ann", "bob", "cat", "dan"))
	outside.wantOK("chat.Who", `{"room":"empty"}`, `{"room":"empty","members":[]}`)

	// Another room, and out of it.
	cat.wantOK("chat.Join", `{"room":"garden","name":"cat"}`, `{"room":"garden","members":["cat"]}`)
	for _, c := range []*chatter{ann, bob, dan} {
		c.wantEvent("leave", "lobby", "cat")
	}
	cat.wantEvent("join", "garden", "cat")
	cat.wantOK("chat.Leave", `{}`, `{}`)
	cat.wantRefusal("chat.Say", `{"text":"x"}`, "join a room first")
	join(cat, "cat", []*chatter{ann, bob, dan}, "ann", "bob", "cat", "dan")

	// Gone without a word, by a reset and by an end in the middle of everything.
	bob.hangUp()
	for _, c := range []*chatter{ann, cat, dan} {
		c.wantEvent("leave", "lobby", "bob")
	}
	cat.hangUp()
	for _, c := range []*chatter{ann, dan} {
		c.wantEvent("leave", "lobby", "cat")
	}
	ann.wantOK("chat.Who", `{}`, members("ann", "dan"))

	// The worker is killed and comes again: who is where was never its business.
	bob = chatWebSocket(t, p)
	join(bob, "bob", []*chatter{ann, dan}, "ann", "bob", "dan")
	room.end(syscall.SIGKILL)
	bob.hangUp() // of which nobody is told
	outside.hangUp()
	room = startChatroom(t, p, other)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ann.ask("chat.Who", `{}`)
		if got := ann.take(&ann.answers); strings.HasSuffix(got, members("ann", "dan")+"}") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("who is there: %s", got)
		}
	}
	for i, c := range []*chatter{ann, dan} {
		say(c, []string{"ann", "dan"}[i], "still here", ann, dan)
	}
	// Two of them share the work, and one is enough.
	second := startChatroom(t, p, other)
	for i := range 10 {
		say(ann, "ann", fmt.Sprint("both ", i), ann, dan)
	}
	room.end(syscall.SIGTERM)
	for i := range 10 {
		say(dan, "dan", fmt.Sprint("one ", i), ann, dan)
	}
	ann.hangUp()
	dan.wantEvent("leave", "lobby", "ann")
	dan.wantOK("chat.Who", `{}`, members("dan"))
	second.end(syscall.SIGTERM)
}

// Who has logged in has a name, and can be told something on all connections.
func TestWorkerChatroomUsers(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--close-worker", "1", "--gosoc-logins", "many")
	room := startChatroom(t, p)
	ann := chatUser(t, p, modes[0], token("ann"))
	phone, laptop := chatUser(t, p, modes[0], token("bob")), chatUser(t, p, modes[1], token("bob"))
	guest := chatWebSocket(t, p)
	phone.wantOK("chat.Join", `{"room":"lobby"}`, `{"room":"lobby","members":["bob"]}`)
	phone.wantEvent("join", "lobby", "bob")
	ann.wantOK("chat.Tell", `{"to":"bob","text":"psst"}`, `{}`)
	for _, c := range []*chatter{phone, laptop} {
		if got, want := c.take(&c.events), `{"type":"chat.Event","event":"tell","name":"ann","text":"psst"}`; got != want {
			t.Errorf("event %s, want %s", got, want)
		}
	}
	ann.wantRefusal("chat.Tell", `{"to":"cat","text":"psst"}`, "not here")
	ann.wantRefusal("chat.Tell", `{"to":"bob"}`, "to whom, and what?")
	guest.wantRefusal("chat.Tell", `{"to":"bob","text":"I am ann"}`, "log in first")
	guest.wantRefusal("chat.Join", `{"room":"lobby"}`, "room and name, please")
	room.end(syscall.SIGTERM)
}
