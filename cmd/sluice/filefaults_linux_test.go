package main

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
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
// It is tried in a process of its own, since nothing else can write a file meanwhile, a log of the
// test least of all.
func TestStartOnAFullDisk(t *testing.T) {
	const child = "TEST_ON_A_FULL_DISK"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStartOnAFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
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

// withoutDescriptors runs f while no file can be opened.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Skip(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// Without a descriptor no file is read or made: each says so, a reload leaves in force what was, and
// when there is one again all is as ever.
func TestFilesWithoutDescriptors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("tokens"), []byte("t ann\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	provider, err := login.Parse("tokens:" + at("tokens"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("tokens"), []byte("u ben\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	holds := func(token string) bool {
		_, err := provider.Login(t.Context(), login.Request{Token: token})
		return err == nil
	}
	each := map[string]func() error{
		"a session key": func() error { _, err := loadSessionKey(at("key")); return err },
		"ports":         func() error { return writePorts(at("ports.json"), ports{}) },
		"a provider":    func() error { _, err := login.Parse("tokens:" + at("tokens")); return err },
		"a reload":      func() error { return provider.(login.Reloader).Reload() },
		"a journal": func() error {
			g, err := server.New(server.Config{Listen: []string{"tcp://127.0.0.1:0"}, Gateway: server.GatewayConfig{
				Login: login.Open{}, SessionKey: [32]byte{1}, SessionJournal: at("journal"),
			}})
			if err != nil {
				return err
			}
			if err := g.Start(); err != nil {
				return err
			}
			return g.Stop(t.Context())
		},
	}
	withoutDescriptors(t, func() {
		for what, f := range each {
			if err := f(); err == nil {
				t.Errorf("%s without a descriptor", what)
			}
		}
	})
	if !holds("t") || holds("u") {
		t.Error("a reload that failed has changed the tokens")
	}
	for what, f := range each {
		if err := f(); err != nil {
			t.Errorf("%s afterwards: %v", what, err)
		}
	}
	if holds("t") || !holds("u") {
		t.Error("the tokens were not read again")
	}
}
