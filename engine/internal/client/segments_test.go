package client_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

// scripts are what a client asks for, and the pushes that must come of it.
var scripts = []struct {
	name   string
	ops    []op
	pushes []string
}{
	{"pushes to itself", []op{pushMe("a"), pushMe("b"), pushMe("c")}, []string{"a", "b", "c"}},
	{"subscribe, publish, unsubscribe", []op{subscribe("t"), publish("t", "1"), unsubscribe("t")}, []string{"1"}},
	{"publish, push", []op{subscribe("t"), publish("t", "1"), pushMe("2")}, []string{"1", "2"}},
	{"publish, subscribe", []op{publish("t", "1"), subscribe("t")}, nil},
	{"unsubscribe, publish", []op{subscribe("t"), unsubscribe("t"), publish("t", "1")}, nil},
	{"subscribed now and then", []op{
		publish("t", "1"), subscribe("t"), publish("t", "2"), unsubscribe("t"), publish("t", "3"), subscribe("t"), publish("t", "4"),
		pushMe("5"), publish("t", "6"), unsubscribe("t"), publish("t", "7"), pushMe("8"),
	}, []string{"2", "4", "5", "6", "8"}},
	{"two topics", []op{
		subscribe("t"), publish("t", "1"), publish("u", "2"), subscribe("u"), publish("u", "3"), echo("4"), publish("t", "5"), unsubscribe("t"),
		publish("u", "6"),
	}, []string{"1", "3", "5", "6"}},
}

// dialogue sends segments, then, apart from them, a push to itself, which comes behind all that was
// pushed before. It returns what came up to it, replies and pushes apart.
func dialogue(t *testing.T, s *server.Server, w *wire, segments [][]byte) (replies, pushes []string) {
	t.Helper()
	c := dial(t, s, w)
	defer c.conn.Close()
	before := s.Engine().Stats().BytesIn
	for i, b := range append(segments, w.ask(pushMe("end"), 9999)) {
		if i > 0 { // the gateway has seen what was sent so far
			for deadline := time.Now().Add(patience); s.Engine().Stats().BytesIn != before; time.Sleep(100 * time.Microsecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d bytes arrived, want %d", s.Engine().Stats().BytesIn, before)
				}
			}
		}
		c.write(b)
		before += uint64(len(b))
	}
	c.greeted()
	for {
		packet, err := c.next()
		if err != nil {
			t.Fatalf("%v behind %q and %q", err, replies, pushes)
		}
		switch told := w.tell(packet); {
		case strings.HasPrefix(told, "push") && strings.Contains(told, `"end"`):
			// The reply to it may come before or behind it.
			for w.greetings > 0 && (len(replies) == 0 || !strings.HasPrefix(replies[len(replies)-1], "reply 9999")) {
				if packet, err = c.next(); err != nil {
					t.Fatalf("%v behind %q and %q", err, replies, pushes)
				}
				replies = append(replies, w.tell(packet))
			}
			return replies, pushes
		case strings.HasPrefix(told, "push"):
			pushes = append(pushes, told)
		default:
			replies = append(replies, told)
		}
	}
}

// What a client gets does not depend on how its bytes were cut.
func TestSegmentation(t *testing.T) {
	for _, w := range wires() {
		for _, script := range scripts {
			// What must come is written down here, not taken from a run.
			var replies, pushes []string
			possible := true
			for i, o := range script.ops {
				possible = possible && w.ask(o, i+1) != nil
				if w.greetings > 0 {
					body := `{"status":0,"data":{}}`
					if o.name == "Echo" {
						body = echoed(w.name, o.text)
					}
					replies = append(replies, fmt.Sprintf("reply %d %s <nil>", i+1, body))
				}
			}
			if !possible {
				continue
			}
			if w.greetings > 0 {
				replies = append(replies, `reply 9999 {"status":0,"data":{}} <nil>`)
			}
			// Each dialogue has topics of its own, and is as long as any other.
			dialogues := 0
			names := func() [2]string {
				return [2]string{fmt.Sprintf("%s t%06d", script.name, dialogues), fmt.Sprintf("%s u%06d", script.name, dialogues)}
			}
			stream := func() []byte {
				dialogues++
				own := strings.NewReplacer(`"t"`, `"`+names()[0]+`"`, `"u"`, `"`+names()[1]+`"`)
				b := append([]byte(nil), w.hello...)
				for i, o := range script.ops {
					o.text = own.Replace(o.text)
					b = append(b, w.ask(o, i+1)...)
				}
				return b
			}
			for _, p := range script.pushes {
				pushes = append(pushes, pushed(w.name, p))
			}
			t.Run(w.name+"/"+script.name, func(t *testing.T) {
				t.Parallel()
				s := start(t, nil) // whose input is counted
				check := func(cut string, segments [][]byte) {
					t.Helper()
					gotReplies, gotPushes := dialogue(t, s, &w, segments)
					if fmt.Sprint(gotReplies) != fmt.Sprint(replies) {
						t.Fatalf("%s: replies %q, want %q", cut, gotReplies, replies)
					}
					if fmt.Sprint(gotPushes) != fmt.Sprint(pushes) {
						t.Fatalf("%s: pushes %q, want %q", cut, gotPushes, pushes)
					}
				}
				check("whole", [][]byte{stream()})
				var single [][]byte
				for _, b := range stream() {
					single = append(single, []byte{b})
				}
				check("byte by byte", single)
				if w.greetings > 0 { // what is published has other receivers, too, on both loops
					for range 4 {
						b := stream()
						for _, topic := range names() {
							for range 2 {
								other := online(t, s, &w)
								defer other.conn.Close()
								other.write(w.ask(subscribe(topic), 1))
								if _, err := other.next(); err != nil {
									t.Fatal(err)
								}
							}
						}
						check("whole, among others", [][]byte{b})
					}
				}
				step := 5 // the long script is cut at every place
				if len(script.ops) > 10 && !raceEnabled {
					step = 1
				}
				for i := len(w.hello); i < len(single); i += step {
					b := stream()
					check(fmt.Sprintf("cut at %d of %d", i, len(b)), [][]byte{b[:i], b[i:]})
				}
			})
		}
	}
}

// echoed is the body of the reply to an echo.
func echoed(wire, text string) string {
	if strings.HasPrefix(wire, "longbridge") {
		return text
	}
	return `{"status":0,"data":` + text + `}`
}

// pushed is a push of a JSON string.
func pushed(wire, text string) string {
	switch {
	case strings.HasPrefix(wire, "gosoc"):
		return `push push "` + text + `" <nil>`
	case strings.HasPrefix(wire, "longbridge"):
		return `push 100 "` + text + `" <nil>`
	}
	return `push "` + text + `"`
}
