package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gateway is the program under test: built by TestMain, unless SLUICE_BIN names one.
var gateway string

// full is set when tests may take the time that they have in earnest.
var full = os.Getenv("DEPLOY_FULL") == "1"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if gateway = os.Getenv("SLUICE_BIN"); gateway != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sluice-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	gateway = filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", gateway, "./cmd/sluice")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "deploy: building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// root is the gateway's own module.
const root = "../.."

// packaged returns what a file of packaging/ holds.
func packaged(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(root, "packaging", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
