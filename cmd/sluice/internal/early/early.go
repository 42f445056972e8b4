// Package early keeps the signals that come while a gateway starts. Without it they would end the
// process, SIGQUIT with the stacks of all goroutines, until main listens to them, which other packages'
// variables, large tables among them, come before.
package early

import (
	"os"
	"os/signal"
	"syscall"
)

// serving is the command whose signals are kept. The others end by them.
const serving = "serve"

// kept is made before the packages that import more than this one: it must go on importing next to
// nothing.
var kept = keep(os.Args)

// Signals are those that a gateway hears. Each kind has a channel of its own, so that none is lost
// behind the others.
type Signals struct {
	Hangups chan os.Signal // SIGHUP: several that nobody has taken yet are one
	Ends    chan os.Signal // SIGTERM, SIGINT and SIGQUIT: two that nobody has taken yet are kept
}

func keep(args []string) Signals {
	if len(args) < 2 || args[1] != serving {
		return Signals{}
	}
	return Listen()
}

// Listen has signals end the process no more, until Stop.
func Listen() Signals {
	s := Signals{Hangups: make(chan os.Signal, 1), Ends: make(chan os.Signal, 2)}
	signal.Notify(s.Hangups, syscall.SIGHUP)
	signal.Notify(s.Ends, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	return s
}

// Stop has signals do what they did before Listen.
func (s Signals) Stop() {
	signal.Stop(s.Hangups)
	signal.Stop(s.Ends)
}

// Kept returns the signals of sluice serve, those among them that have come already. There are none for
// other commands: the channels are nil.
func Kept() Signals { return kept }
