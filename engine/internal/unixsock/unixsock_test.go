package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func listens(t *testing.T, path string, o Options) net.Listener {
	t.Helper()
	ln, err := Listen(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// answers reports whether somebody listens on path.
func answers(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// abandon leaves a socket's file behind, as a process that is killed does.
func abandon(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

// What is there already decides whether a path is taken.
func TestWhatIsThere(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // in the error; empty: it listens
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"a socket of one that was killed", abandon, ""},
		{"a listener", func(t *testing.T, path string) { listens(t, path, Options{}) }, "listens there already"},
		{"another's listener", func(t *testing.T, path string) {
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
		}, "listens there already"},
		{"a listener with a full queue", func(t *testing.T, path string) {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Close(fd) })
			if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // one is taken
				if c, err := net.Dial("unix", path); err == nil {
					t.Cleanup(func() { c.Close() })
				}
			}
		}, "listens there already"},
		{"a datagram socket", func(t *testing.T, path string) {
			c, err := net.ListenPacket("unixgram", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}, "socket of another kind"},
		{"a file", func(t *testing.T, path string) { mustDo(t, os.WriteFile(path, []byte("precious"), 0o600)) }, "there is a file already"},
		{"a directory", func(t *testing.T, path string) { mustDo(t, os.Mkdir(path, 0o700)) }, "there is a directory already"},
		{"a link to nothing", func(t *testing.T, path string) { mustDo(t, os.Symlink(path+"x", path)) }, "there is a symbolic link already"},
		{"a pipe", func(t *testing.T, path string) { mustDo(t, syscall.Mkfifo(path, 0o600)) }, "there is something else already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			tt.make(t, path)
			before, _ := os.Lstat(path)
			ln, err := Listen(path, Options{})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !answers(path) {
					t.Error("nobody listens")
				}
				ln.Close()
				if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the file is left behind: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is gone: %v", err)
			}
		})
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A listener takes away no file but its own.
func TestTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old := listens(t, path, Options{})
	mustDo(t, os.Remove(path))
	next := listens(t, path, Options{})
	old.Close()
	if !answers(path) {
		t.Error("the old one has taken the new one's file away")
	}
	next.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file is left behind")
	}
	third := listens(t, path, Options{})
	next.Close() // again
	old.Close()
	if !answers(path) {
		t.Error("a second Close has taken another's file away")
	}
	third.Close()
}

// Behind Unlink nobody connects any more, and who has is accepted still.
func TestUnlink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	waits, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	ln.(Unlinker).Unlink()
	if c, err := net.Dial("unix", path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("connected: %v, %v", c, err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestModeAndOwner(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		o    Options
		want fs.FileMode
	}{
		{"default", Options{}, 0o600},
		{"group", Options{Mode: 0o660}, 0o660},
		{"all", Options{Mode: 0o777}, 0o777},
		{"none but others", Options{Mode: 0o006}, 0o006},
		{"owner", Options{Owner: strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid()), Mode: 0o640}, 0o640},
		{"group alone", Options{Owner: ":" + strconv.Itoa(os.Getgid())}, 0o600},
	} {
		path := filepath.Join(dir, tt.name)
		listens(t, path, tt.o)
		if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.name, st.Mode(), err, tt.want)
		}
	}
	if os.Getuid() == 0 {
		path := filepath.Join(dir, "s")
		listens(t, path, Options{Owner: "nobody:7", Mode: 0o660})
		st, err := os.Lstat(path)
		mustDo(t, err)
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid == 0 || sys.Gid != 7 || st.Mode().Perm() != 0o660 {
			t.Errorf("uid %d, gid %d, %v", sys.Uid, sys.Gid, st.Mode())
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", maxPath))
	for _, tt := range []struct {
		name, path, want string
		o                Options
	}{
		{"no path", "", "no path", Options{}},
		{"relative", "s", "absolute", Options{}},
		{"too long", long, "want at most " + strconv.Itoa(maxPath), Options{}},
		{"no directory", filepath.Join(dir, "none", "s"), "no such file or directory", Options{}},
		{"nobody's name", filepath.Join(dir, "s"), "unknown user", Options{Owner: "no-such-user-here"}},
		{"no group", filepath.Join(dir, "s"), "unknown group", Options{Owner: ":no-such-group-here"}},
		{"a mode with more", filepath.Join(dir, "s"), "want 0 to 0777", Options{Mode: 0o660 | fs.ModeSetuid}},
		{"a zero byte", dir + "/a\x00b", "zero byte", Options{}},
		{"abstract with a mode", "@x", "abstract socket", Options{Mode: 0o600}},
		{"abstract without a name", "@", "no path", Options{}},
	} {
		ln, err := Listen(tt.path, tt.o)
		if err == nil {
			ln.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) && !(tt.path[:1] == "@" && runtime.GOOS != "linux") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The longest path is one that connects.
func TestLongestPath(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "s")
	mustDo(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, strings.Repeat("x", maxPath-len(dir)-1))
	listens(t, path, Options{})
	if !answers(path) {
		t.Error("nobody listens")
	}
}

func TestAbstract(t *testing.T) {
	if !abstractSockets {
		t.Skip("Linux's alone")
	}
	name := "@sluice-test-" + strconv.Itoa(os.Getpid())
	ln := listens(t, name, Options{})
	if !answers(name) {
		t.Error("nobody listens")
	}
	if _, err := Listen(name, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	ln.Close()
	listens(t, name, Options{}).Close()
}

// Of many that start at once on a file that was left behind, one listens, and the file is its own.
func TestRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	abandon(t, path)
	var starting sync.WaitGroup
	var mu sync.Mutex
	var won []net.Listener
	for range 16 {
		starting.Go(func() {
			ln, err := Listen(path, Options{})
			switch {
			case err == nil:
				mu.Lock()
				won = append(won, ln)
				mu.Unlock()
			case !errors.Is(err, ErrInUse):
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if len(won) != 1 || !answers(path) {
		t.Errorf("%d listen, and somebody answers: %v", len(won), answers(path))
	}
	for _, ln := range won {
		ln.Close()
	}
}

func TestPeer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux's alone")
	}
	path := filepath.Join(t.TempDir(), "s")
	ln := listens(t, path, Options{})
	c, err := net.Dial("unix", path)
	mustDo(t, err)
	defer c.Close()
	s, err := ln.Accept()
	mustDo(t, err)
	defer s.Close()
	if pid, uid, ok := Peer(s); !ok || pid != os.Getpid() || int(uid) != os.Getuid() {
		t.Errorf("%d, %d, %v", pid, uid, ok)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
	defer tcp.Close()
	if c, err = net.Dial("tcp", tcp.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, ok := Peer(c); ok {
		t.Error("a TCP peer has a process")
	}
}

func TestParseMode(t *testing.T) {
	for text, want := range map[string]fs.FileMode{"660": 0o660, "0660": 0o660, "777": 0o777, "0": 0, "": 0, "1777": 0, "0o660": 0, "rw": 0, "-1": 0, "888": 0} {
		if got, err := ParseMode(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
