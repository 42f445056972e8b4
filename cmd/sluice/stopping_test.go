package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/early"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// TestStopSaysOnce: what a shutdown has come to is on standard error once, in a line of the log.
func TestStopSaysOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ports")
	signals := early.Signals{Hangups: make(chan os.Signal, 1), Ends: make(chan os.Signal, 2)}
	var errs syncbuf.Buffer
	code, isReady := make(chan int, 1), make(chan struct{})
	go func() {
		code <- runWith([]string{"serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "none", "--admin", "none", "--ports-file", file,
			"--log-format", "json", "--send-buffer", "16KiB"},
			new(bytes.Buffer), &errs, signals, &startup{ready: func() { close(isReady) }})
	}()
	<-isReady
	var p ports
	if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &p) != nil {
		t.Fatal(err, string(text))
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(p.Listen[0], "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("\x10\x1c\x05GOSOC\x01\x00\x00\x3c\x11{\"token\":\"alice\"}")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 4)); err != nil { // ConnAck
		t.Fatal(err)
	}
	var asks []byte
	for i := range byte(100) {
		asks = append(asks, "\x62\x8f\x80\x01\x00"+string(rune(i))+"\x0bsluice.Echo\xff\x7f"...)
		asks = append(asks, '"')
		asks = append(append(asks, bytes.Repeat([]byte("x"), 16381)...), '"')
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // it reads nothing, and so is not read either
	_, _ = c.Write(asks)
	signals.Ends <- syscall.SIGTERM
	signals.Ends <- syscall.SIGTERM
	if got := <-code; got != exitFailed {
		t.Errorf("exit code %d, want %d", got, exitFailed)
	}
	if said := errs.String(); strings.Count(said, "1 connections left") != 1 {
		t.Error(said)
	}
	for line := range strings.Lines(errs.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no line of the log: %s", line)
		}
	}
}
