package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is long because machines are busy and
// now and then stand still, and costs nothing when all is well. That something need not wait for a
// timer is shown by a timer that takes several times as long.
const patience = 30 * time.Second

// gatewayBinary is the program under test: built by TestMain, unless SLUICE_BIN names one.
var gatewayBinary string

// slowBuild is set when the gateway is built with flags that make its size and speed say nothing.
var slowBuild bool

// unpaused is set when the gateway is built with the tag portable: it cannot pause reading, says so in its log, and closes clients
// that send too much meanwhile.
var unpaused bool

func TestMain(m *testing.M) {
	if addr := os.Getenv(tripsProcessEnv); addr != "" {
		os.Exit(tripsProcessMain(addr))
	}
	if addr := os.Getenv(readerProcessEnv); addr != "" {
		os.Exit(readerProcessMain(addr))
	}
	if addr := os.Getenv(workerProcessEnv); addr != "" {
		os.Exit(workerProcessMain(addr))
	}
	flag.Parse()
	// Most parallel tests wait for a timer of the gateway; their number costs no time.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if gatewayBinary = os.Getenv("SLUICE_BIN"); gatewayBinary != "" {
		if err := os.Unsetenv("SLUICE_BIN"); err != nil { // the gateway would wonder what it is
			panic(err)
		}
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	gatewayBinary = filepath.Join(dir, "sluice")
	flags := strings.Fields(os.Getenv("E2E_BUILD"))
	slowBuild = len(flags) > 0
	unpaused = slices.ContainsFunc(flags, func(f string) bool { return strings.Contains(f, "portable") })
	args := append([]string{"build", "-o", gatewayBinary}, flags...)
	build := exec.Command("go", append(args, "./cmd/sluice")...)
	build.Dir = filepath.Join("..", "..") // the gateway's own module
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
