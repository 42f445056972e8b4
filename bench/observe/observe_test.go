package observe

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestSelf(t *testing.T) {
	w, err := Watch([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	a := w.Sample()
	for begin := Self(); Self() < begin+60*time.Millisecond; { // of CPU, however long a busy machine takes for it
	}
	b := w.Sample()
	u := Between(a, b)
	if u.CPU < 20*time.Millisecond || u.CPU > u.Span*8 || u.Cores() <= 0 {
		t.Errorf("60 ms of spinning: %+v", u)
	}
	if d := u.User + u.System - u.CPU; u.User+u.System > 0 && d != 0 {
		t.Errorf("user and system are off by %v", d)
	}
	if a.RSS < 1<<20 || a.Threads < 2 || w.Peak() < a.RSS {
		t.Errorf("%+v, peak %d", a, w.Peak())
	}
	if Self() <= 0 {
		t.Error("no CPU time of our own")
	}
}

func TestNobody(t *testing.T) {
	if _, err := Watch([]int{1 << 30}); err == nil {
		t.Error("watches a process that does not exist")
	}
	w, err := Watch(nil)
	if err != nil || !w.Empty() || w.Sample().CPU != 0 {
		t.Errorf("%v", err)
	}
}

func TestProcessThatEnds(t *testing.T) {
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	w, err := Watch([]int{cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	a := w.Sample()
	if a.RSS == 0 || w.Gone() {
		t.Errorf("alive: %+v", a)
	}
	in.Close()
	for begun := time.Now(); !w.Gone() && time.Since(begun) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		w.Sample() // nobody has waited for it: it is a zombie
	}
	_ = cmd.Wait()
	b := w.Sample()
	if !w.Gone() || b.RSS != 0 || b.CPU < a.CPU {
		t.Errorf("ended: %+v after %+v, gone %v", b, a, w.Gone())
	}
}

func TestListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	if pid := Listener(port); pid != os.Getpid() {
		t.Errorf("port %d: process %d, want %d", port, pid, os.Getpid())
	}
	l.Close()
	if pid := Listener(port); pid != 0 {
		t.Errorf("closed port %d: process %d", port, pid)
	}
}

func TestUnixListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b")
	if pid := UnixListener(path); pid != 0 {
		t.Errorf("nobody's socket: process %d", pid)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err) // a long name, on a machine with long ones for its directories
	}
	c, err := net.Dial("unix", path) // whoever is connected is not who listens
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if pid := UnixListener(path); pid != os.Getpid() {
		t.Errorf("process %d, want %d", pid, os.Getpid())
	}
	l.Close()
	if pid := UnixListener(path); pid != 0 {
		t.Errorf("closed: process %d", pid)
	}
}

func TestScrape(t *testing.T) {
	page := "# HELP a_total x\na_total 5\nb_total{r=\"a } b\",s=\"y\"} 7 1700000000\nc_total 3\ngauge 9\nbroken_total\nd_total x\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
		}
		io.WriteString(w, page)
	}))
	defer srv.Close()
	got, err := Scrape(t.Context(), srv.URL+"/metrics")
	want := map[string]float64{"a_total": 5, `b_total{r="a } b",s="y"}`: 7, "c_total": 3}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	if g := Grown(map[string]float64{"a_total": 2, "c_total": 3}, got); g["a_total"] != 3 || len(g) != 2 {
		t.Errorf("grown %v", g)
	}
	if _, err := Scrape(t.Context(), srv.URL+"/nothing"); err == nil {
		t.Error("404 is no error")
	}
}
