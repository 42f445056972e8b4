//go:build faults

package topic

var fault int

// PlantFault plants a fault for the simulation of sessions to find; 0 is none. The list is in
// engine/sim_session_fault_test.go.
func PlantFault(number int) { fault = number }
