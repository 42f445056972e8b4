package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// Live shows how a run goes: on a terminal one line that is written over and over, elsewhere a line
// per second.
type Live struct {
	W        io.Writer
	Terminal bool
	Unit     string
	Columns  int // of the terminal; 0: 80

	phase string
	begun time.Time
	drawn bool
}

// Observer returns the functions to give to bench.Run.
func (l *Live) Observer() bench.Observer {
	o := bench.Observer{Phase: l.enter, Second: l.second}
	if l.Terminal {
		o.Progress = l.draw
	}
	return o
}

func (l *Live) enter(phase string) {
	l.Done()
	l.phase, l.begun = phase, time.Now()
	if !l.Terminal {
		fmt.Fprintf(l.W, "%s\n", phase)
	}
}

// Done takes the progress line away.
func (l *Live) Done() {
	if l.drawn {
		fmt.Fprint(l.W, "\r\x1b[K")
		l.drawn = false
	}
}

func (l *Live) second(s bench.Second) {
	if !l.Terminal {
		fmt.Fprintf(l.W, "%5.0f s  %s\n", s.At.Seconds(), l.numbers(s))
	}
}

func (l *Live) numbers(s bench.Second) string {
	parts := []string{Short(s.Rate) + " " + l.Unit + "/s"}
	if s.Latency.Count > 0 {
		parts = append(parts, "p50 "+Duration(s.Latency.P50), "p99 "+Duration(s.Latency.P99))
	}
	if n := s.Counters.Lost + s.Counters.Late; n > 0 {
		parts = append(parts, "lost or late "+Short(float64(n)))
	}
	if s.Server.RSS > 0 {
		parts = append(parts, fmt.Sprintf("gateway %.2f cores %s", s.Server.Cores(), Bytes(s.Server.RSS)))
	}
	return strings.Join(parts, "  ")
}

const barWidth = 24

func (l *Live) draw(done, total int64, s bench.Second) {
	var text string
	if l.phase == "connect" {
		text = fmt.Sprintf("%s of %s", Short(float64(done)), Short(float64(total)))
	} else {
		text = fmt.Sprintf("%.0f/%.0f s", float64(done)/1e9, float64(total)/1e9)
		if s.Span > 0 {
			text += "  " + l.numbers(s)
		}
	}
	line := fmt.Sprintf("%-8s %s %s", l.phase, bar(done, total), text)
	if limit := max(l.Columns, 0); limit > 0 && len([]rune(line)) >= limit {
		line = string([]rune(line)[:limit-1])
	}
	fmt.Fprintf(l.W, "\r\x1b[K%s", line)
	l.drawn = true
}

// bar draws a share in eighths of a character.
func bar(done, total int64) string {
	if total <= 0 {
		return strings.Repeat("░", barWidth)
	}
	eighths := int(min(max(done, 0), total) * barWidth * 8 / total)
	full, rest := eighths/8, eighths%8
	b := strings.Repeat("█", full)
	if rest > 0 {
		b += string([]rune(" ▏▎▍▌▋▊▉")[rest])
		full++
	}
	return b + strings.Repeat("░", barWidth-full)
}

// Short writes a number in four digits at most, with k, M or G.
func Short(f float64) string {
	switch {
	case f < 1000:
		return strings.TrimSuffix(digits(f), ".00")
	case f < 1e6:
		return digits(f/1e3) + "k"
	case f < 1e9:
		return digits(f/1e6) + "M"
	default:
		return digits(f/1e9) + "G"
	}
}

// Round is Short without the zeros that say how exact a number is: for axes, whose numbers are round.
func Round(f float64) string {
	s := Short(f)
	at := len(strings.TrimRight(s, "kMG"))
	n, unit := s[:at], s[at:]
	if strings.Contains(n, ".") {
		n = strings.TrimRight(strings.TrimRight(n, "0"), ".")
	}
	return n + unit
}
