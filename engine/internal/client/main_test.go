package client_test

import (
	"flag"
	"os"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/leak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Parallel tests wait for timers of the gateway; their number costs no time.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(leak.Run(m))
}
