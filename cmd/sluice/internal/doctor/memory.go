package doctor

import (
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/cgroup"
)

// planned is the part of a limit that the gateway plans with by --memory auto, in quarters: the kernel
// charges a container for the sockets' buffers, too.
const planned = 3

// budget returns --memory in bytes, 0: none or unknown. It is what the gateway says it has, if it does.
func (e *exam) budget() int64 {
	if e.Gateway != nil {
		return int64(e.Gateway.metric("sluice_memory_limit_bytes"))
	}
	n, _ := e.Flags.size("memory")
	return n
}

// memoryLimit compares what the gateway may use with what there is.
func (e *exam) memoryLimit() []Finding {
	limit, whose := cgroup.Memory(e.root), "the container may use "
	if limit == 0 {
		limit, whose = e.memory, "this machine has "
	}
	if limit == 0 {
		return nil
	}
	text := whose + size(limit)
	budget := e.budget()
	three := limit / 4 * planned
	// Without a budget these two are what is bounded at all.
	total, _ := e.Flags.size("backlog-total")
	sessions, _ := e.Flags.size("session-total")
	killed := "the kernel kills the gateway, and all connections with it, before it has shed anything"
	switch {
	case budget > limit:
		return is(Error, fmt.Sprintf("%s, --memory is %s", text, size(budget)), killed, "--memory "+flagSize(three))
	case budget > three:
		return is(Warning, fmt.Sprintf("%s, --memory is %s", text, size(budget)),
			"sockets' buffers are charged to it, too: three quarters for the gateway is what --memory auto plans with", "--memory "+flagSize(three))
	case budget == 0 && total+sessions > limit:
		return is(Error, fmt.Sprintf("%s; --backlog-total %s and --session-total %s are more", text, size(total), size(sessions)), killed,
			"--memory "+flagSize(three)+"   # and leave both out: they follow")
	}
	if high := cgroup.MemoryHigh(e.root); high > 0 && budget > high {
		return is(Warning, fmt.Sprintf("the container is slowed down from %s on (memory.high), --memory is %s", size(high), size(budget)),
			"the kernel stops it for milliseconds at a time before it sheds anything", "--memory "+flagSize(high/4*planned))
	}
	if g := e.Gateway; g != nil && budget == 0 || e.Flags != nil && budget == 0 {
		return is(Note, text+", and the gateway has no budget (--memory)", "when memory runs out nothing is shed: the kernel ends the process",
			"--memory "+flagSize(three))
	}
	if budget > 0 {
		text += fmt.Sprintf(", --memory is %s", size(budget))
	}
	return fine("%s", text)
}

const hugePages = "sys/kernel/mm/transparent_hugepage/"

// hugePages looks at transparent huge pages. The guide to Go's garbage collector says what goes with
// them: with "always" the kernel may put 2 MiB behind a few KiB that the runtime has given back, unless
// khugepaged is told to fill no holes; and to look for them at each fault stops the program.
func (e *exam) hugePages() []Finding {
	enabled := e.chosen(hugePages + "enabled")
	switch enabled {
	case "":
		return fine("there are no transparent huge pages here")
	case "always":
	default:
		return fine("transparent huge pages: %s", enabled)
	}
	holes, ok := e.number(hugePages + "khugepaged/max_ptes_none")
	if ok && holes > 0 {
		return is(Note, fmt.Sprintf("transparent huge pages: always, and khugepaged fills holes of %s pages (max_ptes_none)", number(holes)),
			"memory that the gateway has given back after a crowd has left comes back as huge pages: it looks larger than it is",
			"echo madvise > /"+hugePages+"enabled", "echo 0 > /"+hugePages+"khugepaged/max_ptes_none")
	}
	if e.chosen(hugePages+"defrag") == "always" {
		return is(Note, "transparent huge pages: always, made at once (defrag)",
			"a loop may stand still while the kernel looks for one", "echo defer+madvise > /"+hugePages+"defrag")
	}
	return fine("transparent huge pages: always, without filling holes")
}

// swap looks for memory that is on a disk.
func (e *exam) swap() []Finding {
	total := e.meminfo("SwapTotal")
	used := total - e.meminfo("SwapFree")
	switch {
	case total == 0:
		return fine("there is no swap")
	case used <= 0:
		return fine("%s of swap, none of it used", size(total))
	}
	return is(Note, fmt.Sprintf("%s of %s of swap are used", size(used), size(total)),
		"a loop whose memory is there stands still for milliseconds at a time, and all its connections with it",
		"MemorySwapMax=0   # under [Service] in the unit of systemd", sysctl("vm.swappiness", 1))
}

// overcommit looks at whether address space is counted as memory. The Go runtime reserves much more of
// it than it uses.
func (e *exam) overcommit() []Finding {
	n, ok := e.number("proc/sys/vm/overcommit_memory")
	if !ok || n != 2 {
		return nil
	}
	left := e.meminfo("CommitLimit") - e.meminfo("Committed_AS")
	return is(Note, fmt.Sprintf("memory is promised no further than there is (vm.overcommit_memory is 2), %s are left", size(left)),
		"the Go runtime may be refused memory, which ends the gateway, while there is some", sysctl("vm.overcommit_memory", 0))
}

// coreDumps looks at where the memory of a gateway that crashes would go.
func (e *exam) coreDumps() []Finding {
	soft, hard, ok := e.limit("Max core file size")
	if !ok || e.Environment["GOTRACEBACK"] != "crash" || soft == 0 && hard == 0 {
		return nil
	}
	pattern, _ := e.text("proc/sys/kernel/core_pattern")
	where := "to " + pattern
	if program, ok := strings.CutPrefix(pattern, "|"); ok {
		where = "to the program " + program
	}
	return is(Note, "GOTRACEBACK=crash: the memory of a gateway that crashes goes "+where,
		"it holds tokens, session keys and what clients have sent", "LimitCORE=0   # under [Service] in the unit of systemd, or ulimit -c 0")
}
