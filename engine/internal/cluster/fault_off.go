//go:build !faults

package cluster

// fault is the number of a planted fault, of which a build without the tag faults has none.
const fault = 0
