package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluicenet/sluice/cmd/sluice/internal/cgroup"
)

func TestContainerLimit(t *testing.T) {
	const v2, v1 = "0::/a/b\n", "5:cpu,memory:/docker/x\n0::/\n"
	for _, tc := range []struct {
		what  string
		files map[string]string
		want  byteSize
	}{
		{"no files", nil, 0},
		{"version 2", map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "536870912\n"}, 512 << 20},
		{"version 2, none", map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "max\n"}, 0},
		{"version 2, a parent's", map[string]string{"proc/self/cgroup": v2,
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "1073741824\n"}, 1 << 30},
		{"version 2, the least", map[string]string{"proc/self/cgroup": v2,
			"sys/fs/cgroup/a/b/memory.max": "2147483648\n", "sys/fs/cgroup/a/memory.max": "1073741824\n"}, 1 << 30},
		{"version 2, within a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, 256 << 20},
		{"version 1", map[string]string{"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "268435456\n"}, 256 << 20},
		{"version 1, within a container", map[string]string{"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, 256 << 20},
		{"version 1, none", map[string]string{"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"rubbish", map[string]string{"proc/self/cgroup": "x\n0::\n" + v2, "sys/fs/cgroup/a/b/memory.max": "much\n"}, 0},
		{"zero", map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "0\n"}, 0},
	} {
		if got := byteSize(cgroup.Memory(container(tc.files))); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.what, got, tc.want)
		}
	}
}

func container(files map[string]string) fs.FS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

// planOf parses a command line of check and plans its memory in a container with a limit, "max" for none.
func planOf(t *testing.T, limit string, args ...string) (*settings, string, error) {
	t.Helper()
	c, err := parse(append([]string{"check", "--dev"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.inputs.locate(); err != nil {
		return nil, "", err
	}
	cmd := c.settings()
	warning, err := cmd.plan(container(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": limit}), c.inputs.isGiven)
	return cmd, warning, err
}

func TestMemoryPlan(t *testing.T) {
	config := filepath.Join(t.TempDir(), "sluice.toml")
	if err := os.WriteFile(config, []byte("backlog-total = \"256MiB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const MiB = 1 << 20
	for _, tc := range []struct {
		what, limit                      string
		args                             []string
		size, total, session, queue, lag byteSize
		warns                            string
	}{
		{"nothing", "max", nil, 0, 256 * MiB, 64 * MiB, 16 * MiB, 16 * MiB, ""},
		{"a size", "max", []string{"--memory", "512MiB"}, 512 * MiB, 128 * MiB, 32 * MiB, 8 * MiB, 8 * MiB, ""},
		{"a large size", "max", []string{"--memory", "4GiB"}, 4096 * MiB, 1024 * MiB, 256 * MiB, 64 * MiB, 64 * MiB, ""},
		{"flags win", "max", []string{"--memory", "1GiB", "--backlog-total", "300MiB", "--lag", "2MiB"},
			1024 * MiB, 300 * MiB, 64 * MiB, 16 * MiB, 2 * MiB, ""},
		{"so do their defaults", "max", []string{"--memory", "4GiB", "--lag", "16MiB"}, 4096 * MiB, 1024 * MiB, 256 * MiB, 64 * MiB, 16 * MiB, ""},
		{"the config file wins", "max", []string{"--memory", "4GiB", "--config", config},
			4096 * MiB, 256 * MiB, 256 * MiB, 64 * MiB, 64 * MiB, ""},
		{"a container", "536870912", nil, 384 * MiB, 96 * MiB, 24 * MiB, 6 * MiB, 6 * MiB, ""},
		{"a large container", "8589934592", nil, 6144 * MiB, 256 * MiB, 64 * MiB, 16 * MiB, 16 * MiB, ""},
		{"a size in a container", "536870912", []string{"--memory", "256MiB"}, 256 * MiB, 64 * MiB, 16 * MiB, 4 * MiB, 4 * MiB, ""},
		{"off in a container", "536870912", []string{"--memory", "off"}, 0, 256 * MiB, 64 * MiB, 16 * MiB, 16 * MiB, ""},
		{"a small container", "67108864", nil, 0, 256 * MiB, 64 * MiB, 16 * MiB, 16 * MiB, "too small"},
		{"a container and flags that do not fit", "536870912", []string{"--backlog-total", "1GiB"},
			0, 1024 * MiB, 64 * MiB, 16 * MiB, 16 * MiB, "three quarters"},
	} {
		cmd, warning, err := planOf(t, tc.limit, tc.args...)
		if err != nil {
			t.Errorf("%s: %v", tc.what, err)
			continue
		}
		if cmd.budget.size != tc.size || cmd.BacklogTotal != tc.total || cmd.SessionTotal != tc.session ||
			cmd.WorkerQueue != tc.queue || cmd.WorkerDelayed != tc.queue || cmd.Lag != tc.lag {
			t.Errorf("%s: %d: total %d, session %d, queue %d, delayed %d, lag %d", tc.what, cmd.budget.size,
				cmd.BacklogTotal, cmd.SessionTotal, cmd.WorkerQueue, cmd.WorkerDelayed, cmd.Lag)
		}
		if tc.warns == "" && warning != "" || !strings.Contains(warning, tc.warns) {
			t.Errorf("%s: warning %q, want %q", tc.what, warning, tc.warns)
		}
	}
	for what, args := range map[string][]string{
		"three quarters": {"--memory", "256MiB", "--backlog-total", "256MiB"},
		"one may have":   {"--memory", "64MiB", "--backlog", "20MiB"},
	} {
		if _, _, err := planOf(t, "max", args...); err == nil || !strings.Contains(err.Error(), "--memory: ") || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: %v, want %q", args, err, what)
		}
	}
}

func TestCheckPrintsMemory(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	var out, errs bytes.Buffer
	const want = "memory 512MiB: backlog-total 128MiB, session-total 32MiB, worker-queue 8MiB a worker, worker-delayed 8MiB a worker, " +
		"lag 8MiB a client; in all 224MiB of at most 384MiB; GOMEMLIMIT 512MiB\nok\n"
	if code := run([]string{"check", "--dev", "--memory", "512MiB"}, &out, &errs); code != exitOK || out.String() != want {
		t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, out.String(), errs.String(), want)
	}
}
