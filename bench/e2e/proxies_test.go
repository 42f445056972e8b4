package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// program returns the path of a proxy. Where it is missing it is installed, as root on Debian with
// INTEROP_INSTALL=1, or the test is skipped.
func program(t *testing.T, name string, packages ...string) string {
	t.Helper()
	find := func() string {
		for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
			if path := filepath.Join(dir, name); isFile(path) {
				return path
			}
		}
		return ""
	}
	if path := find(); path != "" {
		return path
	}
	if os.Getenv("INTEROP_INSTALL") != "1" || os.Geteuid() != 0 {
		t.Skipf("no %s here: install %s, or, as root on Debian, set INTEROP_INSTALL=1", name, strings.Join(packages, " and "))
	}
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.Command("apt-get", append([]string{"-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::http::Timeout=20"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("%s cannot be installed: apt-get %v: %v\n%s", name, args, err, out[max(0, len(out)-2048):])
		}
	}
	path := find()
	if path == "" {
		t.Skipf("%s is not in the packages %v", name, packages)
	}
	return path
}

func isFile(path string) bool {
	f, err := os.Stat(path)
	return err == nil && f.Mode().IsRegular()
}

// freePorts returns addresses on loopback that nobody listens on.
func freePorts(t *testing.T, n int) (addrs []any) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs
}

// startProxy runs a proxy until the end of the test, and waits until it listens on addrs.
func startProxy(t *testing.T, addrs []any, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	said := new(syncbuf.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", path, said)
		}
	})
	for _, addr := range addrs {
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if c, err := net.Dial("tcp", addr.(string)); err == nil {
				c.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not listen on %s:\n%s", path, addr, said)
			}
		}
	}
}

// httpProxy is where proxies connect from that speak HTTP. Their clients are at 127.0.0.1, which nobody
// vouches for.
const httpProxy = "127.0.0.9"

// behindProxies is a gateway with a listener of proxies and one of HTTP proxies, whose worker is told of
// those who connect.
func behindProxies(t *testing.T) (p *process, l *workerLink, proxied, web string) {
	t.Helper()
	p = startServe(t, "--login", "open", "--open-worker", "1", "--listen", "tcp://127.0.0.1:0",
		"--listen", "tcp://127.0.0.1:0?proxy=on", "--listen", "ws://127.0.0.1:0",
		"--proxy-trust", "127.0.0.1", "--forwarded-trust", httpProxy)
	var real struct{ Listen []string }
	if err := json.Unmarshal(p.ports, &real); err != nil || len(real.Listen) != 3 {
		t.Fatalf("%s: %v", p.ports, err)
	}
	var hosts []string
	for _, text := range real.Listen {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, u.Host)
	}
	return p, p.workerFor(t, 1), hosts[1], hosts[2]
}

// at is the gateway as clients reach it at another address.
func (p *process) at(addr string) *process {
	return &process{tb: p.tb, cmd: p.cmd, addr: addr, stderr: p.stderr, exited: p.exited}
}

// wantPeer has a GOSOC client connect from a source by way of addr, be served, and be known by that.
func wantPeer(t *testing.T, p *process, l *workerLink, addr, source string) {
	t.Helper()
	d := &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	via := p.at(addr)
	c, err := via.openWith(t, d, modes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer via.closeClients()
	c.write(modes[0].connect(0, token("ann")))
	c.wantConnAck(accepted)
	if got := l.event(workerConnOpen).text(4); got != source {
		t.Errorf("through %s: the client is %q, want %s", addr, got, source)
	}
}

// wantWebPeer is wantPeer over WebSocket, with header lines of the client's own.
func wantWebPeer(t *testing.T, p *process, l *workerLink, addr, want string, lines ...string) {
	t.Helper()
	c := p.at(addr).netsvrOpen(t, "/netsvr", lines...)
	if got := l.event(workerConnOpen).text(4); got != want {
		t.Errorf("through %s with %q: the client is %q, want %s", addr, lines, got, want)
	}
	c.hangUp()
}

// TestHAProxy: the gateway behind haproxy, which sends both versions of the PROXY header, checks its
// health with it, and proxies HTTP.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	haproxy := program(t, "haproxy", "haproxy")
	p, l, proxied, web := behindProxies(t)
	addrs := freePorts(t, 3)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`
global
  maxconn 200
defaults
  mode tcp
  timeout connect 10s
  timeout client 1m
  timeout server 1m
listen v1
  bind %s
  server sluice %[4]s send-proxy
listen v2
  bind %[2]s
  unique-id-format %%{+X}o\ %%ci:%%cp
  server sluice %[4]s check inter 100ms send-proxy-v2 check-send-proxy proxy-v2-options crc32c,unique-id
listen http
  bind %[3]s
  mode http
  option forwardfor
  timeout tunnel 1m
  server sluice %[5]s source %[6]s
`, addrs[0], addrs[1], addrs[2], proxied, web, httpProxy)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	startProxy(t, addrs, haproxy, "-db", "-f", config)
	for _, addr := range addrs[:2] {
		for _, source := range []string{"127.0.0.5", "127.0.0.6"} {
			wantPeer(t, p, l, addr.(string), source)
		}
	}
	// What the client says of itself comes before what haproxy adds, in a line of its own.
	for _, own := range []string{"Accept: */*", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 6.6.6.6, 127.0.0.9", "X-Forwarded-For: unknown"} {
		wantWebPeer(t, p, l, addrs[2].(string), "127.0.0.1", own)
	}
	wantWebPeer(t, p, l, web, "127.0.0.1", "X-Forwarded-For: 6.6.6.6") // without a proxy
	if log := p.stderr.String(); strings.Contains(log, "proxy-header") || strings.Contains(log, "proxy-timeout") {
		t.Errorf("health checks are no mistakes:\n%s", tail(log))
	}
}

// TestNginx: the gateway behind nginx, as a proxy of TCP and of WebSocket.
func TestNginx(t *testing.T) {
	t.Parallel()
	nginx := program(t, "nginx", "nginx-light", "libnginx-mod-stream")
	const module = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if !isFile(module) {
		t.Skip("nginx has no module for TCP here: install libnginx-mod-stream")
	}
	p, l, proxied, web := behindProxies(t)
	addrs := freePorts(t, 3)
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
load_module %[2]s;
events { worker_connections 256; }
stream {
  server {
    listen %[3]s;
    proxy_pass %[6]s;
    proxy_protocol on;
  }
}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  proxy_http_version 1.1;
  proxy_bind %[8]s;
  server {
    listen %[4]s;
    location / {
      proxy_pass http://%[7]s;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
  server {
    listen %[5]s;
    location / {
      proxy_pass http://%[7]s;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header X-Forwarded-For "";
      proxy_set_header Forwarded "$http_forwarded, for=\"[2001:db8::7]:$remote_port\";proto=http";
    }
  }
}
`, dir, module, addrs[0], addrs[1], addrs[2], proxied, web, httpProxy)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	startProxy(t, addrs, nginx, "-p", dir, "-c", config)
	for _, source := range []string{"127.0.0.5", "127.0.0.6"} {
		wantPeer(t, p, l, addrs[0].(string), source)
	}
	for _, own := range []string{"Accept: */*", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Forwarded-For: unknown"} {
		wantWebPeer(t, p, l, addrs[1].(string), "127.0.0.1", own)
	}
	wantWebPeer(t, p, l, addrs[2].(string), "2001:db8::7")
	wantWebPeer(t, p, l, addrs[2].(string), "2001:db8::7", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6")
}
