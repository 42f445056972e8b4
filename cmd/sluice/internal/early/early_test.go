package early

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestKeep(t *testing.T) {
	for _, args := range [][]string{nil, {"sluice"}, {"sluice", "check"}, {"sluice", "--help", "serve"}} {
		if s := keep(args); s != (Signals{}) {
			t.Errorf("%q: signals are kept", args)
		}
	}
	s := keep([]string{"sluice", "serve", "--dev"})
	defer s.Stop()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		from := s.Ends
		if sig == syscall.SIGHUP {
			from = s.Hangups
		}
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-from:
			if got != sig {
				t.Errorf("%v came, want %v", got, sig)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%v is lost", sig)
		}
	}
}

// TestEarly: signals are listened to before the packages that take their time. The runtime says in which
// order they are made.
func TestEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	bin := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/sluicenet/sluice/cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(bin, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	made := make(map[string]int)
	for i, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "init" {
			made[f[1]] = i + 1
		}
	}
	here := made["github.com/sluicenet/sluice/cmd/sluice/internal/early"]
	for _, slow := range []string{"net/netip", "google.golang.org/protobuf/internal/impl", "github.com/prometheus/client_model/go", "main"} {
		if here == 0 || made[slow] == 0 || here > made[slow] {
			t.Errorf("made as %d, %s as %d", here, slow, made[slow])
		}
	}
}
