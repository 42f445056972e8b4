package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// good is a host on which nothing is to be mended for 10,000 connections.
func good() map[string]string {
	return map[string]string{
		"proc/sys/kernel/osrelease":                    "6.12.0\n",
		"proc/meminfo":                                 "MemTotal:       33554432 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
		"proc/self/limits":                             limits("65536", "1048576", "0"),
		"proc/sys/fs/nr_open":                          "1073741816\n",
		"proc/sys/fs/file-max":                         "9223372036854775807\n",
		"proc/sys/fs/file-nr":                          "2000\t0\t9223372036854775807\n",
		"proc/sys/net/core/somaxconn":                  "4096\n",
		"proc/sys/net/core/wmem_max":                   "4194304\n",
		"proc/sys/net/core/netdev_max_backlog":         "1000\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":        "4096\n",
		"proc/sys/net/ipv4/tcp_syncookies":             "1\n",
		"proc/sys/net/ipv4/tcp_timestamps":             "1\n",
		"proc/sys/net/ipv4/tcp_mem":                    "1572864\t2097152\t3145728\n", // 12 GiB
		"proc/sys/net/ipv4/tcp_rmem":                   "4096\t131072\t6291456\n",
		"proc/sys/net/ipv4/tcp_wmem":                   "4096\t16384\t4194304\n",
		"proc/sys/net/ipv4/tcp_max_orphans":            "131072\n",
		"proc/sys/net/ipv4/ip_local_port_range":        "32768\t60999\n",
		"proc/net/sockstat":                            "sockets: used 300\nTCP: inuse 12 orphan 0 tw 1 alloc 13 mem 17\nUDP: inuse 0 mem 0\n",
		"proc/net/netstat":                             netstat(nil),
		"proc/net/softnet_stat":                        "0000a3b1 00000000 00000002 00000000\n0000a3b1 00000000 00000002 00000000\n",
		hugePages + "enabled":                          "always [madvise] never\n",
		clockDir + "current_clocksource":               "tsc\n",
		clockDir + "available_clocksource":             "tsc hpet acpi_pm \n",
		"proc/sys/vm/overcommit_memory":                "0\n",
		cpuDir + "/cpu0/cpufreq/scaling_governor":      "performance\n",
		cpuDir + "/cpu0/cpufreq/scaling_driver":        "acpi-cpufreq\n",
		"proc/self/cgroup":                             "0::/\n",
		"proc/sys/net/ipv4/ip_local_reserved_ports":    "\n",
		"proc/sys/net/netfilter/nf_conntrack_max":      "262144\n",
		"proc/sys/net/netfilter/nf_conntrack_count":    "40\n",
		"proc/sys/net/netfilter/nf_conntrack_unneeded": "x\n",
	}
}

func limits(soft, hard, core string) string {
	return fmt.Sprintf("Limit                     Soft Limit           Hard Limit           Units     \n"+
		"Max core file size        %-20s %-20s bytes     \nMax open files            %-20s %-20s files     \n", core, core, soft, hard)
}

// netstat is a page with some counters, 0 for the others.
func netstat(values map[string]int) string {
	names, numbers := "TcpExt:", "TcpExt:"
	for _, name := range []string{"SyncookiesSent", "PruneCalled", "RcvPruned", "ListenOverflows", "ListenDrops", "TCPAbortOnMemory", "TCPMemoryPressures", "TCPReqQFullDrop"} {
		names += " " + name
		numbers += fmt.Sprintf(" %d", values[name])
	}
	return names + "\n" + numbers + "\nIpExt: InNoRoutes\nIpExt: 0\n"
}

// mount makes a file system; files of mode, by name, are not of mode 0444.
func mount(files map[string]string, modes map[string]fs.FileMode) fs.FS {
	root := fstest.MapFS{}
	for name, text := range files {
		mode := fs.FileMode(0o444)
		if m, ok := modes[name]; ok {
			mode = m
		}
		root[name] = &fstest.MapFile{Data: []byte(text), Mode: mode}
	}
	return root
}

// hosted is an Input of a host with some files changed; an empty text takes one away.
func hosted(changes map[string]string) Input {
	files := good()
	for name, text := range changes {
		if files[name] = text; text == "" {
			delete(files, name)
		}
	}
	return Input{Root: mount(files, nil), System: "linux", CPUs: 4, PageSize: 4096}
}

