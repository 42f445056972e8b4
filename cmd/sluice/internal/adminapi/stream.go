package adminapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

const (
	// streamSilence is how long a stream may say nothing. The gateway says that it lives every 10 s.
	streamSilence = 30 * time.Second
	// maxEvent bounds an event, in bytes: 16 KiB of a message, where JSON may take six bytes for one.
	maxEvent = 1 << 20
)

// ErrStreamEnded is returned by Stream when the gateway has ended it.
var ErrStreamEnded = errors.New("the gateway has ended the stream")

// Stream asks for server-sent events below /api/v1/ and calls f with each, until f returns an error,
// which Stream returns, or ctx ends, which is no error. data is good until f returns.
func (c *Client) Stream(ctx context.Context, path string, query url.Values, f func(event string, data []byte) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(streamSilence, func() {
		cancel(fmt.Errorf("the gateway at %s says nothing for %v", c.config.Address, streamSilence))
	})
	defer silent.Stop()
	err := c.stream(inner, path, query, func(event string, data []byte) error {
		silent.Reset(streamSilence)
		return f(event, data)
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case inner.Err() != nil:
		return context.Cause(inner)
	}
	return err
}

func (c *Client) stream(ctx context.Context, path string, query url.Values, f func(event string, data []byte) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/api/v1/"+path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		_, err = c.answer(resp.StatusCode, body, err)
		return err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return c.Stranger(resp.StatusCode)
	}
	return readEvents(resp.Body, f)
}

// readEvents calls f with each event that r holds, the last one too only if it is whole.
func readEvents(r io.Reader, f func(event string, data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var event string
	var data []byte
	seen := false
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if seen {
				if err := f(event, data); err != nil {
					return err
				}
			}
			event, data, seen = "", data[:0], false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			event = string(value)
		case "data":
			if seen {
				data = append(data, '\n')
			}
			data, seen = append(data, value...), true
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrStreamEnded, err)
	}
	return ErrStreamEnded
}
