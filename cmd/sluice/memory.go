package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/sluicenet/sluice/cmd/sluice/internal/cgroup"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/bytesize"
)

// memorySize is --memory: a size, auto or off.
type memorySize struct {
	auto bool
	size byteSize // 0: off
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *memorySize) UnmarshalText(text []byte) error {
	switch string(text) {
	case "auto":
		*m = memorySize{auto: true}
	case "off":
		*m = memorySize{}
	default:
		if m.size.UnmarshalText(text) != nil {
			return fmt.Errorf("%q: want a size such as 512MiB, auto or off", text)
		}
		m.auto = false
		if m.size < server.LeastMemory {
			return fmt.Errorf("%s: want at least %s, auto or off", text, sizeText(server.LeastMemory))
		}
	}
	return nil
}

// containerPart is how much of a container's limit the process plans with, in quarters: the kernel
// charges the container for the sockets' buffers, too.
const containerPart = 3

// A budget is what --memory has come to.
type budget struct {
	size      byteSize // 0: none
	container byteSize // the limit it was made from, 0: the flag says it
}

// budget says how much the process may use. root is the file system.
func (m memorySize) budget(root fs.FS) budget {
	if !m.auto {
		return budget{size: m.size}
	}
	limit := byteSize(cgroup.Memory(root))
	size := limit / 4 * containerPart
	if size < server.LeastMemory {
		return budget{container: limit}
	}
	return budget{size, limit}
}

// share sets the limits that depend on the budget and were not given. A container's limit makes none
// larger than its default. On an error nothing has changed.
func (cmd *settings) share(b budget, given func(flag string) bool) error {
	if b.size == 0 {
		return nil
	}
	shares, before := server.ShareMemory(int64(b.size)), *cmd
	for _, s := range []struct {
		flag   string
		target *byteSize
		share  int64
	}{
		{"backlog-total", &cmd.BacklogTotal, shares.BacklogTotal},
		{"session-total", &cmd.SessionTotal, shares.SessionTotal},
		{"worker-queue", &cmd.WorkerQueue, int64(shares.WorkerQueue)},
		{"worker-delayed", &cmd.WorkerDelayed, int64(shares.WorkerDelayed)},
		{"lag", &cmd.Lag, int64(shares.Lag)},
		{"history-total", &cmd.HistoryTotal, shares.HistoryTotal},
	} {
		switch share := byteSize(s.share); {
		case given(s.flag):
		case b.container == 0 || share < *s.target:
			*s.target = share
			cmd.shared = append(cmd.shared, s.flag)
		}
	}
	config := cmd.memoryConfig()
	config.Memory = int64(b.size)
	if err := config.CheckMemory(); err != nil {
		*cmd = before
		return depends(wrong("memory", "%w", err), "backlog-total", "session-total", "worker-queue", "worker-delayed", "lag",
			"history-total", "history")
	}
	cmd.budget = b
	return nil
}

// memoryConfig is config, as far as the budget is concerned.
func (cmd *settings) memoryConfig() (c server.Config) {
	c.Memory = int64(cmd.budget.size)
	c.Engine.Backlog, c.Engine.BacklogTotal, c.Engine.Lag = int(cmd.Backlog), int64(cmd.BacklogTotal), int(cmd.Lag)
	c.Engine.History, _ = cmd.history() // what is wrong with it is said elsewhere
	c.Gateway.SessionTotal = int64(cmd.SessionTotal)
	c.Worker.Queue, c.Worker.Delayed = int(cmd.WorkerQueue), int(cmd.WorkerDelayed)
	return c
}

// plan settles the budget of a command. What a container's limit does not leave room for was asked
// for: then there is no budget, and the text says so.
func (cmd *settings) plan(root fs.FS, given func(flag string) bool) (warning string, err error) {
	b := cmd.Memory.budget(root)
	if b.container > 0 && b.size == 0 {
		return fmt.Sprintf("--memory auto: the container's limit, %s, is too small for a budget: nothing is shed to stay below it",
			sizeText(b.container)), nil
	}
	err = cmd.share(b, given)
	if err != nil && b.container > 0 {
		return fmt.Sprintf("no memory budget is made of the container's limit, %s: %v", sizeText(b.container), err), nil
	}
	return "", err
}

// limitHeap sets the runtime's own limit, unless the environment does.
func (cmd *settings) limitHeap() {
	if cmd.budget.size > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cmd.budget.size))
	}
}

// report says what the budget is and what it is made of, empty when there is none.
func (cmd *settings) report() string {
	b := cmd.budget
	if b.size == 0 {
		return ""
	}
	config := cmd.memoryConfig()
	m := config.MemoryShares()
	from, limit := "", "GOMEMLIMIT as the environment says"
	if b.container > 0 {
		from = fmt.Sprintf(" (three quarters of the container's %s)", sizeText(b.container))
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		limit = "GOMEMLIMIT " + sizeText(b.size)
	}
	history := ""
	if m.HistoryTotal > 0 {
		history = ", history-total " + sizeText(byteSize(m.HistoryTotal))
	}
	return fmt.Sprintf("memory %s%s: backlog-total %s, session-total %s, worker-queue %s a worker, worker-delayed %s a worker, lag %s a client%s; "+
		"in all %s of at most %s; %s",
		sizeText(b.size), from, sizeText(byteSize(m.BacklogTotal)), sizeText(byteSize(m.SessionTotal)),
		sizeText(byteSize(m.WorkerQueue)), sizeText(byteSize(m.WorkerDelayed)), sizeText(byteSize(m.Lag)), history,
		sizeText(byteSize(m.Sum())), sizeText(b.size/4*3), limit)
}

// logBudget logs what the budget is, and what there is to be warned of.
func (cmd *settings) logBudget(log *slog.Logger, warnings []string) {
	for _, text := range warnings {
		log.Warn(text)
	}
	if text := cmd.report(); text != "" {
		log.Info(text)
	}
}

// sizeText writes a size as it may be given.
func sizeText(n byteSize) string {
	count, unit := bytesize.Units(int64(n))
	return strconv.FormatInt(count, 10) + unit
}
