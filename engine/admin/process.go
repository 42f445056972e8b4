package admin

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// collectProcess writes what the system says of the process, under the names that dashboards know.
// What the system does not say is left out.
func collectProcess(p *page) {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		const name = "process_cpu_seconds_total"
		p.family(name, counter, "CPU time, user and system.")
		p.sample(name, seconds(usage.Utime)+seconds(usage.Stime))
	}
	if size, resident, ok := memory(); ok {
		p.gauge("process_virtual_memory_bytes", "Virtual memory.", size)
		p.gauge("process_resident_memory_bytes", "Resident memory.", resident)
	}
	if n, ok := openFiles(); ok {
		p.gauge("process_open_fds", "Open files.", float64(n))
	}
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		p.gauge("process_max_fds", "Files that may be open.", float64(lim.Cur))
	}
	if t, ok := startTime(); ok {
		p.gauge("process_start_time_seconds", "When the process started, in unix time.", t)
	}
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// memory returns virtual and resident memory in bytes.
func memory() (size, resident float64, ok bool) {
	b, err := os.ReadFile("/proc/self/statm")
	f := bytes.Fields(b)
	if err != nil || len(f) < 2 {
		return 0, 0, false
	}
	total, err1 := strconv.ParseUint(string(f[0]), 10, 64)
	here, err2 := strconv.ParseUint(string(f[1]), 10, 64)
	unit := float64(os.Getpagesize())
	return float64(total) * unit, float64(here) * unit, err1 == nil && err2 == nil
}

// openFiles counts the open files. Since Linux 6.2 the directory's size says it; before, a million
// names have to be read.
func openFiles() (n int, ok bool) {
	const dir = "/proc/self/fd"
	if st, err := os.Stat(dir); err == nil && st.Size() > 0 {
		return int(st.Size()), true
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names) - 1, err == nil // d itself
}

// clockTicks is USER_HZ, in which /proc counts: 100 a second on every system that Go runs on.
const clockTicks = 100

// startTime returns when the process started, in unix seconds.
func startTime() (t float64, ok bool) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, false
	}
	// The second field is the command in parentheses, which may hold anything; the 22nd is the start.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseUint(string(f[19]), 10, 64)
	if err != nil {
		return 0, false
	}
	system, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	_, rest, found := bytes.Cut(system, []byte("\nbtime "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	boot, err := strconv.ParseUint(string(line), 10, 64)
	return float64(boot) + float64(ticks)/clockTicks, found && err == nil
}
