package unixsock

import (
	"os"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
