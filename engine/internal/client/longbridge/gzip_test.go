package longbridge_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/server"
)

// plain is a packet's body, inflated if it has the gzip bit.
func (p *peer) plain(g got) (body string, zipped bool) {
	p.tb.Helper()
	if g.flags == 0 {
		return string(g.body), false
	}
	r, err := gzip.NewReader(bytes.NewReader(g.body))
	if err != nil {
		p.tb.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		p.tb.Fatal(err)
	}
	return string(b), true
}

// From a size on, bodies to clients are gzip, unless that makes them longer.
func TestGzipTowardsClients(t *testing.T) {
	const from = 4 << 10
	s := start(t, func(c *server.Config) { c.Longbridge.Gzip = from })
	off := start(t, nil)
	noise := make([]byte, 2*from)
	_, _ = rand.Read(noise)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			p.gzip = true
			p.call(201, `{"topics":["news-`+f.name+`"]}`)
			for _, tt := range []struct {
				name, body string
				zipped     bool
			}{
				{"short", strings.Repeat("a", from-1), false},
				{"long", strings.Repeat("a", from), true},
				{"very long", strings.Repeat("some text, ", 100_000), true},
				{"noise", string(noise), false},
			} {
				got := p.wantResponse(200, p.send(200, tt.body), 0)
				if body, zipped := p.plain(got); body != tt.body || zipped != tt.zipped {
					t.Errorf("%s: a response of %d bytes, gzip %v, want %d, %v", tt.name, len(body), zipped, len(tt.body), tt.zipped)
				}
				if err := s.Publish(t.Context(), "news-"+f.name, []byte(tt.body)); err != nil {
					t.Fatal(err)
				}
				got = p.want()
				if body, zipped := p.plain(got); got.typ != 3 || body != tt.body || zipped != tt.zipped {
					t.Errorf("%s: a push of %d bytes, gzip %v, want %d, %v", tt.name, len(body), zipped, len(tt.body), tt.zipped)
				}
			}
			beat := strings.Repeat("b", 2*from)
			if got := p.wantResponse(1, p.send(1, beat), 0); string(got.body) != beat {
				t.Error("a heartbeat did not come back as it was")
			}
			p = online(t, off, f, "ann-"+f.name)
			long := strings.Repeat("a", 1<<20)
			if got := p.wantResponse(200, p.send(200, long), 0); string(got.body) != long {
				t.Error("a response is not as it was, without the option")
			}
		})
	}
}
