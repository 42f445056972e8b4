package clustertest

import (
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// startDebian starts the nats-server that is installed, which on Debian 12 is 2.9, and returns its URL.
func startDebian(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("nats-server")
	if err != nil {
		t.Skip("no nats-server is installed: apt-get install nats-server")
	}
	port := freePort(t)
	cmd := exec.Command(name, "-a", "127.0.0.1", "-p", fmt.Sprint(port), "-js", "-sd", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	await(t, "nats-server", func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "nats://" + address
}
