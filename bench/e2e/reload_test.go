package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReload: SIGHUP reads the config file and takes it over, all or nothing: it names what cannot
// change, and never says more than it has done.
func TestReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sluice.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte("dev = true\nlisten = \"tcp://127.0.0.1:0\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("user-limit = 3\n")
	operators := filepath.Join(t.TempDir(), "operators") // which do not change
	if err := os.WriteFile(operators, []byte("full "+operatorToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "--config", file, "--max-topics", "5000", "--admin-token", operators)
	seen := 0
	// reload sends SIGHUP and returns what the log says of it.
	reload := func(until string) string {
		t.Helper()
		p.signal(syscall.SIGHUP)
		p.await(func() bool { return strings.Contains(p.stderr.String()[seen:], until) }, until)
		text := p.stderr.String()[seen:]
		seen = len(p.stderr.String())
		return text
	}
	seen = len(p.stderr.String())
	for _, step := range []struct{ name, file, until, without string }{
		{"nothing", "user-limit = 3\n", "reload: nothing has changed", "reloaded"},
		{"the log level", "user-limit = 3\nlog-level = \"debug\"\n", "changed=[log-level]", "cannot change"},
		{"what cannot change", "user-limit = 3\nlog-level = \"debug\"\nloops = 1\nsend-buffer = \"64KiB\"\n", "flags=\"[loops send-buffer]\"", "msg=reloaded"},
		{"both", "user-limit = 4\nlog-level = \"debug\"\nloops = 1\n", "flags=[loops]", "changed="},
		{"a bad value leaves all as it is", "user-limit = 9\nbacklog = \"0\"\n", "reload failed", "msg=reloaded"},
		{"an unknown key", "user-limit = 9\nuser-limits = 9\n", "reload failed", "msg=reloaded"},
		{"bad syntax", "user-limit = \n", "reload failed", "msg=reloaded"},
		{"a shadowed route", "route = [\"*=2\", \"a=3\"]\n", "reload failed", "msg=reloaded"},
		{"the command line is above the file", "user-limit = 3\nlog-level = \"debug\"\nmax-topics = 7\n", "reload: nothing has changed", "reloaded"},
		{"routes and origins", "user-limit = 4\nlog-level = \"debug\"\nroute = [\"a.*=2\"]\nallow-origin = [\"example.com\"]\n", "changed=\"[allow-origin route user-limit]\"", "cannot change"},
		{"in tables", "route = [\"a.*=2\"]\nallow-origin = [\"example.com\"]\n[longbridge]\nuser-limit = 4\n[log]\nlevel = \"info\"\n", "changed=[log-level]", "cannot change"},
	} {
		write(step.file)
		if text := reload(step.until); strings.Contains(text, step.without) {
			t.Errorf("%s: the log says %q", step.name, text)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	reload("reload failed")
	// The origins hold for who connects now.
	for origin, want := range map[string]string{"http://example.com": "101", "http://evil.com": "403"} {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "GET /netsvr HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: %s\r\n\r\n", origin)
		b := make([]byte, 256)
		n, _ := c.Read(b)
		c.Close()
		if !strings.HasPrefix(string(b[:n]), "HTTP/1.1 "+want) {
			t.Errorf("Origin %s: %q, want %s", origin, b[:n], want)
		}
	}
	p.wantServing(t)
}

// TestDescriptorsAreShared: connections of workers and operators that do nothing keep no client out.
func TestDescriptorsAreShared(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"workers", "operators"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			b := startBare(t, null, 512, "--max-admin-connections", "30")
			address := b.worker
			if kind == "operators" {
				address = strings.TrimPrefix(b.admin, "http://")
			}
			for range 700 {
				c, err := net.DialTimeout("tcp", address, patience)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			for i := range 300 { // more than the idle ones would leave, if they were not bounded
				c, err := net.DialTimeout("tcp", b.addr, patience)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				fmt.Fprintf(c, "\x10\x1c\x05GOSOC\x01\x00\x00\x3c\x11{\"token\":\"ann%02x\"}", 100+i%156)
				if n, err := c.Read(make([]byte, 16)); err != nil || n == 0 {
					t.Fatalf("a client was not served: %v", err)
				}
			}
			if status, body := b.get("/livez"); status != http.StatusOK {
				t.Errorf("/livez: %d %s", status, body)
			}
			b.wantEnd(patience)
		})
	}
}
