// Package hangup keeps the SIGHUPs that come while a gateway starts. Without it they would end the
// process until main listens to them, which other packages' variables, large tables among them, come
// before.
package hangup

import (
	"os"
	"os/signal"
	"syscall"
)

// serving is the command whose SIGHUPs are kept. The others end by them.
const serving = "serve"

// signals is made before the packages that import more than this one: it must go on importing next to
// nothing.
var signals = listen(os.Args)

func listen(args []string) chan os.Signal {
	if len(args) < 2 || args[1] != serving {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// Signals returns the channel over which SIGHUPs of sluice serve come; several that nobody has taken
// yet are one. It is nil for other commands.
func Signals() chan os.Signal { return signals }
