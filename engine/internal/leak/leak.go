// Package leak runs a package's tests and fails them for what they leave running.
package leak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// endTimeout is how long goroutines may take to end on a machine that stands still for seconds.
const endTimeout = 30 * time.Second

// Run runs the tests, waits for their goroutines to end, and returns the exit code. A goroutine that
// does not end is printed and fails the package.
func Run(m *testing.M) int {
	leaks := []goleak.Option{
		goleak.IgnoreCurrent(),
		// gnet's goroutine pool lives as long as the process, and so do some of its workers.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
	}
	code := m.Run()
	if code != 0 {
		return code
	}
	for deadline := time.Now().Add(endTimeout); ; { // Find waits, too, but a second at most
		err := goleak.Find(leaks...)
		if err == nil {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}
