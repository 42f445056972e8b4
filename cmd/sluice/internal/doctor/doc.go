// Package doctor looks at a machine, at a gateway's flags and at a gateway that runs, and says what
// will keep it from serving a number of connections: what was found, why it matters, and the line that
// fixes it.
//
// # Data flow
//
//	/proc, /sys, units of systemd -> host  ┐
//	flags of a command line or gateway     ├-> checks -> Report -> Text, or JSON
//	metrics and /readyz of a gateway       ┘
//
// Everything of the machine is read through Input.Root; no program is run, nothing is written. A check
// is a function of an exam, one of the table in checks.go, and returns findings. What it compares with
// is computed from what is wanted, Input.Connections first of all; the comment at each number says
// where it comes from, and docs/doctor.md says it to users.
//
// # Goroutines
//
// None.
package doctor
