package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestNginxUnix: nginx reaches the gateway over a unix socket, where its word counts.
func TestNginxUnix(t *testing.T) {
	t.Parallel()
	nginx := program(t, "nginx", "nginx-light", "libnginx-mod-stream")
	dir := unixDir(t)
	web := filepath.Join(dir, "ws")
	p := startServe(t, "--login", "open", "--open-worker", "1", "--listen", "tcp://127.0.0.1:0", "--listen", "ws+unix://"+web,
		"--forwarded-trust", "unix", "--forwarded-header", "x-forwarded-for", "--max-connections-per-address", "2")
	l := p.workerFor(t, 1)
	addrs := freePorts(t, 1)
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s;
    location / {
      proxy_pass http://unix:%[3]s;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`, dir, addrs[0], web)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	startProxy(t, addrs, nginx, "-p", dir, "-c", config)
	for _, own := range []string{"Accept: */*", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6"} {
		wantWebPeer(t, p, l, addrs[0].(string), "127.0.0.1", own)
	}
	// The limit of an address is the client's.
	through := p.at(addrs[0].(string))
	for range 2 {
		through.netsvrOpen(t, "/netsvr")
	}
	if _, status, body := through.netsvrUpgrade(t, netsvrHead("GET", "/netsvr")); status != 429 {
		t.Errorf("the third of an address: %d %q", status, body)
	}
}
