package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// publish is the payload of a request to publish data, a JSON value.
func publish(topic, data string) string { return fmt.Sprintf(`{"topic":%q,"data":%s}`, topic, data) }

func TestPublish(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	var subscribers []*client
	for _, m := range modes {
		c := p.login(t, m, "")
		c.subscribe("news", "other")
		subscribers = append(subscribers, c)
	}
	bystander := p.login(t, modes[0], "")
	bystander.subscribe("newsreel", "new")
	eachMode(t, modes, func(t *testing.T, m mode) {
		publisher := p.login(t, m, "")
		for _, data := range []string{
			`1`, `null`, `"x"`, `{ "spaces" : [ 1, 2 ] }`, `{"dup":1,"dup":2}`, `"\u003c\/"`, `1.50`,
			`"` + strings.Repeat("long ", 3000) + `"`,
		} {
			publisher.wantOK("sluice.Publish", publish("news", data))
			for _, c := range subscribers {
				c.wantPush("push", data)
			}
		}
		// Without a reply it is the same for those who listen.
		publisher.write(m.sendReq(0, 0, "sluice.Publish", m.text(publish("other", "2"))))
		for _, c := range subscribers {
			c.wantPush("push", "2")
		}
		publisher.wantOK("sluice.Publish", publish("nobody listens", "3"))
	})
	bystander.wantQuiet(50 * time.Millisecond)
}

func TestPublisherHearsItself(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	for _, m := range modes {
		c := p.login(t, m, "")
		c.subscribe("own")
		c.write(m.sendReq(0, 0, "sluice.Publish", m.text(publish("own", "1"))))
		c.wantPush("push", "1")
		c.hangUp()
	}
}

func TestSubscribeTwice(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c, publisher := p.login(t, modes[0], ""), p.login(t, modes[0], "")
	c.subscribe("a", "b", "a")
	c.subscribe("a")
	if got := c.whoami().Topics; !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a", "b"}) {
		t.Errorf("topics %q, want a and b", got)
	}
	publisher.wantOK("sluice.Publish", publish("a", "1"))
	publisher.wantOK("sluice.Publish", publish("b", "2"))
	c.wantPush("push", "1")
	c.wantPush("push", "2")
	c.wantQuiet(50 * time.Millisecond)
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c, publisher := p.login(t, m, ""), p.login(t, m, "")
		c.subscribe("a", "b", "c")
		c.wantOK("sluice.Unsubscribe", `{"topics":["b","never"]}`)
		c.wantOK("sluice.Unsubscribe", `{"topics":["b"]}`)
		for i, topic := range []string{"a", "b", "c", "b"} {
			publisher.wantOK("sluice.Publish", publish(topic, fmt.Sprint(i)))
		}
		c.wantPush("push", "0")
		c.wantPush("push", "2")
		if got := c.whoami().Topics; !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a", "c"}) {
			t.Errorf("topics %q, want a and c", got)
		}
		c.subscribe("b")
		publisher.wantOK("sluice.Publish", publish("b", "4"))
		c.wantPush("push", "4")
		c.wantQuiet(30 * time.Millisecond)
	})
}

// What goes to several topics arrives in the order in which it was published.
func TestOrderAcrossTopics(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	var subscribers []*client
	for _, m := range modes {
		for range 2 { // connections are spread over the loops
			c := p.login(t, m, "")
			c.subscribe("even", "odd", "third")
			subscribers = append(subscribers, c)
		}
	}
	publisher := p.login(t, modes[0], "")
	const count = 3000
	var b []byte
	for i := range count {
		topic := []string{"even", "odd", "third"}[i%7%3]
		b = append(b, publisher.mode.sendReq(0, 0, "sluice.Publish", []byte(publish(topic, fmt.Sprint(i))))...)
	}
	go func() { _ = publisher.send(b) }()
	for _, c := range subscribers {
		for i := range count {
			c.wantPush("push", fmt.Sprint(i))
		}
	}
}

// A push too long for fixed6 is left out there and reaches everybody else.
func TestPushTooLongForFixed6(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	long, short := p.login(t, modes[0], ""), p.login(t, modes[2], "")
	zipped := p.login(t, modes[3], "")
	for _, c := range []*client{long, short, zipped} {
		c.subscribe("t")
	}
	publisher := p.login(t, modes[0], "")
	big := `"` + strings.Repeat("b", 70000) + `"`
	publisher.wantOK("sluice.Publish", publish("t", big))
	publisher.wantOK("sluice.Publish", publish("t", "2"))
	long.wantPush("push", big)
	long.wantPush("push", "2")
	short.wantPush("push", "2")
	zipped.wantPush("push", big)
	zipped.wantPush("push", "2")
}

// A slot that is used again hears nothing of what its former owner listened to.
func TestSubscriptionsEndWithTheConnection(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	publisher := p.login(t, modes[0], "")
	for round := range 30 {
		c := p.login(t, modes[round%4], "")
		c.subscribe("t", fmt.Sprint("own", round))
		publisher.wantOK("sluice.Publish", publish("t", "1"))
		c.wantPush("push", "1")
		if round%2 == 0 {
			c.write(c.mode.packet(disconnect, 0, []byte{0}))
			c.wantEOF()
		}
		c.hangUp()
		next := p.login(t, modes[round%3], "")
		publisher.wantOK("sluice.Publish", publish("t", "2"))
		if got := next.whoami().Topics; len(got) != 0 {
			t.Fatalf("a new connection has topics %q", got)
		}
		next.hangUp()
	}
}
