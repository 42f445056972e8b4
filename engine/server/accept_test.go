package server

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A starved listener fails some times before it accepts.
type starved struct {
	net.Listener
	errno syscall.Errno
	left  atomic.Int32
}

func (l *starved) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: os.NewSyscallError("accept4", l.errno)}
	}
	return l.Listener.Accept()
}

// Whatever keeps a listener from accepting for a moment keeps nobody out for good: clients, workers and
// operators are served when it is over, and each failure is counted.
func TestAcceptRecovers(t *testing.T) {
	const failures = 20
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.ECONNABORTED, syscall.EPERM,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			starve := func() *starved {
				l := &starved{Listener: listenTCP(t), errno: errno}
				l.left.Store(failures)
				return l
			}
			clients, workers, operators := starve(), starve(), starve()
			s, addr := begin(t, Config{
				Listeners: []Listener{{Listener: clients}}, WorkerListener: workers, Admin: AdminConfig{Listener: operators}, Dev: true,
			})
			c := dialGOSOC(t, addr, "ann")
			c.ask("sluice.Echo", "1")
			c.wantReply(`{"status":0,"data":1}`)
			attach(t, s, workers.Addr().String())
			code, page := s.get(t, "/metrics")
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, page)
			}
			for _, counter := range []string{"sluice_accept_retries_total", "sluice_worker_accept_retries_total", "sluice_admin_accept_retries_total"} {
				if !strings.Contains(page, "\n"+counter+" 20\n") {
					t.Errorf("%s is not %d", counter, failures)
				}
			}
		})
	}
}

// A listener that was closed by somebody else is no reason to go round and round.
func TestAcceptOnAClosedListener(t *testing.T) {
	ln := listenTCP(t)
	s, _ := begin(t, Config{WorkerListener: ln})
	_ = ln.Close()
	if err := s.Stop(t.Context()); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