// find returns the findings of a check.
func find(r Report, check string) (list []Finding) {
	for _, f := range r.Findings {
		if f.Check == check {
			list = append(list, f)
		}
	}
	return list
}

// expect looks for a finding with a severity and texts in it, of which those that begin with "fix: "
// must be in its fixes.
func expect(t *testing.T, what string, r Report, check string, s Severity, texts ...string) {
	t.Helper()
	list := find(r, check)
	var wrong string
	for _, f := range list {
		if f.Severity != s {
			continue
		}
		all := f.Found + "\n" + f.Why
		for _, line := range f.Fix {
			all += "\nfix: " + line
		}
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(all, text) })
		if len(missing) > 0 {
			wrong = fmt.Sprintf("no %q in %q", missing, all)
			continue
		}
		if s != OK && f.Why == "" {
			t.Errorf("%s: %s: it is not said why it matters", what, check)
		}
		return
	}
	t.Errorf("%s: no %v of %s in %+v; %s", what, s, check, list, wrong)
}

func TestGoodHost(t *testing.T) {
	r := Examine(hosted(nil))
	for _, f := range r.Findings {
		if f.Severity != OK && f.Check != "flags" {
			t.Errorf("%+v", f)
		}
	}
	if r.Errors+r.Warnings != 0 || r.Notes != 1 || r.Connections != DefaultConnections {
		t.Errorf("%+v", r)
	}
	if want := "Linux 6.12.0, 4 CPUs, 32GiB of memory"; r.System != want {
		t.Errorf("the system is %q, want %q", r.System, want)
	}
}

