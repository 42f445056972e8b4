package main

import (
	"errors"
	"net/http"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
)

// Exit codes. docs/commands.md has them for users.
const (
	exitOK       = 0
	exitFailed   = 1 // the gateway refuses, or cannot be asked; something failed while running
	exitUsage    = 2 // the caller's fault
	exitNotFound = 3 // what was asked for is not there
)

// usageError is the caller's fault: bad flags, or a file that a flag names.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// notFoundError is about something that the gateway does not have.
type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

// loggedError is one that the log has, on standard error, so that it is not printed there again.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }

// exitCode returns the code that a command's error ends the process with.
func exitCode(err error) int {
	var usage usageError
	var missing notFoundError
	var refused *adminapi.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &missing):
		return exitNotFound
	case !errors.As(err, &refused):
		return exitFailed
	}
	switch refused.Status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return exitUsage
	}
	return exitFailed
}
