// Package table writes what a gateway tells for people: aligned columns, sizes and times that can be
// read, and no byte that a terminal takes for a command, whoever it comes from.
//
//	rows of JSON -> cells -> Text, Bytes, Duration -> Table.Write -> standard output
package table
