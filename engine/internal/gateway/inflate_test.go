package gateway_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// attached is a request with an attachment.
func attached(id int, route string, data []byte) []byte {
	plain := request(id, route, "{}")
	body := append(plain[2:len(plain):len(plain)], varint(nil, len(data))...)
	body = append(body, data...)
	return append(varint([]byte{0x6a}, len(body)), body...)
}

// Attachments that are gzip are inflated at their client's rate; those that are not are not counted.
func TestInflateRateOfAttachments(t *testing.T) {
	t.Parallel()
	const size, bodies, rate = 1 << 20, 8, 4 << 20
	for _, tt := range []struct {
		name   string
		data   []byte
		paused bool
	}{
		{"gzip", gzip.Deflate(nil, make([]byte, size)), true},
		{"as it is", make([]byte, size), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Gateway.MaxInflateRate = rate })
			came := make(chan time.Time, bodies)
			if err := s.Handle("upload", func(r *gateway.Request) {
				if len(r.Data) != size {
					t.Errorf("%d bytes", len(r.Data))
				}
				came <- time.Now()
				r.Reply([]byte("{}"))
			}); err != nil {
				t.Fatal(err)
			}
			p := online(t, s, "ann")
			for i := range bodies {
				p.write(attached(i, "upload", tt.data))
			}
			first := <-came
			last := first
			for range bodies - 1 {
				last = <-came
			}
			least := time.Second * (bodies*size - rate - size) / rate
			if d := last.Sub(first); tt.paused && d < least-10*time.Millisecond {
				t.Errorf("all were there after %v, want %v at least", d, least)
			}
			if n := s.Gateway().Stats().InflateHolds; (n > 0) != tt.paused {
				t.Errorf("paused %d times", n)
			}
		})
	}
}

func TestGzipMembersOfAttachments(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.MaxGzipMembers = 3 })
	p := online(t, s, "ann")
	p.write(attached(1, "sluice.Upload", bytes.Repeat(gzip.Deflate(nil, nil), 3)))
	if _, _, err := p.next(); err != nil {
		t.Fatal(err)
	}
	p.write(attached(2, "sluice.Upload", bytes.Repeat(gzip.Deflate(nil, nil), 4)))
	await(t, "the end", func() bool { return s.Engine().Stats().Closed[engine.ReasonGzipMembers] == 1 })
}
