package doctor

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// flagsOf are those of a gateway for this machine alone, with some changed: name=value, and for lists
// again and again.
func flagsOf(changes ...string) Flags {
	f := Flags{
		"dev": {"false"}, "login": {"tokens:/etc/sluice/users"}, "listen": {"tcp://127.0.0.1:7000"}, "worker": {"tcp://127.0.0.1:6061"},
		"admin": {"127.0.0.1:6070"}, "admin-token": {"/etc/sluice/tokens"}, "session-ttl": {"30m"}, "session-key": {"/k"}, "session-journal": {"/j"},
		"drain": {"5s"}, "max-connections-per-address": {"auto"}, "connect-rate-per-address": {"auto"}, "login-failures": {"100/10s"},
		"login-timeout": {"10s"}, "packet-timeout": {"1m"}, "memory": {"1GiB"}, "forwarded-header": {"any"},
	}
	seen := make(map[string]bool)
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		if !seen[name] {
			f[name] = nil
		}
		seen[name] = true
		f[name] = append(f[name], value)
	}
	return f
}

func TestSafeFlags(t *testing.T) {
	in := hosted(nil)
	in.Flags, in.FlagsFrom, in.FilesAreHere = flagsOf(), "a test", true
	if r := Examine(in); r.Errors+r.Warnings+r.Notes > 0 {
		t.Errorf("%+v", r)
	}
	in.Flags = flagsOf("listen=wss://0.0.0.0:443", "netsvr-login=required", "worker=tls://0.0.0.0:6061", "worker-token=/t", "admin=https://0.0.0.0:6070")
	if r := Examine(in); r.Errors+r.Warnings+r.Notes > 0 {
		t.Errorf("over TLS: %+v", r)
	}
}

