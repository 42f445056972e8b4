package clustertest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gatewayBinary is the program under test: built by TestMain, unless SLUICE_BIN names one.
var gatewayBinary string

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(strings.Fields(text)); err != nil {
			fmt.Fprintln(os.Stderr, text+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	// Most parallel tests wait; their number costs no time. Among all of them are some that do not.
	parallel := "16"
	if os.Getenv("CLUSTER_FULL") != "" {
		parallel = "6"
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
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
	dir, err := os.MkdirTemp("", "sluice-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	gatewayBinary = filepath.Join(dir, "sluice")
	args := []string{"build", "-o", gatewayBinary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./cmd/sluice")...)
	build.Dir = filepath.Join("..", "..") // the gateway's own module
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// long skips a test that takes its time, unless CLUSTER_FULL asks for all of them.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("CLUSTER_FULL") == "" {
		t.Skip("CLUSTER_FULL is not set")
	}
}
