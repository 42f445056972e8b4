//go:build faults

package cluster

// fault is the number of the fault that is planted, for the simulation to find; 0 is none. The list
// is planeFaults in sim_fault_test.go, and historyFaults in sim_historyfault_test.go.
var fault int