// TestHosts: what is bad on a host, one thing at a time, and the line that fixes it.
func TestHosts(t *testing.T) {
	const (
		v4 = "proc/sys/net/ipv4/"
		nf = "proc/sys/net/netfilter/"
		cg = "sys/fs/cgroup/"
	)
	type files = map[string]string
	for _, tc := range []struct {
		what        string
		files       files
		connections int
		check       string
		severity    Severity
		texts       []string
	}{
		{"few files", files{"proc/self/limits": limits("1024", "4096", "0")}, 0, "open-files", Error,
			[]string{"may open 4,096 files", "10,000 connections take", "too-many-clients", "fix: LimitNOFILE=15360", "fix: ulimit -n 15360"}},
		{"just enough files", files{"proc/self/limits": limits("1024", "16384", "0")}, 0, "open-files", OK, nil},
		{"files without end", files{"proc/self/limits": limits("unlimited", "unlimited", "0")}, 100_000, "open-files", OK, nil},
		{"no process may have more", files{"proc/self/limits": limits("1024", "4096", "0"), "proc/sys/fs/nr_open": "8192\n"}, 0, "open-files", Error,
			[]string{"fix: sysctl -w fs.nr_open=15360"}},
		{"the limits fit what is wanted", files{"proc/self/limits": limits("1024", "16384", "0")}, 100_000, "open-files", Error, []string{"fix: LimitNOFILE=104448"}},
		{"the machine's files", files{"proc/sys/fs/file-max": "9000\n", "proc/sys/fs/file-nr": "1000\t0\t9000\n"}, 0, "system-files", Error,
			[]string{"9,000", "fix: sysctl -w fs.file-max="}},

		{"a short queue", files{"proc/sys/net/core/somaxconn": "128\n"}, 0, "listen-queue", Warning,
			[]string{"128 connections", "1,000 are wanted", "fix: sysctl -w net.core.somaxconn=1024"}},
		{"a short queue for many", nil, 100_000, "listen-queue", Warning, []string{"fix: sysctl -w net.core.somaxconn=16384"}},
		{"a short queue will do for few", files{"proc/sys/net/core/somaxconn": "128\n"}, 1000, "listen-queue", OK, nil},
		{"no cookies", files{v4 + "tcp_syncookies": "0\n"}, 0, "syn-queue", Warning, []string{"fix: sysctl -w net.ipv4.tcp_syncookies=1"}},
		{"cookies always", files{v4 + "tcp_syncookies": "2\n"}, 0, "syn-queue", Note, []string{"fix: sysctl -w net.ipv4.tcp_syncookies=1"}},
		{"no timestamps", files{v4 + "tcp_timestamps": "0\n"}, 0, "syn-queue", Note, []string{"fix: sysctl -w net.ipv4.tcp_timestamps=1"}},
		{"a short SYN queue", files{v4 + "tcp_max_syn_backlog": "128\n"}, 0, "syn-queue", OK, []string{"SYN cookies"}},

		// A tenth of 10,000 with 512 KiB each is 500 MiB; 128 MiB are 256 clients.
		{"little memory for TCP", files{v4 + "tcp_mem": "16384\t21845\t32768\n"}, 0, "tcp-memory", Warning,
			[]string{"128MiB", "256 clients", "512KiB each", `fix: sysctl -w net.ipv4.tcp_mem="64002 85336 128004"`, "fix: --send-buffer 64KiB"}},
		{"little memory in the machine, too", files{v4 + "tcp_mem": "16384\t21845\t32768\n", "proc/meminfo": "MemTotal: 524288 kB\n"}, 0, "tcp-memory", Warning,
			[]string{"fix: --send-buffer 64KiB"}},
		{"less than sockets have a right to", files{v4 + "tcp_mem": "1000\t2000\t4000\n"}, 0, "tcp-memory", Error,
			[]string{"16MiB", "78MiB", "fix: sysctl -w net.ipv4.tcp_mem="}},
		// What 800 busy connections have used up: 69 that are full both ways, where 80 may be.
		{"large receive buffers", files{v4 + "tcp_mem": "287898\t383867\t575796\n", v4 + "tcp_rmem": "4096\t131072\t33554432\n"}, 800, "tcp-memory", Note,
			[]string{"2.2GiB", "69 connections", `fix: sysctl -w net.ipv4.tcp_rmem="4096 131072 16777216"`}},
		{"large receive buffers, and it was short", files{v4 + "tcp_mem": "287898\t383867\t575796\n", v4 + "tcp_rmem": "4096\t131072\t33554432\n",
			"proc/net/netstat": netstat(map[string]int{"TCPMemoryPressures": 5})}, 800, "tcp-memory", Warning, []string{"short 5 times"}},
		{"TCP is short now", files{"proc/net/sockstat": "TCP: inuse 9 mem 2200000\n"}, 0, "tcp-memory", Error, []string{"TCP has 8.4GiB now"}},
		{"small send buffers", files{"proc/sys/net/core/wmem_max": "212992\n"}, 0, "send-buffer", Note, []string{"208KiB", "fix: sysctl -w net.core.wmem_max=262144"}},
		{"few orphans", files{v4 + "tcp_max_orphans": "4096\n"}, 0, "orphans", Note, []string{"fix: sysctl -w net.ipv4.tcp_max_orphans=16384"}},
		{"few ports", files{v4 + "ip_local_port_range": "50000\t55000\n"}, 0, "port-range", Note, []string{"5,001", `fix: sysctl -w net.ipv4.ip_local_port_range="1024 65535"`}},
		{"more than there are ports", nil, 100_000, "port-range", Note, []string{"fix: --listen unix://"}},
		{"no conntrack", files{nf + "nf_conntrack_max": "", nf + "nf_conntrack_count": ""}, 0, "conntrack", OK, []string{"not tracked"}},
		{"a small table", files{nf + "nf_conntrack_max": "8192\n"}, 0, "conntrack", Error, []string{"40 of 8,192", "fix: sysctl -w net.netfilter.nf_conntrack_max=32768"}},
		{"a full table", files{nf + "nf_conntrack_count": "260000\n"}, 0, "conntrack", Error, nil},
		{"a table for once", files{nf + "nf_conntrack_max": "16384\n"}, 0, "conntrack", Warning, []string{"not twice", "two minutes"}},
		{"overflows", files{"proc/net/netstat": netstat(map[string]int{"ListenOverflows": 485, "TCPReqQFullDrop": 7})}, 0, "listen-drops", Note,
			[]string{"485 times", "7 SYNs", "fix: sysctl -w net.core.somaxconn=8192"}},
		{"pruned", files{"proc/net/netstat": netstat(map[string]int{"TCPAbortOnMemory": 3, "PruneCalled": 10, "RcvPruned": 1})}, 0, "memory-drops", Note,
			[]string{"3 connections reset", "10 receive buffers", "1 segments"}},
		{"short of memory", files{"proc/net/netstat": netstat(map[string]int{"TCPMemoryPressures": 2}), v4 + "tcp_mem": "1572864\t2097152\t1048576\n"}, 0, "memory-drops", Note,
			[]string{`fix: sysctl -w net.ipv4.tcp_mem="1048578 1398104 2097156"`}},
		{"dropped packets", files{"proc/net/softnet_stat": "00000001 0000000f 0\n00000001 00000001 0\n"}, 0, "packet-drops", Note,
			[]string{"16 packets", "fix: sysctl -w net.core.netdev_max_backlog=2048"}},

		{"huge pages", files{hugePages + "enabled": "[always] madvise never\n", hugePages + "khugepaged/max_ptes_none": "511\n"}, 0, "huge-pages", Note,
			[]string{"511", "fix: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", "fix: echo 0 > "}},
		{"huge pages at once", files{hugePages + "enabled": "[always] madvise never\n", hugePages + "khugepaged/max_ptes_none": "0\n", hugePages + "defrag": "[always] defer\n"},
			0, "huge-pages", Note, []string{"fix: echo defer+madvise"}},
		{"harmless huge pages", files{hugePages + "enabled": "[always] madvise never\n", hugePages + "khugepaged/max_ptes_none": "0\n", hugePages + "defrag": "always [madvise]\n"},
			0, "huge-pages", OK, nil},
		{"swapping", files{"proc/meminfo": "MemTotal: 33554432 kB\nSwapTotal: 2097152 kB\nSwapFree: 1048576 kB\n"}, 0, "swap", Note,
			[]string{"1.0GiB of 2.0GiB", "fix: MemorySwapMax=0", "fix: sysctl -w vm.swappiness=1"}},
		{"unused swap", files{"proc/meminfo": "MemTotal: 33554432 kB\nSwapTotal: 2097152 kB\nSwapFree: 2097152 kB\n"}, 0, "swap", OK, nil},
		{"no overcommit", files{"proc/sys/vm/overcommit_memory": "2\n", "proc/meminfo": "MemTotal: 33554432 kB\nCommitLimit: 2097152 kB\nCommitted_AS: 1048576 kB\n"}, 0, "overcommit", Note,
			[]string{"1.0GiB are left", "fix: sysctl -w vm.overcommit_memory=0"}},

		{"a quota", files{cg + "cpu.max": "150000 100000\n", cg + "cpu.stat": "nr_periods 40\nnr_throttled 3\n"}, 0, "cpu-quota", Note,
			[]string{"1.5 CPUs' time, the gateway 2 loops", "3 of 40 periods"}},
		{"a quota that Go does not see", files{"proc/self/cgroup": "0::/a\n", cg + "cpu.max": "200000 100000\n", cg + "a/cpu.max": "max 100000\n"}, 0, "cpu-quota", Warning,
			[]string{"2 CPUs' time, the gateway 4 loops", "does not see", "fix: --loops 2"}},
		{"few threads", files{cg + "pids.max": "20\n", cg + "pids.current": "5\n"}, 0, "threads", Error, []string{"20 threads", "fix: TasksMax=64"}},
		{"enough threads", files{cg + "pids.max": "200\n", cg + "pids.current": "5\n"}, 0, "threads", OK, nil},
		{"a slow governor", files{cpuDir + "/cpu0/cpufreq/scaling_governor": "powersave\n"}, 0, "governor", Note, []string{"1 CPU run under the governor powersave", "fix: cpupower"}},
		{"powersave that scales", files{cpuDir + "/cpu0/cpufreq/scaling_governor": "powersave\n", cpuDir + "/cpu0/cpufreq/scaling_driver": "intel_pstate\n"}, 0, "governor", OK, nil},
		{"no governor", files{cpuDir + "/cpu0/cpufreq/scaling_governor": ""}, 0, "governor", OK, []string{"virtual"}},
		{"a slow clock", files{clockDir + "current_clocksource": "hpet\n"}, 0, "clock", Warning, []string{"fix: echo tsc > /sys/devices/system/clocksource"}},
		{"a slow clock and no other", files{clockDir + "current_clocksource": "acpi_pm\n", clockDir + "available_clocksource": "acpi_pm\n"}, 0, "clock", Note, nil},
	} {
		in := hosted(tc.files)
		in.Connections = tc.connections
		expect(t, tc.what, Examine(in), tc.check, tc.severity, tc.texts...)
	}
}

