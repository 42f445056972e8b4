package clustertest

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// What another gateway publishes behind the answer to a resumption is not missed.
func TestResumptionMissesNothing(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
	from := list[2].login()
	const rounds = 20
	tickets := make([]string, rounds)
	for i := range rounds {
		topic := fmt.Sprint("news-", i)
		from.publish(topic, 0) // who wants it is known there from now on
		var c *client
		c, tickets[i] = list[0].begin(fmt.Sprint("ann-", i))
		c.subscribe(topic)
		c.conn.Close()
	}
	missed := 0
	for i, ticket := range tickets {
		c, _ := list[1].comeBack(ticket)
		from.publish(fmt.Sprint("news-", i), 1)
		if _, _, err := c.packet(time.Second); err != nil {
			missed++
		}
	}
	if missed > 0 {
		t.Errorf("%d of %d clients have missed what was published behind their resumption", missed, rounds)
	}
}
