package admin_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// TestEveryConnectionOnce: whoever leafs through the list meets each that stays once, whatever the
// order, while others come and go; and nobody is met twice.
func TestEveryConnectionOnce(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.Login = login.Open{} })
	a := &apiClient{t: t, base: s.AdminURL(), description: admin.ReadDescription(t)}
	for i := range 40 {
		member(t, s, fmt.Sprintf("stays-%d", i))
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for i := range 4 {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				var c net.Conn
				if c, _ = connect(t, s, fmt.Sprintf("comes-%d-%d", i, n)); c != nil {
					c.Close()
				}
			}
		})
	}
	for _, query := range []string{"limit=7", "limit=7&sort=-since", "limit=7&sort=bytesOut", "limit=7&sort=user"} {
		stayed, met := make(map[string]int), make(map[string]bool)
		for cursor, pages := "", 0; pages < 500; pages++ {
			var p page
			a.get("/api/v1/connections", "/api/v1/connections?"+query+cursor, 200, &p)
			for _, r := range p.Connections {
				if met[r.Connection] {
					t.Errorf("?%s: %s twice", query, r.User)
				}
				met[r.Connection] = true
				if len(r.User) > 5 && r.User[:5] == "stays" {
					stayed[r.User]++
				}
			}
			if p.Next == nil {
				break
			}
			cursor = "&cursor=" + *p.Next
		}
		if len(stayed) != 40 {
			t.Errorf("?%s: %d of 40 that stay", query, len(stayed))
		}
	}
	close(stop)
	others.Wait()
}