// TestGrowing: what moves while the doctor looks is a warning.
func TestGrowing(t *testing.T) {
	files := good()
	files["proc/net/netstat"] = netstat(map[string]int{"ListenOverflows": 5, "PruneCalled": 1})
	root := mount(files, nil).(fstest.MapFS)
	in := Input{Root: root, System: "linux", CPUs: 4, Pause: func() {
		root["proc/net/netstat"] = &fstest.MapFile{Data: []byte(netstat(map[string]int{"ListenOverflows": 8, "PruneCalled": 1}))}
		root["proc/net/softnet_stat"] = &fstest.MapFile{Data: []byte("1 2 0\n")}
	}}
	r := Examine(in)
	expect(t, "growing", r, "listen-drops", Warning, "8 times", "3 of them just now")
	expect(t, "growing", r, "memory-drops", Note, "1 receive buffers")
	expect(t, "growing", r, "packet-drops", Warning, "2 of them just now")
}

// TestOneValue: what is printed first is what is gravest, and two checks that want one setting raised
// name one value.
func TestOneValue(t *testing.T) {
	files := good()
	files["proc/sys/net/ipv4/tcp_mem"] = "20000\t30000\t40000\n"
	files["proc/net/netstat"] = netstat(map[string]int{"TCPMemoryPressures": 3})
	r := Examine(Input{Root: mount(files, nil), System: "linux", CPUs: 4, PageSize: 4096, Connections: 10_000,
		Flags: flagsOf("login=open", "listen=tcp://0.0.0.0:7000")})
	lines := make(map[string]bool)
	for i, f := range r.Findings {
		if i > 0 && f.Severity > r.Findings[i-1].Severity {
			t.Errorf("%v of %s is behind %v of %s", f.Severity, f.Check, r.Findings[i-1].Severity, r.Findings[i-1].Check)
		}
		for _, line := range f.Fix {
			if strings.Contains(line, "tcp_mem=") {
				lines[f.Check], lines[line] = true, true
			}
		}
	}
	if !lines["tcp-memory"] || !lines["memory-drops"] || len(lines) != 3 {
		t.Errorf("two checks and one line are wanted: %v", lines)
	}
	if r.Findings[0].Check != "login" || r.Findings[0].Severity != Error {
		t.Errorf("the first is %+v", r.Findings[0])
	}
}

