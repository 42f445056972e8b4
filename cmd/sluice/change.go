package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type drainCmd struct {
	adminFlag
	jsonFlag
	Wait time.Duration `help:"Wait until the gateway has gone, for so long at most. 0: do not wait." default:"0s" placeholder:"TIME"`
}

// Help implements kong.HelpProvider.
func (*drainCmd) Help() string {
	return examples(
		"sluice drain               # begin a shutdown, as SIGTERM does",
		"sluice drain --wait 30s    # and wait for its end; exit code 1 when it takes longer") + readingCodes
}

// drainPoll is how often a gateway that drains is asked whether it is still there.
const drainPoll = 50 * time.Millisecond

// Run begins a shutdown.
func (cmd *drainCmd) Run(s *streams) error { return named("drain", cmd.run(s)) }

func (cmd *drainCmd) run(s *streams) error {
	if cmd.Wait < 0 {
		return usageError{fmt.Errorf("--wait %v: want a time from 0 on", cmd.Wait)}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Post(context.Background(), "drain", struct{}{})
	if err != nil {
		return err
	}
	begun := time.Now()
	if cmd.Wait > 0 {
		if err := gone(c, cmd.Wait); err != nil {
			return err
		}
	}
	if cmd.JSON {
		return printJSON(s.stdout, answer)
	}
	text := "draining"
	if cmd.Wait > 0 {
		text = "drained in " + table.Duration(time.Since(begun))
	}
	_, err = fmt.Fprintln(s.stdout, text)
	return err
}

// gone waits until nobody answers any more.
func gone(c *adminapi.Client, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		_, _, err := c.Raw(ctx, "/livez", nil)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the gateway is still there after %v", wait)
		case err != nil:
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(drainPoll):
		}
	}
}

type reloadCmd struct {
	adminFlag
	jsonFlag
}

// Help implements kong.HelpProvider.
func (*reloadCmd) Help() string {
	return examples(
		"sluice check --config sluice.toml && sluice reload",
		"sluice reload --json") +
		"With a mistake anywhere, or a changed setting that only a restart changes, nothing changes, and the exit code is 1.\n\n" + readingCodes
}

// Run has the gateway read its configuration again.
func (cmd *reloadCmd) Run(s *streams) error { return named("reload", cmd.run(s)) }

func (cmd *reloadCmd) run(s *streams) error {
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Post(context.Background(), "reload", struct{}{})
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(s.stdout, answer)
	}
	return printChanged(s, answer)
}
