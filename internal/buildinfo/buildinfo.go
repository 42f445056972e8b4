// Package buildinfo says which version a program is.
package buildinfo

import (
	"cmp"
	"runtime/debug"
)

// Version is the release if there is one, else what the Go toolchain has recorded, else "(devel)".
func Version(release string) string {
	recorded := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		recorded = info.Main.Version
	}
	return cmp.Or(release, recorded, "(devel)")
}