// TestFlags: what does not go together, one thing at a time.
func TestFlags(t *testing.T) {
	const everywhere = "listen=tcp://0.0.0.0:7000"
	for _, tc := range []struct {
		what     string
		flags    []string
		check    string
		severity Severity
		texts    []string
	}{
		{"open to all", []string{"login=open", everywhere}, "login", Error, []string{"--listen tcp://0.0.0.0:7000", "fix: --login tokens:FILE"}},
		{"open to all over TLS", []string{"login=open", "listen=tls://:7000"}, "login", Error, nil},
		{"open by --dev", []string{"dev=true", "login=", everywhere}, "login", Error, nil},
		{"a second listener", []string{"login=open", "listen=tcp://127.0.0.1:7000", "listen=ws://[::]:80"}, "login", Error, []string{"ws://[::]:80"}},
		{"tokens to another machine in the clear", []string{"login=http://auth.example:81/x"}, "login-tls", Warning,
			[]string{"tokens go to auth.example:81 without TLS", "fix: --login https://"}},
		{"the same in the other form", []string{"login=http:http://10.0.0.1/x"}, "login-tls", Warning, []string{"10.0.0.1"}},
		{"keys in the clear", []string{"login=jwt:aud=x,jwks=http://[2001:db8::1]/k,leeway=1s"}, "login-tls", Warning,
			[]string{"the keys come from [2001:db8::1] without TLS", "fix: --login jwt:jwks=https://"}},
		{"a login service over TLS", []string{"login=https://auth.example/x"}, "login-tls", OK, nil},
		{"keys over TLS", []string{"login=jwt:jwks=https://auth.example/k"}, "login-tls", OK, nil},
		{"keys in a file", []string{"login=jwt:jwks=/etc/http:/k"}, "login-tls", OK, nil},
		{"a login service of this machine", []string{"login=http://127.0.0.1:81/x"}, "login-tls", OK, nil},
		{"keys of this machine", []string{"login=jwt:jwks=http://[::ffff:127.0.0.2]/k"}, "login-tls", OK, nil},
		{"a service of localhost", []string{"login=http://LocalHost.:81"}, "login-tls", OK, nil},
		{"NATS in the clear", []string{"cluster=nats://me:hunter22@n1.example:4222,tls://n2.example,nats://10.0.0.3"}, "cluster-tls", Warning,
			[]string{"n1.example:4222, 10.0.0.3", "publish to every client"}},
		{"NATS in the clear, as a gateway shows it", []string{"cluster=nats://(not shown)@n1.example:4222,nats://(not shown)@127.0.0.1"}, "cluster-tls",
			Warning, []string{"goes to n1.example:4222 without"}},
		{"one server of several flags", []string{"cluster=tls://n1.example", "cluster=nats://n2.example"}, "cluster-tls", Warning, []string{"n2.example"}},
		{"NATS over TLS", []string{"cluster=tls://n1.example:4222"}, "cluster-tls", OK, nil},
		{"NATS with authorities", []string{"cluster=nats://n1.example:4222", "cluster-ca=/etc/ca.pem"}, "cluster-tls", OK, nil},
		{"NATS of this machine", []string{"cluster=nats://127.0.0.1:4222, nats://localhost"}, "cluster-tls", OK, nil},
		{"spans in the clear", []string{"otlp=http://c.example:4318"}, "otlp-tls", Warning, []string{"c.example:4318"}},
		{"spans over TLS", []string{"otlp=https://c.example"}, "otlp-tls", OK, nil},
		{"spans to this machine", []string{"otlp=http://[::1]:4318"}, "otlp-tls", OK, nil},
		{"a service that is called like it", []string{"login=http://localhost.example"}, "login-tls", Warning, nil},
		{"open to this machine", []string{"login=open"}, "login", OK, nil},
		{"open on a socket", []string{"login=open", "listen=unix:///run/s"}, "login", OK, nil},
		{"--dev for others", []string{"dev=true", everywhere}, "login", Warning, []string{"fix: remove --dev"}},
		{"guests", []string{"listen=tls://0.0.0.0:7443"}, "guests", Warning,
			[]string{"--listen tls://0.0.0.0:7443", "fix: --netsvr-login required", "fix: --listen 'tls://0.0.0.0:7443?protocol=gosoc'"}},
		{"guests of a listener with options", []string{"listen=tcp://0.0.0.0:7000?tls=auto"}, "guests", Warning,
			[]string{"fix: --listen 'tcp://0.0.0.0:7000?tls=auto&protocol=gosoc'"}},
		{"guests on netsvr's own listener", []string{"listen=wss://0.0.0.0:7443?protocol=netsvr"}, "guests", Warning, nil},
		{"guests with a certificate, or without", []string{"listen=tls://0.0.0.0:7443?client-cert=optional", "tls-client-ca=/c"}, "guests", Warning, nil},
		{"guests with a certificate", []string{"listen=tls://0.0.0.0:7443", "tls-client-ca=/c"}, "guests", OK, nil},
		{"guests of this machine", nil, "guests", OK, nil},
		{"no guests", []string{"listen=tls://0.0.0.0:7443", "netsvr-login=required"}, "guests", OK, nil},
		{"no netsvr", []string{"listen=tls://0.0.0.0:7443?protocol=gosoc"}, "guests", OK, nil},
		{"in the clear", []string{everywhere}, "client-tls", Warning, []string{"fix: --listen tls://"}},
		{"either way", []string{"listen=tcp://0.0.0.0:7000?tls=auto"}, "client-tls", Warning, nil},
		{"behind a proxy", []string{"listen=tcp://0.0.0.0:7000?proxy=on", "proxy-trust=10.0.0.1"}, "client-tls", Note, nil},
		{"all are workers", []string{"worker=tcp://0.0.0.0:6061"}, "worker-port", Error, []string{"fix: --worker-token FILE"}},
		{"all are allowed", []string{"worker=tls://0.0.0.0:6061", "worker-allow=0.0.0.0/0"}, "worker-port", Error, []string{"--worker-allow 0.0.0.0/0"}},
		{"a token in the clear", []string{"worker=tcp://0.0.0.0:6061", "worker-token=/t"}, "worker-port", Warning, []string{"fix: --worker tls://0.0.0.0:6061"}},
		{"workers in the clear", []string{"worker=tcp://0.0.0.0:6061", "worker-allow=10.0.0.0/8"}, "worker-port", Warning, nil},
		{"workers with certificates", []string{"worker=tls://0.0.0.0:6061", "worker-client-ca=/c"}, "worker-port", OK, nil},
		{"operators without a token", []string{"admin=0.0.0.0:6070", "admin-token="}, "admin-port", Error, []string{"fix: --admin-token FILE"}},
		{"operators in the clear", []string{"admin=0.0.0.0:6070"}, "admin-port", Warning, []string{"fix: --admin https://0.0.0.0:6070"}},
		{"no token at all", []string{"admin-token="}, "admin-port", Note, []string{"fix: --admin-token FILE"}},
		{"no token, for development", []string{"admin-token=", "dev=true"}, "admin-port", OK, nil},
		{"no operators", []string{"admin=none"}, "admin-port", Note, nil},
		{"a socket for operators", []string{"admin=unix:///run/a"}, "admin-port", OK, nil},
		{"everybody is a proxy", []string{"proxy-trust=0.0.0.0/0"}, "proxy-trust", Error, []string{"fix: --proxy-trust"}},
		{"everybody forwards", []string{"forwarded-trust=10.0.0.1", "forwarded-trust=::/0"}, "proxy-trust", Error, []string{"--forwarded-trust ::/0"}},
		{"either header", []string{"forwarded-trust=10.0.0.1"}, "proxy-trust", Note, []string{"fix: --forwarded-header"}},
		{"no limit of an address", []string{everywhere, "max-connections-per-address=0", "login-failures=0"}, "abuse-limits", Warning,
			[]string{"--max-connections-per-address, --login-failures", "fix: --max-connections-per-address auto", "fix: --login-failures 100/10s"}},
		{"no limit, for this machine", []string{"max-connections-per-address=0"}, "session-key", OK, nil},
		{"no limit behind a proxy", []string{everywhere, "packet-timeout=0s", "forwarded-trust=10.0.0.1"}, "abuse-limits", Note, nil},
		{"a file that all can read", []string{"worker-token=/etc/open"}, "secrets", Warning, []string{"/etc/open (--worker-token, mode 0644)", "fix: chmod o= /etc/open"}},
		{"tokens of users that all can read", []string{"login=tokens:/etc/open"}, "secrets", Warning, []string{"/etc/open (--login, mode 0644)", "fix: chmod o= /etc/open"}},
		{"a path that is not clean", []string{"login=tokens:/etc/../etc/open"}, "secrets", Warning, []string{"/etc/open (--login, mode 0644)"}},
		{"a key of JWTs that all can read", []string{"login=jwt:aud=a,secret-file=/etc/open,iss=b"}, "secrets", Warning, []string{"/etc/open (--login, mode 0644)"}},
		{"a public key", []string{"login=jwt:key-file=/etc/open"}, "secrets", OK, nil},
		{"tokens of users that the group reads", []string{"login=tokens:/etc/closed"}, "secrets", OK, nil},
		{"a file of the gateway's directory", []string{"login=tokens:users.txt"}, "secrets", Note, []string{"users.txt (--login) was not looked at", "fix: ls -l users.txt"}},
		{"a key that only its owner reads", []string{"tls-key=/etc/closed"}, "secrets", OK, nil},
		{"sessions end", []string{"session-key="}, "session-key", Note, []string{"30m", "fix: --session-key"}},
		{"tickets are good again", []string{"session-journal="}, "session-key", Note, []string{"fix: --session-journal"}},
		{"a long drain", []string{"drain=2m0s"}, "drain", Note, []string{"2m ", "fix: TimeoutStopSec=122"}},
		{"no drain", []string{"drain=0s"}, "drain", Note, []string{"fix: --drain 5s"}},
		{"too few", []string{"max-connections=5000"}, "max-connections", OK, nil},
		{"a port among others", []string{"listen=tcp://127.0.0.1:40000"}, "port-range", Note, []string{"40000, within 32768 to 60999", "fix: sysctl -w net.ipv4.ip_local_reserved_ports=6061,6070,40000"}},
		{"much memory", []string{"memory=64GiB"}, "memory-limit", Error, []string{"this machine has 32GiB, --memory is 64GiB", "fix: --memory 24GiB"}},
		{"all memory", []string{"memory=32GiB"}, "memory-limit", Warning, []string{"fix: --memory 24GiB"}},
		{"no budget", []string{"memory=0"}, "memory-limit", Note, []string{"fix: --memory 24GiB"}},
		{"more than there is", []string{"memory=off", "backlog-total=34359738368", "session-total=64MiB"}, "memory-limit", Error, []string{"--backlog-total 32GiB"}},
		{"small buffers for a slow tenth", []string{"send-buffer=16777216"}, "send-buffer", Note, []string{"16MiB", "4.0MiB"}},
		{"loops", []string{"loops=8"}, "cpu-quota", OK, []string{"8 loops on 4 CPUs"}},
	} {
		files := good()
		files["etc/open"], files["etc/closed"] = "x", "x"
		in := hosted(nil)
		in.Root = mount(files, map[string]fs.FileMode{"etc/open": 0o644, "etc/closed": 0o640})
		in.Flags, in.FilesAreHere = flagsOf(tc.flags...), true
		expect(t, tc.what, Examine(in), tc.check, tc.severity, tc.texts...)
	}
}

