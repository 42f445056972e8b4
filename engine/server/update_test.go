package server

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// Another LoginTimeout is that of the connections that come afterwards, whether they say something
// or not, unless Engine.FirstBytes has the word.
func TestUpdateLoginTimeout(t *testing.T) {
	config := Config{}
	s, addr := begin(t, config)
	for _, tt := range []struct{ firstBytes, login time.Duration }{
		{0, 100 * time.Millisecond},
		{100 * time.Millisecond, long},
	} {
		config.Engine.FirstBytes, config.Gateway.LoginTimeout = tt.firstBytes, tt.login
		if err := s.Update(config); err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{"", "\x10", "GET / HTTP/1.1\r\n"} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, said); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("%q at %+v: %v", said, tt, err)
			}
		}
	}
	if n := s.engine.Stats().Closed[engine.ReasonLoginTimeout]; n != 6 {
		t.Errorf("%d login timeouts, want 6", n)
	}
}
