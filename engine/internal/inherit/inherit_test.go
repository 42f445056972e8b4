package inherit

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// TestParse: sockets are found by name and by number, and those of another process are not there.
func TestParse(t *testing.T) {
	t.Parallel()
	three := environment("LISTEN_PID=7", "LISTEN_FDS=3", "LISTEN_FDNAMES=web:admin:web")
	for _, tc := range []struct {
		what   string
		getenv func(string) string
		name   string
		want   []int
		fails  string
	}{
		{"a name", three, "admin", []int{4}, ""},
		{"a name of two", three, "web", []int{3, 5}, ""},
		{"a number", three, "5", []int{5}, ""},
		{"a number that nobody tells of", environment(), "9", []int{9}, ""},
		{"a standard one", three, "2", nil, "want a number from 3 on"},
		{"another name", three, "wb", nil, `no socket "wb" was handed over, but web (3), admin (4), web (5)`},
		{"names that are missing", environment("LISTEN_PID=7", "LISTEN_FDS=2", "LISTEN_FDNAMES=web"), "x", nil, "but web (3),  (4)"},
		{"of another process", environment("LISTEN_PID=8", "LISTEN_FDS=1", "LISTEN_FDNAMES=web"), "web", nil, ErrNone.Error()},
		{"nothing", environment(), "web", nil, ErrNone.Error()},
		{"no number of them", environment("LISTEN_PID=7", "LISTEN_FDS=x"), "web", nil, ErrNone.Error()},
		{"too many", environment("LISTEN_PID=7", "LISTEN_FDS=1000000"), "web", nil, ErrNone.Error()},
		{"less than none", environment("LISTEN_PID=7", "LISTEN_FDS=-1"), "web", nil, ErrNone.Error()},
	} {
		got, err := Parse(tc.getenv, 7).Find(tc.name)
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %v, %v, want %v, %q", tc.what, got, err, tc.want, tc.fails)
		}
	}
	if got := Parse(three, 7).Unused(map[int]bool{3: true, 4: true}); !slices.Equal(got, []string{"web (5)"}) {
		t.Errorf("unused: %v", got)
	}
}

// TestListen: a listener is one of its own on the same socket, and what does not listen is refused.
func TestListen(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	held, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for range 2 { // the second is as the first, which was closed
		ln, err := Listen(int(held.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = net.Dial("tcp", tcp.Addr().String()) }()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		ln.Close()
	}
	if addr, err := Addr(int(held.Fd())); err != nil || addr.String() != tcp.Addr().String() {
		t.Errorf("%v, %v", addr, err)
	}
	path := filepath.Join(t.TempDir(), "s")
	local, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	unixFile, err := local.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer unixFile.Close()
	if ln, err := Listen(int(unixFile.Fd())); err != nil {
		t.Error(err)
	} else {
		ln.Close()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the file of the socket went with the listener: %v", err)
		}
	}
	datagrams, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	udp, err := datagrams.File()
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for fd, want := range map[int]string{
		int(udp.Fd()): "no stream socket that listens", int(null.Fd()): "descriptor " + strconv.Itoa(int(null.Fd())) + " is no socket", 1 << 19: "is no socket",
	} {
		if _, err := Listen(fd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", fd, err, want)
		}
	}
	if _, err := new(Set).Find("web"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}
