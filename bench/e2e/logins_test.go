package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A crowd of one address that the login service takes its time for has a quarter of the calls. Who
// comes from another address is in at once.
func TestOneAddressDoesNotTakeAllLogins(t *testing.T) { // not in parallel: it has as long as a call
	const crowd = 100 // a call is given up after 5 s
	release := make(chan struct{})
	var asked atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Token string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(q.Token, "crowd") {
			asked.Add(1)
			<-release
		}
		w.Header().Set("Connection", "close") // the gateway is to have no file open at the end
		fmt.Fprintf(w, `{"user":%q}`, q.Token)
	}))
	t.Cleanup(provider.Close)
	p := startDev(t, "--login", provider.URL, "--login-timeout", "3m")
	from := func(ip string) *client {
		c, err := p.openWith(t, &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}, modes[0])
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := from("127.0.0.2")
	for i := range crowd {
		c := first
		if i > 0 {
			c = from("127.0.0.2")
		}
		c.write(c.mode.connect(0, token(fmt.Sprint("crowd ", i))))
	}
	p.await(func() bool { return asked.Load() == 64 && p.metric(t, "sluice_logins_waiting") == fmt.Sprint(crowd-64) }, "the crowd")
	for i := range 10 {
		c := from("127.0.0.3")
		c.write(c.mode.connect(0, token(fmt.Sprint("honest ", i))))
		c.wantConnAck(accepted)
	}
	if n := asked.Load(); n != 64 {
		t.Errorf("the service was asked about %d of the crowd at once, want 64", n)
	}
	close(release)
	first.wantConnAck(accepted)
	p.await(func() bool { return p.metric(t, "sluice_logins_waiting") == "0" }, "the rest of the crowd")
}

// One token has eight logins at once; the next is told to try again later, and that is counted.
func TestOneTokenDoesNotTakeAllLogins(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		w.Header().Set("Connection", "close")
		io.WriteString(w, `{"user":"ann"}`)
	}))
	t.Cleanup(provider.Close)
	p := startDev(t, "--login", provider.URL, "--login-timeout", "3m", "--gosoc-logins", "many")
	var waiting []*client
	for range 8 {
		c := p.dial(t, modes[0])
		c.write(c.mode.connect(0, token("ann")))
		waiting = append(waiting, c)
	}
	p.await(func() bool { return p.metric(t, "sluice_login_calls") == "8" }, "eight calls")
	c := p.dial(t, modes[0])
	c.write(c.mode.connect(0, token("ann")))
	c.wantConnAck(serverUnavailable)
	c.wantEOF()
	if n := p.metric(t, `sluice_logins_unasked_total{limit="token"}`); n != "1" {
		t.Errorf("%s counted, want 1", n)
	}
	if !strings.Contains(p.stderr.String(), "too many logins with this token") {
		t.Errorf("not in the log\n%s", p.stderr)
	}
	waiting[0].reset() // its place is free once it has gone
	p.await(func() bool { return p.metric(t, "sluice_login_calls") == "7" }, "the end of a call")
	c = p.dial(t, modes[0])
	c.write(c.mode.connect(0, token("ann")))
	close(release)
	c.wantConnAck(accepted)
	for _, c := range waiting[1:] {
		c.wantConnAck(accepted)
	}
}
