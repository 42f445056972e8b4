package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
)

// maxPublish is the longest message that the API takes, in bytes.
const maxPublish = 1 << 20

type publishCmd struct {
	adminFlag
	jsonFlag
	Topic string  `arg:"" help:"The topic."`
	Data  *string `arg:"" optional:"" help:"The message; - or nothing: standard input, as it is."`
	Lines bool    `help:"Each line of standard input is a message, without its end."`

	told bool // that nobody subscribes
}

// Help implements kong.HelpProvider.
func (*publishCmd) Help() string {
	return examples(
		"sluice publish news hello",
		"sluice publish news - < message.json    # a file, byte for byte, up to 1 MiB",
		"seq 3 | sluice publish news --lines     # three messages",
		"sluice publish news -- --5              # what begins with a hyphen") + readingCodes
}

// Run publishes a message, or those of standard input.
func (cmd *publishCmd) Run(s *streams) error { return named("publish", cmd.run(s)) }

func (cmd *publishCmd) run(s *streams) error {
	fromInput := cmd.Data == nil || *cmd.Data == "-"
	switch {
	case cmd.Lines && !fromInput:
		return usageError{errors.New("--lines is about standard input: leave DATA out")}
	case cmd.Data == nil && isTerminal(s.input()):
		return usageError{errors.New("what? want DATA, or - to type it here")}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if cmd.Lines {
		return cmd.lines(s, c)
	}
	var data []byte
	if fromInput {
		if data, err = io.ReadAll(io.LimitReader(s.input(), maxPublish+1)); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
	} else {
		data = []byte(*cmd.Data)
	}
	return cmd.one(s, c, data)
}

// lines publishes each line of standard input as it comes.
func (cmd *publishCmd) lines(s *streams, c *adminapi.Client) error {
	lines := bufio.NewScanner(s.input())
	lines.Buffer(nil, maxPublish+2)
	for n := 1; lines.Scan(); n++ {
		if err := cmd.one(s, c, lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return usageError{fmt.Errorf("a line is longer than %d bytes", maxPublish)}
	} else if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return nil
}

func (cmd *publishCmd) one(s *streams, c *adminapi.Client, data []byte) error {
	if len(data) > maxPublish {
		return usageError{fmt.Errorf("the message is longer than %d bytes", maxPublish)}
	}
	body := map[string]string{"topic": cmd.Topic}
	if utf8.Valid(data) && len(data) <= maxPublish/2 { // JSON takes up to six bytes for one
		body["payload"] = string(data)
	} else {
		body["payloadBase64"] = base64.StdEncoding.EncodeToString(data)
	}
	answer, err := c.Post(context.Background(), "publish", body)
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(s.stdout, answer)
	}
	var done struct {
		Subscribers int  `json:"subscribers"`
		Elsewhere   bool `json:"elsewhere"`
		Kept        bool `json:"kept"`
	}
	if err := decodeAnswer(answer, &done); err != nil {
		return err
	}
	if done.Subscribers == 0 && !done.Elsewhere && !done.Kept && !cmd.told {
		cmd.told = true
		fmt.Fprintf(s.stderr, "sluice: nobody subscribes to %q yet\n", cmd.Topic)
	}
	more := ""
	if done.Elsewhere {
		more = " here, and to other gateways"
	}
	if done.Kept {
		more += ", and kept"
	}
	_, err = fmt.Fprintf(s.stdout, "published to %s%s\n", plural(done.Subscribers, "subscriber"), more)
	return err
}

// isTerminal reports whether somebody types what is read from r.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && !isNull(info)
}

// isNull reports whether a file is the null device, which is a character device, too.
func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}
