package longbridge_test

import (
	"net"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// metered counts what a client writes and reads.
type metered struct {
	net.Conn
	in, out uint64
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.in += uint64(n)
	return n, err
}

func (m *metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.out += uint64(n)
	return n, err
}

// The counters of bytes, publishes, deliveries and requests agree with what clients saw, also when
// the verdict on a login is waited for and when packets come in pieces.
func TestTrafficCounted(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		s := start(t, func(c *server.Config) {
			if waiting {
				c.Gateway.Login = queue{}
			}
		})
		var sent, received uint64
		const echoes = 20
		for _, f := range forms {
			p := &peer{tb: t, form: f}
			m := &metered{Conn: dialRaw(t, address(s))}
			p.conn, p.r = m, newReader(m)
			if f.framed {
				p.upgrade("/", f.query())
			} else {
				p.raw(f.handshake())
			}
			p.packet(p.req(2, 1, 0, nil, []byte(p.message("token", "ann-"+f.name))), p.req(200, 2, 0, nil, []byte("behind")))
			p.wantResponse(2, 1, 0)
			p.wantResponse(200, 2, 0)
			p.nextID = 2
			p.call(201, `{"topics":["news"]}`)
			for i := range echoes {
				p.nextID++
				wire := p.wire(p.req(200, p.nextID, 0, nil, []byte(strings.Repeat("x", 3000*i))))
				half := len(wire) * i / echoes
				p.write(wire[:half])
				p.write(wire[half:])
				p.wantResponse(200, p.nextID, 0)
			}
			p.call(203, `{"topic":"news","data":1}`)
			p.want() // its own push
			p.call(202, `{"topics":["news"]}`)
			_ = m.Close()
			sent, received = sent+m.out, received+m.in
		}
		n := uint64(len(forms))
		var e engine.Stats
		var g gateway.Stats
		defer func() {
			if t.Failed() {
				t.Logf("%d bytes in, %d out; want %d and %d; %d publishes, %d deliveries, %d requests, %d logins",
					e.BytesIn, e.BytesOut, sent, received, e.Publishes, e.Deliveries, g.Requests, g.Logins)
			}
		}()
		await(t, "the counters", func() bool {
			e, g = s.Engine().Stats(), s.Gateway().Stats()
			return e.BytesIn == sent && e.BytesOut == received && e.Publishes == n && e.Deliveries == n &&
				g.Requests == n*(echoes+4) && g.Logins == n && e.Connections == 0 && e.Topics == 0
		})
	}
}
