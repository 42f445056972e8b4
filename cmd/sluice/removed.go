package main

import (
	"errors"

	"github.com/alecthomas/kong"
)

// removedFlags are flags of earlier versions. Their help says what took their place.
type removedFlags struct {
	WorkerLinks removedFlag `hidden:"" help:"it is --max-worker-links now"`
	BacklogSoft removedFlag `hidden:"" help:"a total makes nobody wait; --backlog-total is where the clients with the largest accounts are closed, --lag how far one may be behind"`
}

// A removedFlag is refused with any value, on the command line and in a config file: left out in
// silence, it would be a setting without effect.
type removedFlag struct{}

// Decode implements kong.MapperValue.
func (removedFlag) Decode(ctx *kong.DecodeContext) error {
	return errors.New("this flag was removed: " + ctx.Value.Help)
}

// IsBool implements kong.BoolMapperValue: without a value it is refused likewise.
func (removedFlag) IsBool() bool { return true }
