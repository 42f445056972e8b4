package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/latency"
)

// Text writes r for a terminal or a log.
func Text(w io.Writer, r *bench.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.Incomplete != "" {
		fmt.Fprintf(t, "INCOMPLETE\t%s: what follows is about the time until then\n", r.Incomplete)
	}
	c := r.Config
	fmt.Fprintf(t, "%s\t%s over %s, %s connections", r.Scenario, c.Protocol, strings.Join(append([]string{c.Target}, c.Others...), " and "), Number(float64(c.Connections)))
	if r.SetUp > 0 {
		fmt.Fprintf(t, ", up in %s", Duration(int64(r.SetUp)))
	}
	if r.Scenario == "idle" {
		fmt.Fprintf(t, "\nheld\t%s connections for %s", Number(float64(r.Live)), Duration(int64(r.Window)))
	} else {
		loadText(t, r)
	}
	a := r.Accounting
	fmt.Fprintf(t, "\nerrors\tlate %s, refused %s, mismatch %s, connections closed %s, failed %s\n",
		count(a.Late), count(a.Refused), count(a.Mismatch), count(a.Closed), count(a.Failed))
	if n := r.Total; n.Heard+n.Missed > 0 {
		fmt.Fprintf(t, "beside it\t%s deliveries, %s missed\n", count(n.Heard), count(n.Missed))
	}
	if s := r.Server; s.Watched {
		if s.PerUnit > 0 {
			fmt.Fprintf(t, "gateway CPU\t%.3f us per %s (user %.3f, system %.3f), %.2f cores\n",
				s.PerUnit, singular(r.Unit), s.PerUnitUser, s.PerUnitSystem, s.Window.Cores())
		} else {
			fmt.Fprintf(t, "gateway CPU\t%.4f cores\n", s.Window.Cores())
		}
		fmt.Fprintf(t, "gateway memory\t%s before", Bytes(s.Before.RSS))
		if s.Connected.RSS > 0 {
			fmt.Fprintf(t, ", %s connected", Bytes(s.Connected.RSS))
		}
		fmt.Fprintf(t, ", %s after, peak %s", Bytes(s.After.RSS), Bytes(s.PeakRSS))
		if s.PerConnection > 0 { // one that has held more before gives back some
			fmt.Fprintf(t, "; %s per connection", Bytes(int64(s.PerConnection)))
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "generator\t%s of CPU, busiest loop %.0f%%\n", Duration(int64(r.Generator.CPU)), 100*r.Generator.BusiestLoop)
	for _, a := range r.Agreements {
		if a.Holds() {
			fmt.Fprintf(t, "gateway agrees\t%s %s\n", a.Counter, Number(a.Ours))
		} else {
			fmt.Fprintf(t, "gateway DISAGREES\t%s: it counts %s, we %s\n", a.Counter, Number(a.Gateway), Number(a.Ours))
		}
	}
	for _, c := range r.Checks {
		verdict := "met"
		if !c.Met {
			verdict = "NOT MET"
		}
		fmt.Fprintf(t, "expect\t%s  %s\n", c.Expect, verdict)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(t, "  !\t%s\n", e)
	}
	return t.Flush()
}

func loadText(t io.Writer, r *bench.Result) {
	fmt.Fprintf(t, "\nrate\t%s %s/s during %s", Number(r.Rate), r.Unit, Duration(int64(r.Window)))
	if r.PublishRate > 0 {
		fmt.Fprintf(t, ", %s publishes/s", Number(r.PublishRate))
	}
	fmt.Fprintln(t)
	if r.Latency.Count > 0 {
		fmt.Fprintf(t, "latency\t%s\n", line(r.Latency))
		if paced(r) {
			fmt.Fprintf(t, "  uncorrected\t%s\n", line(r.Raw))
		}
	} else if r.Accounting.Delivered > 0 {
		fmt.Fprintln(t, "latency\tunknown: nothing came that said when in the window it was due; short bodies have no room for that")
	}
	a := r.Accounting
	fmt.Fprintf(t, "sent\t%s = %s delivered + %s lost + %s in flight", count(a.Sent), count(a.Delivered), count(a.Lost), count(a.InFlight))
	if a.Unsent > 0 {
		fmt.Fprintf(t, "; %s due and never sent", count(a.Unsent))
	}
	if !a.Balanced {
		fmt.Fprint(t, "  DOES NOT ADD UP")
	}
}

func line(d latency.Distribution) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, p99.9 %s, max %s",
		Duration(d.P50), Duration(d.P90), Duration(d.P99), Duration(d.P999), Duration(d.Max))
}

func singular(unit string) string {
	switch unit {
	case "deliveries":
		return "delivery"
	case "requests", "logins", "connections":
		return unit[:len(unit)-1]
	}
	return unit
}

func count(n uint64) string { return Number(float64(n)) }

// Number writes n with thousands separated, and with a fraction if it is small.
func Number(n float64) string {
	if n < 100 && n != float64(int64(n)) {
		return fmt.Sprintf("%.2f", n)
	}
	s := fmt.Sprintf("%.0f", n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Duration writes nanoseconds with three digits.
func Duration(ns int64) string {
	f := float64(ns)
	switch {
	case ns < 1000:
		return fmt.Sprintf("%d ns", ns)
	case ns < int64(time.Millisecond):
		return digits(f/1e3) + " us"
	case ns < int64(time.Second):
		return digits(f/1e6) + " ms"
	default:
		return digits(f/1e9) + " s"
	}
}

// Bytes writes n in binary units.
func Bytes(n int64) string {
	f := float64(n)
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return digits(f/(1<<10)) + " KiB"
	case n < 1<<30:
		return digits(f/(1<<20)) + " MiB"
	default:
		return digits(f/(1<<30)) + " GiB"
	}
}

func digits(f float64) string {
	switch {
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	case f < 100:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.0f", f)
	}
}

func sortedKeys(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }
