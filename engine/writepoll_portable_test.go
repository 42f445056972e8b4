//go:build portable

package engine

import "time"

// closeSettles is how long the poller may keep a closed descriptor's file open.
const closeSettles = 5 * pollWait * time.Millisecond
