package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type watchCmd struct {
	adminFlag
	jsonFlag
	Topic string `arg:"" help:"The topic."`
	Count int    `short:"n" help:"End after so many messages; 0: go on." default:"0" placeholder:"N"`
	Last  int    `help:"Begin with the last N messages that the topic has kept, 1,000 at most. It must have history." default:"0" placeholder:"N"`
	Raw   bool   `help:"Print messages alone, byte for byte, each with a line end behind it. A terminal may take bytes of theirs for commands."`
}

// Help implements kong.HelpProvider.
func (*watchCmd) Help() string {
	return examples(
		"sluice watch news                  # until Ctrl-C",
		"sluice watch news -n 1 --raw       # the next message",
		"sluice watch news --last 20        # what it has kept, then what comes",
		"sluice watch news --json           # with its time and length, an object a line") +
		"Of a message at most 16 KiB are shown. What does not print is escaped.\n\n" + readingCodes
}

// A watched is a message as the API shows it.
type watched struct {
	Time      time.Time `json:"time"`
	Bytes     int       `json:"bytes"`
	Payload   string    `json:"payload"`
	Base64    bool      `json:"base64"`
	Truncated bool      `json:"truncated"`
}

// errEnough ends a stream of which enough has been seen.
var errEnough = errors.New("enough")

// Run prints what is published to a topic, as it comes, until it is told to end.
func (cmd *watchCmd) Run(s *streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return named("watch", cmd.run(ctx, s))
}

func (cmd *watchCmd) run(ctx context.Context, s *streams) error {
	switch {
	case cmd.Count < 0:
		return usageError{fmt.Errorf("--count %d: want a number from 0 on", cmd.Count)}
	case cmd.Last < 0 || cmd.Last > 1000:
		return usageError{fmt.Errorf("--last %d: want a number from 0 to 1000", cmd.Last)}
	case cmd.Raw && cmd.JSON:
		return usageError{errors.New("--raw and --json: choose one")}
	case cmd.Topic == "":
		return usageError{errors.New("a topic without a name")}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	seen, query := 0, url.Values{}
	if cmd.Last > 0 {
		query.Set("last", strconv.Itoa(cmd.Last))
	}
	err = c.Stream(ctx, "topics/"+pathText(cmd.Topic)+"/tail", query, func(event string, data []byte) error {
		switch event {
		case "open":
			fmt.Fprintf(s.stderr, "watching %s; Ctrl-C ends it\n", table.Text(cmd.Topic))
		case "dropped":
			var lost struct{ Dropped uint64 }
			if err := decodeAnswer(data, &lost); err != nil {
				return err
			}
			fmt.Fprintf(s.stderr, "sluice: watch: %d messages were dropped in all: they come faster than they are read\n", lost.Dropped)
		case "message":
			if err := cmd.show(s.stdout, data); err != nil {
				return err
			}
			if seen++; seen == cmd.Count {
				return errEnough
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// show prints one message, in one write.
func (cmd *watchCmd) show(out io.Writer, data []byte) error {
	if cmd.JSON {
		return printJSON(out, data)
	}
	var m watched
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("the gateway's message is not what is wanted: %w", err)
	}
	payload := []byte(m.Payload)
	if m.Base64 {
		var err error
		if payload, err = base64.StdEncoding.DecodeString(m.Payload); err != nil {
			return fmt.Errorf("the gateway's message is not what is wanted: %w", err)
		}
	}
	var b bytes.Buffer
	if cmd.Raw {
		b.Write(payload)
	} else {
		b.WriteString(m.Time.Local().Format("15:04:05.000  "))
		b.WriteString(table.Text(string(payload)))
		if m.Truncated {
			fmt.Fprintf(&b, " (the first %s of %s)", table.Bytes(uint64(len(payload))), table.Bytes(uint64(m.Bytes)))
		}
	}
	b.WriteByte('\n')
	_, err := out.Write(b.Bytes())
	return err
}
