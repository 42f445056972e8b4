package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// withoutRoom runs f while files may not grow beyond so many bytes, as on a disk that is full.
func withoutRoom(t *testing.T, bytes uint64, f func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Skip(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// A disk that is full at the first start leaves no file behind that keeps the next start from making it.
func TestStartOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	key, list := filepath.Join(dir, "key"), filepath.Join(dir, "ports.json")
	withoutRoom(t, 10, func() {
		if _, err := loadSessionKey(key); err == nil {
			t.Error("a key was written where there is no room")
		}
		if err := writePorts(list, ports{Listen: []string{"tcp://127.0.0.1:1"}}); err == nil {
			t.Error("ports were written where there is no room")
		}
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	first, err := loadSessionKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := loadSessionKey(key); err != nil || again != first {
		t.Errorf("another key, %v", err)
	}
	if err := writePorts(list, ports{}); err != nil {
		t.Error(err)
	}
}
