package logsink

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is written goes on in the file that was renamed until the name is opened anew, and nothing is
// lost in between.
func TestFileReopen(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := New(f)
	const lines, rotations = 5000, 5
	var wg sync.WaitGroup
	wg.Go(func() {
		for range lines {
			_, _ = s.Write([]byte("line\n"))
			if s.Dropped() > 0 {
				t.Error("lines were dropped")
				return
			}
		}
	})
	for i := range rotations {
		if err := os.Rename(name, name+"."+string(rune('0'+i))); err != nil {
			t.Fatal(err)
		}
		if err := f.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if !s.Close(10 * time.Second) {
		t.Fatal("the sink did not end")
	}
	all := read(t, name)
	for i := range rotations {
		all = read(t, name+"."+string(rune('0'+i))) + all
	}
	if n := strings.Count(all, "line\n"); n != lines || s.Dropped() != 0 || strings.Count(all, "before\n") != 1 {
		t.Errorf("%d lines of %d, %d dropped", n, lines, s.Dropped())
	}
}

// A name that cannot be opened any more leaves the file of before in use.
func TestFileReopenFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "access.log")
	f, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil {
		t.Error("opened anew in a directory that is gone")
	}
	if _, err := f.Write([]byte("line\n")); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(dir+".moved", "access.log")); got != "line\n" {
		t.Errorf("the file of before has %q", got)
	}
}

func TestOpenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, file, want string }{
		{"a pipe that nobody reads", fifo, "a pipe that nobody reads"},
		{"a directory", dir, "is a directory"},
		{"no directory for it", filepath.Join(dir, "none", "access.log"), "no such file"},
	} {
		for what, f := range map[string]func(string) error{
			"OpenFile":  func(name string) error { _, err := OpenFile(name); return err },
			"CheckFile": CheckFile,
		} {
			begun := time.Now()
			if tt.file == fifo && what == "CheckFile" {
				continue // it leaves it alone
			}
			if err := f(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %s: %v, want %s", tt.name, what, err, tt.want)
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("%s: %s took %v", tt.name, what, took)
			}
		}
	}
	name := filepath.Join(dir, "access.log")
	if err := CheckFile(name); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("CheckFile has made the file")
	}
	if f, err := OpenFile(name); err != nil {
		t.Error(err)
	} else if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v: others can read it", info.Mode(), err)
	} else {
		f.Close()
	}
	if err := CheckFile(name); err != nil {
		t.Error(err)
	}
	if f, err := OpenFile("/dev/full"); err == nil { // a full disk
		s := New(f)
		_, _ = s.Write([]byte("line\n"))
		if !s.Close(10*time.Second) || s.Dropped() != 1 {
			t.Errorf("%d lines dropped, want 1", s.Dropped())
		}
		f.Close()
	}
}

// Whoever may use a part of the buffer only leaves the rest to others.
func TestPart(t *testing.T) {
	t.Parallel()
	w := &stuck{release: make(chan struct{})}
	s := New(w)
	part := s.Part()
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 3 * maxPending / len(line) {
		_, _ = part.Write(line)
	}
	before := s.Dropped()
	if before == 0 {
		t.Error("nothing was dropped")
	}
	for range maxPending / 4 / len(line) {
		_, _ = s.Write(line)
	}
	if s.Dropped() != before {
		t.Errorf("%d lines of others were dropped", s.Dropped()-before)
	}
	close(w.release)
	s.Close(10 * time.Second)
}

// A stuck writer waits until it is let go.
type stuck struct{ release chan struct{} }

func (w *stuck) Write(p []byte) (int, error) {
	<-w.release
	return len(p), nil
}
