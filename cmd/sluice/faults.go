package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/internal/redact"
)

// A flagError says what is wrong with a flag.
type flagError struct {
	flag  string
	index int      // of the value, if the flag is repeatable; -1: of all
	of    []string // other flags that it depends on
	err   error
}

func (e *flagError) Error() string { return "--" + e.flag + ": " + e.err.Error() }

func (e *flagError) Unwrap() error { return e.err }

// wrong says what is wrong with a flag.
func wrong(flag, format string, args ...any) error {
	return &flagError{flag: flag, index: -1, err: fmt.Errorf(format, args...)}
}

// wrongAt says what is wrong with one of the values of a flag.
func wrongAt(flag string, index int, format string, args ...any) error {
	return &flagError{flag: flag, index: index, err: fmt.Errorf(format, args...)}
}

// depends names the other flags that err is about. Where one of them is wrong, err may be for nothing.
func depends(err error, flags ...string) error {
	var e *flagError
	if errors.As(err, &e) {
		e.of = append(e.of, flags...)
	}
	return err
}

// A fault is a mistake in what the command was given, and where it is.
type fault struct {
	place
	flag string // empty: of none
	text string
}

func (f fault) String() string { return f.prefix() + f.text }

// faultsError is one or more mistakes, each a line.
type faultsError []fault

func (e faultsError) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// sorted has faults in the order in which they are looked for: in the command line, in the
// environment, in the file.
func (e faultsError) sorted() faultsError {
	slices.SortStableFunc(e, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.pos.Line, b.pos.Line), cmp.Compare(a.pos.Column, b.pos.Column))
	})
	return slices.CompactFunc(e, func(a, b fault) bool { return a.String() == b.String() })
}

// flatten takes joined errors apart.
func flatten(err error) (list []error) {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			list = append(list, flatten(err)...)
		}
		return list
	}
	return []error{err}
}

// locate says where the flags of errors were given, as one error, nil if there is none. An error
// that may follow from a mistake that is known already is left out.
func (in *inputs) locate(errs ...error) error {
	all, known := slices.Clone(in.faults), make(map[string]bool)
	for _, f := range in.faults {
		known[f.flag] = true
	}
	for _, err := range flatten(errors.Join(errs...)) {
		var e *flagError
		if !errors.As(err, &e) {
			if len(in.faults) == 0 {
				all = append(all, fault{text: err.Error()})
			}
			continue
		}
		if known[e.flag] && e.index < 0 || slices.ContainsFunc(e.of, func(flag string) bool { return known[flag] }) {
			continue
		}
		f := fault{in.placeOf(e.flag, e.index), e.flag, e.err.Error()}
		if f.source == fromEnv && e.index >= 0 && e.index < len(in.given[e.flag]) && strings.Contains(in.given[e.flag][e.index].text, ",") {
			f.text = strings.Replace(f.text+". Several", "?. ", "? ", 1) + " have blanks between them"
		}
		all = append(all, f)
		known[e.flag] = true
	}
	if len(all) == 0 {
		return nil
	}
	for i := range all {
		all[i].text = in.hidden(all[i])
	}
	return all.sorted()
}

// hidden is what a fault says, without what may be secret in URLs.
func (in *inputs) hidden(f fault) string {
	text := f.text
	if p := in.byName[f.flag]; p != nil {
		for _, it := range in.given[f.flag] {
			text = p.hidden(text, it.text)
		}
	}
	return redact.Users(text, nextWord)
}
