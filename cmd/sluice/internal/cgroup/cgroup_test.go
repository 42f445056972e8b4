package cgroup

import (
	"io/fs"
	"testing"
	"testing/fstest"
)

func machine(files map[string]string) fs.FS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestLimits(t *testing.T) {
	const v2, v1 = "0::/a/b\n", "3:cpu,cpuacct:/docker/x\n4:pids:/docker/x\n5:memory:/docker/x\n0::/\n"
	type want struct {
		memory, high      int64
		pids, now         int64
		cpus, own         float64
		throttled, period int64
	}
	for _, tc := range []struct {
		what  string
		files map[string]string
		want  want
	}{
		{"no files", nil, want{}},
		{"version 2", map[string]string{"proc/self/cgroup": v2,
			"sys/fs/cgroup/a/b/memory.max": "536870912\n", "sys/fs/cgroup/a/b/memory.high": "402653184\n",
			"sys/fs/cgroup/a/b/pids.max": "100\n", "sys/fs/cgroup/a/b/pids.current": "7\n",
			"sys/fs/cgroup/a/b/cpu.max":  "150000 100000\n",
			"sys/fs/cgroup/a/b/cpu.stat": "usage_usec 5\nnr_periods 40\nnr_throttled 3\n"},
			want{512 << 20, 384 << 20, 100, 7, 1.5, 1.5, 3, 40}},
		{"version 2, none", map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/b/memory.high": "max\n", "sys/fs/cgroup/a/b/pids.max": "max\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, want{}},
		{"version 2, a parent's", map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
			"sys/fs/cgroup/a/cpu.max": "200000 100000\n", "sys/fs/cgroup/a/memory.max": "1073741824\n",
			"sys/fs/cgroup/a/b/pids.max": "900\n", "sys/fs/cgroup/a/b/pids.current": "1\n",
			"sys/fs/cgroup/a/pids.max": "800\n", "sys/fs/cgroup/a/pids.current": "9\n"},
			want{memory: 1 << 30, pids: 800, now: 9, cpus: 2}},
		{"version 1", map[string]string{"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes":       "268435456\n",
			"sys/fs/cgroup/pids/docker/x/pids.max":                      "50\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us":       "50000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us":      "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.stat":               "nr_periods 10\nnr_throttled 10\nthrottled_time 1\n",
			"sys/fs/cgroup/memory/docker/memory.limit_in_bytes":         "9223372036854771712\n",
			"sys/fs/cgroup/unified/cgroup.controllers":                  "",
			"sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us":         "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us":        "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/docker/x/unrelated/cpu.nonsense": "1\n"},
			want{256 << 20, 0, 50, 0, .5, .5, 10, 10}},
		{"both, the tree of version 2 aside", map[string]string{"proc/self/cgroup": v1 + v2,
			"sys/fs/cgroup/unified/a/memory.max": "1048576\n"}, want{memory: 1 << 20}},
		{"rubbish", map[string]string{"proc/self/cgroup": "x\n0::\n" + v2, "sys/fs/cgroup/a/b/memory.max": "much\n",
			"sys/fs/cgroup/a/b/cpu.max": "\n", "sys/fs/cgroup/a/b/pids.max": "-5\n", "sys/fs/cgroup/a/b/cpu.stat": "nr_throttled\n"}, want{}},
	} {
		root := machine(tc.files)
		var got want
		got.memory, got.high = Memory(root), MemoryHigh(root)
		got.pids, got.now = Processes(root)
		got.cpus, got.own = CPUs(root)
		got.throttled, got.period = Throttled(root)
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.what, got, tc.want)
		}
	}
}
