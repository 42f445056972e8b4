// Package cgroup reads what the control groups of this process limit, of version 2 and 1, out of a
// file system, which is the machine's or one made up for a test.
//
// A limit holds for a group and all below it, so the least on the way from the process's own group to
// the root is in force.
package cgroup

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// v2Mounts are where the tree of version 2 is, and where it is beside trees of version 1.
var v2Mounts = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}

// each calls f with each of the files of a name in the groups of a controller, the process's own group
// first. v2 and v1 are the file's names in either version; an empty one is not looked for.
func each(root fs.FS, controller, v2, v1 string, f func(name string, text []byte)) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mounts, file := v2Mounts, v2
		if parts[1] != "" {
			if !slices.Contains(strings.Split(parts[1], ","), controller) {
				continue
			}
			mounts, file = []string{path.Join("sys/fs/cgroup", controller)}, v1
			if parts[1] != controller { // cpu,cpuacct has a directory of its own, mostly
				mounts = append(mounts, path.Join("sys/fs/cgroup", parts[1]))
			}
		}
		if file == "" {
			continue
		}
		for _, mount := range mounts {
			if up(root, mount, parts[2], file, f) {
				break
			}
		}
	}
}

// up goes from a group to the root of its tree, and reports whether there was a file. Within a container
// the group may be named as it is outside, and the root be the group.
func up(root fs.FS, mount, group, file string, f func(name string, text []byte)) (found bool) {
	for dir := path.Join("/", group); ; dir = path.Dir(dir) {
		name := path.Join(mount, dir, file)
		if text, err := fs.ReadFile(root, name); err == nil {
			found = true
			f(name, bytes.TrimSpace(text))
		}
		if dir == "/" {
			return found
		}
	}
}

// noLimit is what version 1 has for none: it says so by a very large number.
const noLimit = 1 << 40

// least returns the least of the numbers that are limits, 0 when there is none.
func least(root fs.FS, controller, v2, v1 string) (n int64) {
	each(root, controller, v2, v1, func(_ string, text []byte) {
		v, err := strconv.ParseInt(string(text), 10, 64) // not "max"
		if err == nil && v > 0 && v <= noLimit && (n == 0 || v < n) {
			n = v
		}
	})
	return n
}

// Memory returns the bytes that may be used, 0: any number.
func Memory(root fs.FS) int64 {
	return least(root, "memory", "memory.max", "memory.limit_in_bytes")
}

// MemoryHigh returns the bytes from which the kernel slows the process down to reclaim others, 0: none.
func MemoryHigh(root fs.FS) int64 { return least(root, "memory", "memory.high", "") }

// Processes returns how many processes and threads there may be, 0: any number, and how many are in the
// group that says so.
func Processes(root fs.FS) (limit, now int64) {
	each(root, "pids", "pids.max", "pids.max", func(name string, text []byte) {
		v, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || v <= 0 || limit > 0 && v >= limit {
			return
		}
		limit, now = v, 0
		if text, err := fs.ReadFile(root, path.Join(path.Dir(name), "pids.current")); err == nil {
			now, _ = strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		}
	})
	return limit, now
}

// CPUs returns how many CPUs' time the group may use in a period, 0: all of it. own is the same of the
// process's own group alone, which is where the Go runtime looks for it.
func CPUs(root fs.FS) (cpus, own float64) {
	first := true
	note := func(quota, period float64) {
		v := 0.0
		if quota > 0 && period > 0 {
			v = quota / period
		}
		if first {
			own, first = v, false
		}
		if v > 0 && (cpus == 0 || v < cpus) {
			cpus = v
		}
	}
	number := func(text []byte) float64 {
		v, _ := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64) // 0 of "max"
		return v
	}
	each(root, "cpu", "cpu.max", "", func(_ string, text []byte) {
		quota, period, _ := bytes.Cut(text, []byte(" "))
		note(number(quota), number(period))
	})
	each(root, "cpu", "", "cpu.cfs_quota_us", func(name string, text []byte) {
		period, err := fs.ReadFile(root, path.Join(path.Dir(name), "cpu.cfs_period_us"))
		if err == nil {
			note(number(text), number(period)) // -1: none
		}
	})
	return cpus, own
}

// Throttled returns in how many periods the group was stopped because it had used its time, and how
// many there were.
func Throttled(root fs.FS) (throttled, periods int64) {
	each(root, "cpu", "cpu.stat", "cpu.stat", func(_ string, text []byte) {
		var t, p int64
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch n, _ := strconv.ParseInt(value, 10, 64); name {
			case "nr_throttled":
				t = n
			case "nr_periods":
				p = n
			}
		}
		if t > throttled {
			throttled, periods = t, p
		}
	})
	return throttled, periods
}
