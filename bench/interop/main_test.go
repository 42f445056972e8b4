package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is long because machines are busy and
// now and then stand still, and costs nothing when all is well.
const patience = 30 * time.Second

// gatewayBinary is the program under test, built by TestMain.
var gatewayBinary string

// certFile and keyFile are the gateway's certificate and its key, made by TestMain.
var certFile, keyFile string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for timers of the gateway and of the clients; their number costs no time.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	gatewayBinary = filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", gatewayBinary, "./cmd/sluice")
	build.Dir = filepath.Join("..", "..") // the gateway's own module
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "interop: building the gateway: %v\n%s", err, out)
		return 1
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if out, err := exec.Command(gatewayBinary, "cert", "--dev", "--cert", certFile, "--key", keyFile).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "interop: %v\n%s", err, out)
		return 1
	}
	// Clients that trust what the system does trust it, too. It is read when the first one needs it.
	if err := os.Setenv("SSL_CERT_FILE", certFile); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	return m.Run()
}

// await polls until ok, for what no event tells.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}
