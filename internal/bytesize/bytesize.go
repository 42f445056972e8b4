// Package bytesize writes numbers of bytes as flags take them.
package bytesize

// Units returns how many of the largest unit n bytes are that they are a whole number of: KiB, MiB or GiB.
// unit is empty where there is none, and for 0: then count is n.
func Units(n int64) (count int64, unit string) {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n > 0 && n>>u.shift<<u.shift == n {
			return n >> u.shift, u.name
		}
	}
	return n, ""
}