// TestRelativeSecrets: paths begin at the directory of who has given them.
func TestRelativeSecrets(t *testing.T) {
	in := hosted(nil)
	in.Root = mount(map[string]string{"home/ann/users.txt": "x", "home/ann/key": "x"}, map[string]fs.FileMode{"home/ann/users.txt": 0o644, "home/ann/key": 0o600})
	in.FilesAreHere, in.Dir = true, "/home/ann"
	in.Flags = flagsOf("login=tokens:users.txt")
	expect(t, "tokens", Examine(in), "secrets", Warning, "/home/ann/users.txt (--login, mode 0644)", "fix: chmod o= /home/ann/users.txt")
	in.Flags = flagsOf("login=open", "session-key=../ann/./key")
	expect(t, "a key", Examine(in), "secrets", OK)
}

// TestLimitOfConnections: a number of clients that is said to be wanted, and another that is taken.
func TestLimitOfConnections(t *testing.T) {
	in := hosted(nil)
	in.Connections, in.Flags = 10_000, flagsOf("max-connections=5000")
	expect(t, "by flag", Examine(in), "max-connections", Error, "5,000 clients", "fix: --max-connections 10000")
	in.Connections, in.Flags = 100, flagsOf("max-connections=2000000")
	expect(t, "more than files", Examine(in), "max-connections", Warning, "--max-connections 2000000 takes 2,000,292 files, 1,048,576 may be open",
		"fix: LimitNOFILE=2004992", "fix: --max-connections 0")
	in.Connections, in.Flags = 10_000, flagsOf("max-connections=0")
	in.Gateway = &Gateway{Metrics: Metrics{"sluice_connections_limit": 700, "process_max_fds": 1024}}
	expect(t, "by files", Examine(in), "max-connections", Error, "700 clients", "fix: LimitNOFILE=")
	expect(t, "by files", Examine(in), "open-files", Error, "the gateway may open 1,024 files")
}

