package longbridge_test

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
)

// A client that is closed for what it does not read, and reads on, sees whole packets and a Close
// behind them.
func TestSlowConsumerHearsWhy(t *testing.T) {
	for _, tt := range []struct {
		why    engine.Reason
		limits engine.Config
	}{
		{engine.ReasonSlowConsumer, engine.Config{Backlog: 128 << 10}},
		{engine.ReasonBacklogTotal, engine.Config{Backlog: 64 << 20, BacklogTotal: 4 << 20}},
	} {
		for _, f := range forms {
			t.Run(tt.why.String()+", "+f.name, func(t *testing.T) {
				t.Parallel()
				s := start(t, func(c *server.Config) {
					c.Engine.Backlog, c.Engine.BacklogTotal = tt.limits.Backlog, tt.limits.BacklogTotal
					c.Engine.SendBuffer = 16 << 10
				})
				p := dial(t, s, f)
				_ = p.conn.(*net.TCPConn).SetReadBuffer(16 << 10)
				p.auth("ann")
				const size, most = 3001, 8 << 20
				s.Engine().Tell(ref(t, s, "ann"), func(c *engine.Conn) {
					b := make([]byte, size)
					for i := uint32(0); c.Open() && i < most/size; i++ {
						binary.BigEndian.PutUint32(b, i)
						c.Deliver(engine.Push{Cmd: 20, Payload: b})
					}
				})
				await(t, "the end, and that little is kept", func() bool {
					st := s.Engine().Stats()
					return st.Closed[tt.why] == 1 && st.Dropped[engine.DropClosing] > 0 && st.Accounts[engine.KindUnsent] < 64<<10
				})
				n := uint32(0)
				for ; ; n++ {
					g := p.want()
					if g.cmd != 20 {
						if m := p.decode(g.body); g.typ != 3 || g.cmd != 0 || m.number("code") != 1 || m.text("msg") != tt.why.String() {
							t.Fatalf("got %+v (%v) behind %d pushes, want a Close with code 1", g, m, n)
						}
						break
					}
					if len(g.body) != size || binary.BigEndian.Uint32(g.body) != n {
						t.Fatalf("push %d has %d bytes: %x...", n, len(g.body), g.body[:4])
					}
				}
				p.wantEnd()
				if n == 0 {
					t.Error("no push came")
				}
			})
		}
	}
}

// ref returns the connection of a user who has one.
func ref(t *testing.T, s *server.Server, user string) engine.Ref {
	t.Helper()
	refs := s.Gateway().Connections(nil, user)
	if len(refs) != 1 {
		t.Fatalf("%s has %d connections", user, len(refs))
	}
	return refs[0]
}
