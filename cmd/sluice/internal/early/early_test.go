package hangup

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	for _, args := range [][]string{nil, {"sluice"}, {"sluice", "check"}, {"sluice", "--help", "serve"}} {
		if c := listen(args); c != nil {
			t.Errorf("%q: SIGHUP is kept", args)
		}
	}
	c := listen([]string{"sluice", "serve", "--dev"})
	defer signal.Stop(c)
	for range 3 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Error("the signal is lost")
	}
}

// TestEarly: SIGHUP is listened to before the packages that take their time. The runtime says in which
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
	here := made["github.com/sluicenet/sluice/cmd/sluice/internal/hangup"]
	for _, slow := range []string{"net/netip", "google.golang.org/protobuf/internal/impl", "github.com/prometheus/client_model/go", "main"} {
		if here == 0 || made[slow] == 0 || here > made[slow] {
			t.Errorf("made as %d, %s as %d", here, slow, made[slow])
		}
	}
}
