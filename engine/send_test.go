package engine

import (
	"testing"

	"golang.org/x/sys/unix"
)

// pairedConn is bareConn with a socket that takes what is sent; the other end is returned.
func pairedConn(t testing.TB, l *Loop) (c *Conn, peer int) {
	t.Helper()
	a, b := socketPair(t)
	t.Cleanup(func() { unix.Close(a); unix.Close(b) })
	c = bareConn(t, l, 0)
	c.fd = int32(a)
	return c, b
}

func received(t testing.TB, fd int) string {
	t.Helper()
	b := make([]byte, 1024)
	n, err := unix.Read(fd, b)
	if err == unix.EAGAIN {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// A loop whose time for sending is spent answers the client it serves, and leaves the rest to its
// next turn: a client is not to wait once per step for all that others are sent.
func TestReplyGoesBeforeTheRest(t *testing.T) {
	l := bareLoop(t, Config{})
	l.mailbox.awake = true
	slow, slowPeer := pairedConn(t, l)
	asks, asksPeer := pairedConn(t, l)
	slow.Write([]byte("much\n"))
	l.output.spent, l.output.pending = true, true

	asks.Write([]byte("answer\n"))
	l.endStep()
	l.replyNow(asks.Ref())
	if got := received(t, asksPeer); got != "answer\n" {
		t.Errorf("who asks received %q", got)
	}
	if got := received(t, slowPeer); got != "" {
		t.Errorf("%q was sent although the time was spent", got)
	}

	l.output.spent = false // the next turn
	l.endStep()
	if got := received(t, slowPeer); got != "much\n" {
		t.Errorf("the next turn sent %q", got)
	}
	if l.output.pending || len(l.output.dirty) != 0 {
		t.Errorf("behind is %v with %d to flush", l.output.pending, len(l.output.dirty))
	}
}
