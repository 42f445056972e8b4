package doctor

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/engine/server"
)

// filesStep is what limits of open files are rounded up to, so that they look like ones.
const filesStep = 1024

// filesFor returns how many files a gateway with these flags has open at so many connections of
// clients, where files may be open.
func (e *exam) filesFor(clients int, files int64) int64 {
	var c server.Config
	c.Engine.Loops = e.loops
	if text := e.Flags.text("worker"); text != "none" {
		c.WorkerListen = text
		if text == "" {
			c.WorkerListen = "tcp://127.0.0.1:0"
		}
	}
	if text := e.Flags.text("admin"); text != "none" {
		c.Admin.Address = "127.0.0.1:0"
	}
	set := func(flag string, field *int) {
		if n, ok := e.Flags.number(flag); ok {
			*field = int(n)
		}
	}
	set("max-refusals", &c.Engine.MaxRefusals)
	set("max-worker-links", &c.Worker.MaxLinks)
	set("max-admin-connections", &c.Admin.MaxConnections)
	return int64(c.DescriptorsFor(clients, int(min(files, math.MaxInt32))))
}

// filesWanted is a limit of open files that leaves room for all that the gateway may have.
func (e *exam) filesWanted() int64 {
	return roundUp(e.filesFor(e.want, math.MaxInt32), filesStep)
}

// fileLimit returns how many files the gateway may open and, in words, who lets it; false: that is not
// known. The one that runs counts first, then the unit that would start it, then this process.
func (e *exam) fileLimit() (limit int64, who string, known bool) {
	if n := e.Gateway.metric("process_max_fds"); n > 0 {
		return int64(n), fmt.Sprintf("the gateway may open %s files and has %s open", number(int64(n)), number(int64(e.Gateway.metric("process_open_fds")))), true
	}
	if value, there := e.unit("LimitNOFILE"); there {
		limit = unitLimit(value)
		return limit, fmt.Sprintf("the unit of systemd lets the gateway open %s files", number(limit)), true
	}
	// A Go program raises its soft limit to the hard one when it starts.
	_, limit, known = e.limit("Max open files")
	if limit < 0 {
		limit = math.MaxInt32
	}
	return limit, fmt.Sprintf("a gateway that is started here may open %s files", number(limit)), known
}

// openFiles looks at how many files the gateway may open: each connection is one.
func (e *exam) openFiles() []Finding {
	limit, who, known := e.fileLimit()
	if !known {
		return nil
	}
	need := e.filesFor(e.want, limit)
	found := fmt.Sprintf("%s; %s take %s", who, plural(e.want, "connection"), number(need))
	if need <= limit {
		return fine("%s", found)
	}
	return is(Error, found, "each connection is an open file; over the limit clients are refused (too-many-clients), whoever they are",
		e.moreFiles(e.filesWanted())...)
}

// moreFiles are the lines that let the gateway open so many files.
func (e *exam) moreFiles(wanted int64) (fix []string) {
	if most, ok := e.number("proc/sys/fs/nr_open"); ok && most < wanted {
		fix = append(fix, sysctl("fs.nr_open", wanted)+"   # first: no process may have more than this")
	}
	return append(fix, fmt.Sprintf("LimitNOFILE=%d   # under [Service] in the unit of systemd", wanted),
		fmt.Sprintf("ulimit -n %d   # or in the shell that starts it, as root where that is over the hard limit", wanted))
}

// defaultFiles is the hard part of DefaultLimitNOFILE of systemd.
const defaultFiles = 512 << 10

// unitLimit reads LimitNOFILE of a unit of systemd, of which the hard part counts: 65536, 1024:65536.
func unitLimit(text string) int64 {
	if _, hard, ok := strings.Cut(text, ":"); ok {
		text = hard
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case text == "infinity":
		return math.MaxInt32
	case err != nil:
		return defaultFiles
	}
	return n
}

// systemFiles looks at how many files the machine may have open in all.
func (e *exam) systemFiles() []Finding {
	most, ok := e.number("proc/sys/fs/file-max")
	used := e.numbers("proc/sys/fs/file-nr") // allocated, free, most
	if !ok || len(used) == 0 {
		return nil
	}
	need := e.filesFor(e.want, math.MaxInt32)
	left := most - used[0]
	if g := e.Gateway; g != nil && e.FilesAreHere {
		left += int64(g.metric("process_open_fds")) // which are among those used
	}
	found := fmt.Sprintf("this machine may have %s files open and has %s", number(most), number(used[0]))
	if left >= need {
		return fine("%s", found)
	}
	return is(Error, fmt.Sprintf("%s; %s take %s more", found, plural(e.want, "connection"), number(need)),
		"when they are used up nobody on this machine can open a file or a connection",
		sysctl("fs.file-max", roundUp(used[0]+need, filesStep)))
}