// TestProxyOfThisMachine: its ports are what bounds all clients.
func TestProxyOfThisMachine(t *testing.T) {
	in := hosted(map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "50000\t55000\n"})
	in.Flags = flagsOf("forwarded-trust=127.0.0.0/8")
	expect(t, "proxy", Examine(in), "port-range", Warning, "the proxy on this machine", `fix: sysctl -w net.ipv4.ip_local_port_range="7001 65535"`)
	in.Root = mount(map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "1024\t65535\n", "proc/sys/net/ipv4/ip_local_reserved_ports": "6000-6070,7000\n"}, nil)
	expect(t, "reserved", Examine(in), "port-range", OK)
}

// TestContainers: what the container may use counts, not what the machine has.
func TestContainers(t *testing.T) {
	for _, tc := range []struct {
		what, limit, high string
		memory            string
		severity          Severity
		texts             []string
	}{
		{"over it", "536870912", "max", "memory=1GiB", Error, []string{"the container may use 512MiB, --memory is 1.0GiB", "fix: --memory 384MiB"}},
		{"within", "2147483648", "max", "memory=1GiB", OK, nil},
		{"slowed down", "2147483648", "805306368", "memory=1GiB", Warning, []string{"768MiB", "memory.high", "fix: --memory 576MiB"}},
	} {
		in := hosted(map[string]string{"sys/fs/cgroup/memory.max": tc.limit, "sys/fs/cgroup/memory.high": tc.high})
		in.Flags = flagsOf(tc.memory)
		expect(t, tc.what, Examine(in), "memory-limit", tc.severity, tc.texts...)
	}
}

