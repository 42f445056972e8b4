package report

import (
	"fmt"
	"io"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench"
)

// HistogramLog writes the latencies of every second of a run that has just been made as a
// HdrHistogram log, in nanoseconds, for the tools that read those.
func HistogramLog(w io.Writer, r *bench.Result) error {
	start := r.Started.Add(r.SetUp + r.Config.Warmup)
	l := hdrhistogram.NewHistogramLogWriter(w)
	if err := l.OutputLogFormatVersion(); err != nil {
		return err
	}
	if err := l.OutputComment(fmt.Sprintf("[sluice-bench %s, latency in ns from when it was due]", r.Scenario)); err != nil {
		return err
	}
	if err := l.OutputStartTime(start.UnixMilli()); err != nil {
		return err
	}
	l.SetBaseTime(start.UnixMilli())
	if err := l.OutputLegend(); err != nil {
		return err
	}
	for _, s := range r.Seconds {
		h := s.Histogram()
		if h == nil {
			continue
		}
		end := start.Add(s.At)
		h.SetStartTimeMs(end.Add(-s.Span).UnixMilli())
		h.SetEndTimeMs(end.UnixMilli())
		if err := l.OutputIntervalHistogram(h); err != nil {
			return err
		}
	}
	return nil
}