func TestCoreDumps(t *testing.T) {
	in := hosted(map[string]string{"proc/self/limits": limits("1", "1048576", "unlimited"), "proc/sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P\n"})
	if list := find(Examine(in), "core-dumps"); list != nil {
		t.Errorf("without GOTRACEBACK: %+v", list)
	}
	in.Environment = map[string]string{"GOTRACEBACK": "crash"}
	expect(t, "core", Examine(in), "core-dumps", Note, "the program /usr/lib/systemd/systemd-coredump", "fix: LimitCORE=0")
}

// TestBareHost: nothing of a host can be read, or what can be read is rubbish. Nobody panics.
func TestBareHost(t *testing.T) {
	for what, root := range map[string]fs.FS{"nothing": fstest.MapFS{}, "rubbish": rubbish()} {
		r := Examine(Input{Root: root, System: "linux", CPUs: 1})
		if r.Errors+r.Warnings > 0 {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

func rubbish() fs.FS {
	root := fstest.MapFS{}
	for name := range good() {
		root[name] = &fstest.MapFile{Data: []byte("TCP: mem\nTcpExt:\nMax open files\nMemTotal:\nx y z -\n")}
	}
	return root
}

// TestOtherSystems: what cannot be looked at is said.
func TestOtherSystems(t *testing.T) {
	r := Examine(Input{Root: fstest.MapFS{}, System: "darwin", CPUs: 8, Flags: flagsOf()})
	expect(t, "darwin", r, "host", Note, "this is darwin", "network, memory and CPU were not looked at")
	if r.System != "darwin" || find(r, "tcp-memory") != nil || find(r, "login") == nil {
		t.Errorf("%+v", r)
	}
}

// refusing is a file system in which some files may not be read.
type refusing struct {
	fs.FS
	names []string
}

func (r refusing) Open(name string) (fs.File, error) {
	if slices.Contains(r.names, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.FS.Open(name)
}

func TestUnreadable(t *testing.T) {
	in := hosted(nil)
	in.Root = refusing{in.Root, []string{"proc/sys/net/ipv4/tcp_mem", "proc/sys/fs/file-max"}}
	expect(t, "unreadable", Examine(in), "host", Note, "/proc/sys/fs/file-max, /proc/sys/net/ipv4/tcp_mem", "fix: sudo sluice doctor")
}

func TestWanted(t *testing.T) {
	busy := &Gateway{Metrics: Metrics{"sluice_connections": 20_000}}
	for _, tc := range []struct {
		in   Input
		want int
	}{
		{Input{}, DefaultConnections},
		{Input{Connections: 5}, 5},
		{Input{Flags: flagsOf("max-connections=700")}, 700},
		{Input{Flags: flagsOf("max-connections=0"), Gateway: busy}, 20_000},
		{Input{Connections: 5, Flags: flagsOf("max-connections=700"), Gateway: busy}, 5},
	} {
		tc.in.Root, tc.in.System = fstest.MapFS{}, "plan9"
		if r := Examine(tc.in); r.Connections != tc.want {
			t.Errorf("%+v: for %d connections, want %d", tc.in, r.Connections, tc.want)
		}
	}
}

func TestText(t *testing.T) {
	in := hosted(map[string]string{"proc/sys/net/core/somaxconn": "128\n", clockDir + "current_clocksource": "hpet\n"})
	in.GatewayErr = errors.New("nobody is there \x1b[31m")
	r := Examine(in)
	for _, all := range []bool{false, true} {
		var b strings.Builder
		if err := r.Text(&b, all); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); len([]rune(line)) > columns && !strings.Contains(line, "fix: ") {
				t.Errorf("a line of %d columns: %q", len([]rune(line)), line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%q ends with a blank", line)
			}
		}
		for want, there := range map[string]bool{
			"WARNING  listen-queue: 128 connections may wait": true,
			"\n         fix: sysctl -w net.core.somaxconn=":   true,
			"\n         why: ":                       true,
			"\nok       huge-pages      transparent": all,
			", which --all shows":                    !all,
			"2 warnings, 2 notes; ":                  true,
			"/etc/sysctl.d/":                         true,
			"\x1b":                                   false,
			`\x1b[31m`:                               true,
		} {
			if strings.Contains(text, want) != there {
				t.Errorf("all %v, %q: want %v in\n%s", all, want, there, text)
			}
		}
	}
	r = Examine(Input{Root: mount(good(), nil), System: "linux", CPUs: 4, Flags: flagsOf(), FlagsFrom: "here"})
	var b strings.Builder
	if err := r.Text(&b, false); err != nil || strings.Contains(b.String(), "sysctl.d") {
		t.Errorf("%v, %s", err, b.String())
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", 100: "100"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{512: "512", 65536: "64KiB", 1 << 20: "1MiB", 3 << 29: "1536MiB", 1 << 30: "1GiB", 18<<30 + 5: "18GiB"} {
		if got := flagSize(n); got != want {
			t.Errorf("flagSize(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64][2]int64{1: {1, 1}, 2: {2, 2}, 3: {4, 2}, 1000: {1024, 512}, 1025: {2048, 1024}} {
		if powerAtLeast(n) != want[0] || powerAtMost(n) != want[1] {
			t.Errorf("powers around %d: %d and %d", n, powerAtMost(n), powerAtLeast(n))
		}
	}
	for d, want := range map[time.Duration]string{90 * time.Second: "1m30s", 30 * time.Minute: "30m", 2 * time.Hour: "2h", 5 * time.Second: "5s", 0: "0s"} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}
