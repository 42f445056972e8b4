package main

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// byteSize is a number of bytes on the command line: 65536, 64KiB, 1MiB, 2GiB.
type byteSize int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *byteSize) UnmarshalText(text []byte) error {
	digits, shift := string(text), 0
	for _, unit := range []struct {
		suffix string
		shift  int
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"B", 0}} {
		if rest, ok := strings.CutSuffix(digits, unit.suffix); ok {
			digits, shift = rest, unit.shift
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil || n < 0 || n > 1<<40>>shift {
		return fmt.Errorf("%q is not a size: want bytes, or a number with KiB, MiB or GiB", text)
	}
	*s = byteSize(n << shift)
	return nil
}

// logLevel is a slog.Level by its name, with an offset if wanted: info, debug, warn+1.
type logLevel slog.Level

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *logLevel) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("%q, want debug, info, warn or error", text)
	}
	return nil
}

// autoLimit is a limit as Config has it, on the command line a number, 0 for none, or auto for the
// default, which depends.
type autoLimit int

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *autoLimit) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*l = 0
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("%q, want auto, or 0 to %d", text, math.MaxInt32)
	}
	*l = autoLimit(n)
	if n == 0 {
		*l = -1
	}
	return nil
}

// failureRate is refused logins per time, 100/10s; 0 means no limit.
type failureRate struct {
	Count int
	Per   time.Duration
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *failureRate) UnmarshalText(text []byte) error {
	count, per, ok := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a rate: want N/DURATION, as 100/10s, or 0", text)
	}
	if n == 0 && !ok {
		*r = failureRate{Count: -1}
		return nil
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a rate: want N/DURATION, as 100/10s, or 0", text)
	}
	if n == 0 {
		n = -1
	}
	*r = failureRate{Count: n, Per: d}
	return nil
}