// TestStops: how long whoever stops the gateway waits.
func TestStops(t *testing.T) {
	for _, tc := range []struct {
		what     string
		files    map[string]string
		drain    string
		severity Severity
		texts    []string
	}{
		{"a unit", map[string]string{"etc/systemd/system/sluice.service": "[Service]\nTimeoutStopSec=30\n"}, "30s", Warning, []string{"fix: TimeoutStopSec=32"}},
		{"a unit of the package", map[string]string{"lib/systemd/system/sluice.service": "[Service]\nTimeoutStopSec = 1min 30s\n"}, "30s", OK, nil},
		{"a unit with a change", map[string]string{"lib/systemd/system/sluice.service": "[Service]\nTimeoutStopSec=120\n",
			"etc/systemd/system/sluice.service.d/stop.conf": "[Service]\nTimeoutStopSec=10s\n"}, "30s", Warning, []string{"the 10s that systemd waits"}},
		{"a unit that says nothing", map[string]string{"etc/systemd/system/sluice.service": "[Service]\n"}, "89s", Warning, []string{"1m30s"}},
		{"a unit without end", map[string]string{"etc/systemd/system/sluice.service": "[Service]\nTimeoutStopSec=infinity\n"}, "10m", OK, nil},
		{"a pod", map[string]string{"var/run/secrets/kubernetes.io/serviceaccount/token": "x"}, "29s", Warning, []string{"fix: terminationGracePeriodSeconds: 31"}},
		{"a pod with a short drain", map[string]string{"var/run/secrets/kubernetes.io/serviceaccount/token": "x"}, "5s", OK, nil},
	} {
		in := hosted(tc.files)
		in.Flags = flagsOf("drain=" + tc.drain)
		expect(t, tc.what, Examine(in), "drain", tc.severity, tc.texts...)
	}
}

// TestUnitFiles: the limit of the unit counts while no gateway runs.
func TestUnitFiles(t *testing.T) {
	const unit = "etc/systemd/system/sluice.service"
	for text, want := range map[string]struct {
		Severity
		found string
	}{
		"LimitNOFILE=4096": {Error, "the unit of systemd lets the gateway open 4,096 files"}, "LimitNOFILE=1024:1048576": {OK, "1,048,576"},
		"LimitNOFILE=infinity": {OK, "2,147,483,647"}, "Restart=always": {OK, "524,288"},
	} {
		in := hosted(map[string]string{unit: "[Service]\n" + text + "\n"})
		expect(t, text, Examine(in), "open-files", want.Severity, want.found)
	}
}

func TestFlagErrors(t *testing.T) {
	r := Examine(Input{Root: fstest.MapFS{}, System: "plan9", Flags: flagsOf(), FlagsErr: errors.New("--lag: one\n--drain: two")})
	if list := find(r, "flags"); len(list) != 2 || list[1].Found != "--drain: two" || r.Errors != 2 {
		t.Errorf("%+v", list)
	}
}

// TestSecretsOnTheLine: what serve warns of is a warning, and a key on a gateway's command line.
func TestSecretsOnTheLine(t *testing.T) {
	in := Input{Root: fstest.MapFS{}, System: "plan9", Flags: flagsOf("api-key=(not shown)"), FilesAreHere: true}
	expect(t, "in a file", Examine(in), "secrets", OK)
	in.OnLine = []string{"api-key"}
	expect(t, "on the line", Examine(in), "secrets", Warning, "fix: --api-key-file")
	in.Warnings = []string{"--api-key on the command line: everybody"}
	expect(t, "a warning", Examine(in), "flags", Warning, in.Warnings[0])
}

func TestParseFlags(t *testing.T) {
	f, onLine, err := ParseFlags([]byte(`{"config":[{"name":"listen","value":["a","b"]},{"name":"drain","value":"5s"},{"name":"lag","value":"16MiB"},` +
		`{"name":"backlog","value":1048576,"source":"flag"},{"name":"dev","value":true},{"name":"login","value":"","source":"default"},{"name":"route","value":null}]}`))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := f.duration("drain")
	lag, _ := f.size("lag")
	backlog, _ := f.size("backlog")
	if len(f.list("listen")) != 2 || d != 5*time.Second || lag != 16<<20 || backlog != 1<<20 || !f.on("dev") || f.text("login") != "" || f.list("route") != nil || len(onLine) != 1 || onLine[0] != "backlog" {
		t.Errorf("%v, %v", f, onLine)
	}
	if _, ok := f.number("nothing"); ok {
		t.Error("a flag that is not there is a number")
	}
	if _, _, err := ParseFlags([]byte("[]")); err == nil {
		t.Error("a list is taken")
	}
}

func TestUnitTime(t *testing.T) {
	for text, want := range map[string]time.Duration{"90": 90 * time.Second, "1min 30s": 90 * time.Second, "5min": 5 * time.Minute, "2.5s": 2500 * time.Millisecond,
		"infinity": 0, "500ms": 500 * time.Millisecond, "1h": time.Hour, "30sec": 30 * time.Second} {
		if got, err := unitTime(text); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := unitTime("soon"); err == nil {
		t.Error("soon is a time")
	}
}
