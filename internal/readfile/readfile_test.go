package readfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) string {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	pipe := func(name string) string {
		if err := syscall.Mkfifo(path(name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	feed := func(name string, pause time.Duration, texts ...string) string {
		go func() {
			time.Sleep(pause)
			f, err := os.OpenFile(path(name), os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for _, text := range texts {
				time.Sleep(pause)
				_, _ = f.WriteString(text)
			}
		}()
		return path(name)
	}
	// A link to a file is what mounted secrets are.
	if err := os.Symlink(write("target", "linked"), path("link")); err != nil {
		t.Fatal(err)
	}
	const quick = 100 * time.Millisecond
	for _, tc := range []struct {
		name, file string
		timeout    time.Duration
		want, err  string
	}{
		{"a file", write("file", "text"), quick, "text", ""},
		{"an empty file", write("empty", ""), quick, "", ""},
		{"a link", path("link"), quick, "linked", ""},
		{"as long as may be", write("most", strings.Repeat("x", 20)), quick, strings.Repeat("x", 20), ""},
		{"too long", write("long", strings.Repeat("x", 21)), quick, "", "larger than 20 bytes"},
		{"missing", path("none"), quick, "", "none"},
		{"a directory", dir, quick, "", "is a directory"},
		{"a device", "/dev/null", quick, "", "device"},
		{"a device without end", "/dev/zero", quick, "", "device"},
		{"a pipe without a writer", pipe("idle"), quick, "", "has not ended within 100ms"},
		{"a pipe", feed(filepath.Base(pipe("pipe")), 20*time.Millisecond, "one ", "two"), time.Minute, "one two", ""},
		{"a pipe that is too long", feed(filepath.Base(pipe("lots")), 0, strings.Repeat("x", 21)), time.Minute, "", "larger than 20 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := read(tc.file, 20, tc.timeout)
			if string(b) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q, %v; want %q, %q", b, err, tc.want, tc.err)
			}
		})
	}
}

// TestStalledPipe: a writer that does not end is not waited for, either.
func TestStalledPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _ = f.WriteString("half")
	if b, err := read(name, 20, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("%q, %v", b, err)
	}
}

// TestReadNow: what cannot wait does not open a pipe either.
func TestReadNow(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadNow(file, 4); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _ = f.WriteString("text")
	if b, err := ReadNow(pipe, 4); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("%q, %v", b, err)
	}
	b := make([]byte, 8)
	if n, err := f.Read(b); err != nil || string(b[:n]) != "text" {
		t.Errorf("left in the pipe: %q, %v", b[:n], err)
	}
}

// TestGrowing: a file that is written while it is read is not taken for whole, and never hangs.
func TestGrowing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = f.WriteString(strings.Repeat("x", 4096))
			}
		}
	}()
	refused := false
	for !refused {
		_, err := Read(name, 64<<20)
		refused = err != nil
	}
	close(stop)
	<-done
}
