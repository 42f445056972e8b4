package clustertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// An administrator takes a gateway's lease away: it is made again, and nobody misses anything. One who puts
// another process's lease in its place has the gateway close its doors, say why to its clients and in its
// log, and end with exit code 2.
func TestLeaseByHand(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"put", "deleted and put", "purged and put"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, nil)
			list := serveAll(t, 2, append(rooms, "--cluster", s.url())...)
			_, js := administrate(t, s.url())
			kv, err := js.KeyValue(t.Context(), "sluice_default_nodes")
			if err != nil {
				t.Fatal(err)
			}
			sub, pub := list[1].login(), list[0].login()
			sub.subscribe("news", "room.1")
			for i, what := range []string{"deleted", "garbage"} {
				if what == "deleted" {
					err = kv.Delete(t.Context(), "02")
				} else {
					_, err = kv.PutString(t.Context(), "02", what)
				}
				if err != nil {
					t.Fatal(err)
				}
				list[1].logged([]string{"the lease of the server id was gone and was made again", "held what is no claim: it is written over"}[i])
				for _, g := range list {
					g.knows(2)
				}
				pub.publish("room.1", 2*i+1)
				sub.want(2*i+1, 2*i+1)
				pub.publish("news", 2*i+2)
				sub.want(2*i+2, 2*i+2)
			}
			switch strings.Fields(how)[0] {
			case "deleted":
				err = kv.Delete(t.Context(), "02")
			case "purged":
				err = kv.Purge(t.Context(), "02")
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.PutString(t.Context(), "02", `{"incarnation":"00000000000000ff","address":"the other one","version":"v9","since":1}`); err != nil {
				t.Fatal(err)
			}
			h, body, err := sub.packet(patience)
			if err != nil || h.Type != gosoc.TypeDisconnect {
				t.Errorf("a client is sent %x of type %d, %v", body, h.Type, err)
			}
			if code := list[1].wait(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range []string{"server id 2 was taken over: the other one, version v9", "reason=server-id-lost"} {
				if !strings.Contains(list[1].stderr.String(), want) {
					t.Errorf("no %q in the log:\n%s", want, list[1].stderr)
				}
			}
			if how == "put" { // else there was none in between
				list[0].logged("another process has its server id")
			}
			await(t, "the one that never comes to be suspect", func() bool {
				for _, m := range list[0].members() {
					if m.ServerID == 2 && m.Suspect && m.Address == "the other one" {
						return true
					}
				}
				return false
			})
			if text := fmt.Sprint(list[0].members()); strings.Contains(text, list[1].addr) {
				t.Errorf("the one that is gone is in the table: %s", text)
			}
		})
	}
}
