package doctor

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/cgroup"
)

// loopCount returns how many event loops the gateway has, or would have here.
func (e *exam) loopCount() int {
	if g := e.Gateway; g != nil && g.Loops() > 0 {
		return g.Loops()
	}
	if n, ok := e.Flags.number("loops"); ok && n > 0 {
		return int(n)
	}
	n := max(e.CPUs, 1)
	if e.System == "linux" {
		// The Go runtime rounds the quota of its own control group up, to 2 at least.
		if _, own := cgroup.CPUs(e.Root); own > 0 {
			n = min(n, max(int(math.Ceil(own)), 2))
		}
	}
	return n
}

// cpuQuota compares the time that the container may use with the loops that want to use it. A group
// that has used its time stands still until the period, 100 ms mostly, is over.
func (e *exam) cpuQuota() []Finding {
	cpus, own := cgroup.CPUs(e.root)
	loops := plural(e.loops, "loop")
	if cpus == 0 {
		return fine("no quota; %s on %s", loops, plural(e.CPUs, "CPU"))
	}
	text := fmt.Sprintf("the container has %s CPUs' time, the gateway %s", strconv.FormatFloat(cpus, 'g', 3, 64), loops)
	if own == 0 || own > cpus {
		text += " (the quota is that of an outer group, which the Go runtime does not see)"
	}
	throttled, periods := cgroup.Throttled(e.root)
	if throttled > 0 {
		text += fmt.Sprintf("; it was stopped in %s of %s periods", number(throttled), number(periods))
	}
	why := "once its time is used up all of it stands still until the period is over, up to 100 ms, and latency shows it"
	fix := fmt.Sprintf("--loops %d", max(int(cpus), 1))
	switch {
	case float64(e.loops) > math.Ceil(cpus):
		return is(Warning, text, why, fix)
	case throttled > 0:
		return is(Note, text, why, "CPUQuota=   # none, under [Service] in the unit of systemd; in Kubernetes leave limits.cpu out")
	}
	return fine("%s", text)
}

// threads looks at how many threads there may be. Each loop waits in a system call, with a thread of
// its own; the rest is the Go runtime's: one for each P, one more than loops, and as many again for
// calls that wait for files and names.
func (e *exam) threads() []Finding {
	limit, now := cgroup.Processes(e.root)
	need := int64(e.loops + 2*(e.loops+1) + 8)
	if limit == 0 {
		return fine("no limit; the gateway has up to %s at work", plural(need, "thread"))
	}
	text := fmt.Sprintf("the container may have %s and has %s", plural(limit, "thread"), number(now))
	if limit-now >= need {
		return fine("%s", text)
	}
	return is(Error, fmt.Sprintf("%s; the gateway wants %s", text, number(need)),
		"a Go program that gets no thread ends at once", fmt.Sprintf("TasksMax=%d   # under [Service] in the unit of systemd; docker: --pids-limit", powerAtLeast(limit+need)))
}

const cpuDir = "sys/devices/system/cpu"

// governor looks at who decides how fast CPUs run.
func (e *exam) governor() []Finding {
	names, _ := fs.Glob(e.root, cpuDir+"/cpu[0-9]*/cpufreq/scaling_governor")
	seen, driver := make(map[string]int), ""
	for _, name := range names {
		if text, ok := e.text(name); ok {
			seen[text]++
		}
		if driver == "" {
			driver, _ = e.text(strings.TrimSuffix(name, "governor") + "driver")
		}
	}
	if len(seen) == 0 {
		return fine("CPU frequencies are not set from here, as in most virtual machines")
	}
	// Under intel_pstate and amd_pstate_epp "powersave" goes up with the load, as "schedutil" does.
	scales := driver == "intel_pstate" || driver == "amd-pstate-epp"
	for name, n := range seen {
		if name == "powersave" && !scales || name == "conservative" {
			return is(Note, fmt.Sprintf("%s run under the governor %s", plural(n, "CPU"), name),
				"they are slow until they have been busy for a while: latency is worse when there is little to do",
				"cpupower frequency-set -g performance", "echo performance | tee /"+cpuDir+"/cpu*/cpufreq/scaling_governor")
		}
	}
	var list []string
	for name := range seen {
		list = append(list, name)
	}
	slices.Sort(list)
	return fine("governor %s (%s)", strings.Join(list, ", "), driver)
}

const clockDir = "sys/devices/system/clocksource/clocksource0/"

// fastClocks can be read without a system call (vDSO). The gateway reads the clock at each turn.
var fastClocks = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource", "timebase", "tod"}

// clock looks at what it takes to read the time.
func (e *exam) clock() []Finding {
	now, ok := e.text(clockDir + "current_clocksource")
	if !ok {
		return nil
	}
	if slices.Contains(fastClocks, now) {
		return fine("clock source %s", now)
	}
	text, _ := e.text(clockDir + "available_clocksource")
	for _, other := range strings.Fields(text) {
		if slices.Contains(fastClocks, other) {
			return is(Warning, fmt.Sprintf("clock source %s, though there is %s", now, other),
				"each look at the clock is a system call and takes a microsecond or more instead of tens of nanoseconds",
				fmt.Sprintf("echo %s > /%scurrent_clocksource", other, clockDir),
				fmt.Sprintf("clocksource=%s   # on the kernel's command line, for good", other))
		}
	}
	return is(Note, "clock source "+now, "each look at the clock is a system call and takes a microsecond or more; this machine has no other")
}
