// Package observe looks at processes through /proc: CPU time and resident memory.
//
// # Data flow
//
//	Watch(pids) -> Watcher.Sample, again and again -> Between two of them: Use
//
// CPU time comes from schedstat of all threads, in nanoseconds, where the kernel has it; its split
// into user and system from stat, in ticks of 10 ms.
//
// # Goroutines
//
// None. A Watcher belongs to one goroutine.
package observe

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Watcher watches processes, taken together. No processes is fine: all samples are zero.
type Watcher struct {
	pids []int
	last []Sample // of each process
	gone int      // processes that have ended
	peak int64
}

// A Sample is what the processes have used since they started.
type Sample struct {
	At      time.Duration `json:"-"`
	CPU     time.Duration `json:"cpu_ns"`
	User    time.Duration `json:"user_ns"`
	System  time.Duration `json:"system_ns"`
	RSS     int64         `json:"rss_bytes"`
	Threads int           `json:"threads"`
}

// Use is what they used during a span of time.
type Use struct {
	Span   time.Duration `json:"span_ns"`
	CPU    time.Duration `json:"cpu_ns"`
	User   time.Duration `json:"user_ns"`
	System time.Duration `json:"system_ns"`
	RSS    int64         `json:"rss_bytes"` // at its end
}

// Cores is how many cores were busy on average.
func (u Use) Cores() float64 {
	if u.Span <= 0 {
		return 0
	}
	return float64(u.CPU) / float64(u.Span)
}

// Watch begins to watch. The error is a process that does not exist.
func Watch(pids []int) (*Watcher, error) {
	w := &Watcher{pids: pids, last: make([]Sample, len(pids))}
	for _, pid := range pids {
		if _, err := w.one(pid); err != nil {
			return nil, fmt.Errorf("observe: process %d: %w", pid, err)
		}
	}
	return w, nil
}

// Empty reports whether there is nothing to watch.
func (w *Watcher) Empty() bool { return len(w.pids) == 0 }

// Peak is the most resident memory any sample has seen.
func (w *Watcher) Peak() int64 { return w.peak }

// Gone reports whether there were processes and the last Sample found none of them.
func (w *Watcher) Gone() bool { return w.gone > 0 && w.gone == len(w.pids) }

// Sample looks at the processes now. One that has ended holds no memory any more, and its CPU time
// stays what it was.
func (w *Watcher) Sample() Sample {
	s := Sample{At: monotonic()}
	w.gone = 0
	for i, pid := range w.pids {
		if now, err := w.one(pid); err == nil {
			w.last[i] = now
		} else {
			w.gone++
			w.last[i].RSS, w.last[i].Threads = 0, 0
		}
		last := w.last[i]
		s.CPU += last.CPU
		s.User += last.User
		s.System += last.System
		s.RSS += last.RSS
		s.Threads += last.Threads
	}
	w.peak = max(w.peak, s.RSS)
	return s
}

func (w *Watcher) one(pid int) (s Sample, err error) {
	if s.CPU, s.User, s.System, err = cpu(pid); err == nil {
		s.RSS, s.Threads = memory(pid)
	}
	return s, err
}

// Between is what was used from one sample to the next. The CPU time is split as the ticks say.
func Between(a, b Sample) Use {
	u := Use{Span: b.At - a.At, CPU: b.CPU - a.CPU, User: b.User - a.User, System: b.System - a.System, RSS: b.RSS}
	if ticks := u.User + u.System; ticks > 0 && u.CPU > 0 {
		u.User = time.Duration(float64(u.CPU) * float64(u.User) / float64(ticks))
		u.System = u.CPU - u.User
	}
	return u
}

func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// Self is the CPU time of this process.
func Self() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tick is the unit of stat: USER_HZ is 100 on all of Linux.
const tick = 10 * time.Millisecond

func cpu(pid int) (total, user, system time.Duration, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0, 0, 0, err
	}
	// The second field is the name, which may hold anything; it ends at the last parenthesis.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return 0, 0, 0, fmt.Errorf("observe: %s/stat is cut short", dir)
	}
	if state := f[0][0]; state == 'Z' || state == 'X' { // ended, and its parent has not looked yet
		return 0, 0, 0, os.ErrProcessDone
	}
	user = time.Duration(number(f[11])) * tick
	system = time.Duration(number(f[12])) * tick
	total = user + system
	if ns := scheduled(dir); ns > 0 {
		total = ns
	}
	return total, user, system, nil
}

// scheduled sums what all threads have run, 0 if the kernel does not tell. Threads that ended are
// missed; those of our gateways do not.
func scheduled(dir string) (sum time.Duration) {
	tasks, err := os.ReadDir(dir + "/task")
	if err != nil {
		return 0
	}
	for _, t := range tasks {
		b, err := os.ReadFile(dir + "/task/" + t.Name() + "/schedstat")
		if err != nil {
			continue
		}
		if f := bytes.Fields(b); len(f) > 0 {
			sum += time.Duration(number(f[0]))
		}
	}
	return sum
}

func memory(pid int) (rss int64, threads int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		switch {
		case len(f) < 2:
		case string(f[0]) == "VmRSS:":
			rss = number(f[1]) << 10
		case string(f[0]) == "Threads:":
			threads = int(number(f[1]))
		}
	}
	return rss, threads
}

func number(b []byte) int64 {
	n, _ := strconv.ParseInt(string(b), 10, 64)
	return n
}
