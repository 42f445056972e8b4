package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/sluicenet/sluice/bench"
)

var csvHeader = []string{
	"run", "second", "span_s", "sent", "delivered", "lost", "late", "published", "rate", "connections", "bytes_in",
	"p50_us", "p90_us", "p99_us", "p99.9_us", "max_us", "gateway_cpu_cores", "gateway_rss_bytes",
}

// CSV writes every second of every run, with a header line. Times are microseconds.
func CSV(w io.Writer, runs []*bench.Result) error {
	c := csv.NewWriter(w)
	_ = c.Write(csvHeader)
	us := func(ns int64) string { return strconv.FormatFloat(float64(ns)/1000, 'f', 1, 64) }
	for i, r := range runs {
		for _, s := range r.Seconds {
			n, d := s.Counters, s.Latency
			_ = c.Write([]string{
				fmt.Sprint(i + 1), fmt.Sprintf("%.3f", s.At.Seconds()), fmt.Sprintf("%.3f", s.Span.Seconds()),
				fmt.Sprint(n.Sent), fmt.Sprint(n.Delivered), fmt.Sprint(n.Lost), fmt.Sprint(n.Late), fmt.Sprint(n.Published),
				fmt.Sprintf("%.1f", s.Rate), fmt.Sprint(s.Live), fmt.Sprint(n.BytesIn),
				us(d.P50), us(d.P90), us(d.P99), us(d.P999), us(d.Max),
				fmt.Sprintf("%.4f", s.Server.Cores()), fmt.Sprint(s.Server.RSS),
			})
		}
	}
	c.Flush()
	return c.Error()
}
