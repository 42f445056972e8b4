package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/observe"
)

// specimen is a result with something everywhere.
func specimen(rate float64) *bench.Result {
	rec := latency.NewRecorder()
	for i := range int64(1000) {
		rec.Record(i * i * 100)
	}
	h := rec.Drain()
	d := latency.Summarize(h)
	d.Histogram = latency.Pack(h)
	r := &bench.Result{
		Scenario: "fanout", Unit: "deliveries", Config: bench.Config{Scenario: "fanout", Rate: 100, Connections: 10},
		Started: time.Unix(1_700_000_000, 0), Window: 3 * time.Second, Rate: rate, PublishRate: 10, Latency: d, Raw: d, Live: 10,
		Accounting: bench.Accounting{Sent: 300, Delivered: 290, Lost: 7, InFlight: 3, Balanced: true},
		Server:     bench.ServerUse{Watched: true, PerUnit: 4.5, PeakRSS: 20 << 20, PerConnection: 900},
		Errors:     []string{`<script>alert("x")</script>`},
		Gateway:    map[string]float64{`a_total{b="c"}`: 5},
		Checks:     []bench.Check{{Expect: "p99<20ms", Got: 1, Met: true}, {Expect: "lost=0", Got: 7}},
	}
	for i := range 3 {
		r.Seconds = append(r.Seconds, bench.Second{
			At: time.Duration(i+1) * time.Second, Span: time.Second, Rate: rate + float64(i), Latency: d,
			Server: observe.Use{Span: time.Second, CPU: time.Second / 2, System: time.Second / 3, RSS: 20 << 20},
		})
	}
	return r
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := Text(&b, specimen(100)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"300 = 290 delivered + 7 lost + 3 in flight", "uncorrected", "4.500 us per delivery", "lost=0  NOT MET", "peak 20.0 MiB"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing from\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "ADD UP") {
		t.Error("balanced accounts are called unbalanced")
	}
	r := specimen(1)
	r.Accounting.Balanced = false
	b.Reset()
	Text(&b, r)
	if !strings.Contains(b.String(), "DOES NOT ADD UP") {
		t.Error("unbalanced accounts pass in silence")
	}
	r = specimen(1)
	r.Latency, r.Raw = latency.Distribution{}, latency.Distribution{}
	b.Reset()
	Text(&b, r)
	if !strings.Contains(b.String(), "unknown: nothing came") || strings.Contains(b.String(), "p50 ") {
		t.Errorf("nothing says why there is no latency in\n%s", b.String())
	}
}

// The page must be well-formed, quote what others wrote, and need nothing from elsewhere.
func TestHTML(t *testing.T) {
	for name, runs := range map[string][]*bench.Result{
		"one": {specimen(100)}, "two": {specimen(100), specimen(120)}, "empty": {{Scenario: "idle", Unit: "connections"}},
	} {
		var b bytes.Buffer
		if err := HTML(&b, runs, "sluice-bench fanout"); err != nil {
			t.Fatal(name, err)
		}
		s := b.String()
		for _, bad := range []string{"<script", "http://", "https://", "NaN", "Inf", "<no value>"} {
			if strings.Contains(s, bad) {
				t.Errorf("%s: %q in the page", name, bad)
			}
		}
		for rest := s; ; {
			_, after, ok := strings.Cut(rest, "<svg")
			if !ok {
				break
			}
			svg, after2, _ := strings.Cut(after, "</svg>")
			d := xml.NewDecoder(strings.NewReader("<svg" + svg + "</svg>"))
			for {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s: %v in <svg%s", name, err, svg)
				}
			}
			rest = after2
		}
	}
}

func TestFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := JSON(f, []*bench.Result{specimen(5), specimen(6)}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err := Read(path)
	if err != nil || len(got.Runs) != 2 || got.Runs[1].Rate != 6 || got.Runs[0].Metric("p99") != float64(specimen(5).Latency.P99) {
		t.Errorf("%+v %v", got, err)
	}
	for name, text := range map[string]string{"not JSON": "x", "other tool": `{"tool":"k6","version":1}`, "no runs": `{"tool":"sluice-bench","version":1}`, "newer": `{"tool":"sluice-bench","version":99,"runs":[{}]}`} {
		os.WriteFile(path, []byte(text), 0o600)
		if _, err := Read(path); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	if err := CSV(&b, []*bench.Result{specimen(5), specimen(6)}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 7 || rows[6][0] != "2" || rows[6][1] != "3.000" {
		t.Errorf("%v %v", rows, err)
	}
}

func TestHistogramLogIsReadable(t *testing.T) {
	var b bytes.Buffer
	if err := HistogramLog(&b, specimen(5)); err != nil {
		t.Fatal(err)
	}
	if h, err := hdrhistogram.NewHistogramLogReader(&b).NextIntervalHistogram(); err != nil || h != nil {
		t.Errorf("seconds without a histogram: %v %v", h, err)
	}
}

func TestConfidence(t *testing.T) {
	// 1..5: mean 3, standard deviation 1.5811, t(4) = 2.776: 1.963
	if i := Confidence([]float64{1, 2, 3, 4, 5, math.NaN()}); i.Mean != 3 || math.Abs(i.Half-1.963) > 0.001 || i.N != 5 {
		t.Errorf("%+v", i)
	}
	if i := Confidence([]float64{7}); i.Mean != 7 || !math.IsInf(i.Half, 1) {
		t.Errorf("one value: %+v", i)
	}
	for freedom, want := range map[float64]float64{1: 12.706, 4: 2.776, 10: 2.228, 20: 2.086, 30: 2.042, 1000: 1.962} {
		if got := student(freedom); math.Abs(got-want) > 0.002 {
			t.Errorf("t(%v) = %v, want %v", freedom, got, want)
		}
	}
	if d := Difference([]float64{10, 11, 12}, []float64{10.5, 11.5, 11}); math.Abs(d.Mean) > d.Half {
		t.Errorf("noise called a difference: %+v", d)
	}
	if d := Difference([]float64{10, 10.1, 9.9}, []float64{12, 12.1, 11.9}); d.Mean-d.Half <= 0 {
		t.Errorf("a difference not seen: %+v", d)
	}
}

func TestCompare(t *testing.T) {
	file := func(rates ...float64) *File {
		f := &File{}
		for _, r := range rates {
			f.Runs = append(f.Runs, specimen(r))
		}
		return f
	}
	for name, tt := range map[string]struct {
		a, b *File
		want string
	}{
		"better":   {file(100, 101, 99), file(150, 151, 149), "B is better"},
		"worse":    {file(100, 101, 99), file(50, 51, 49), "B is worse"},
		"the same": {file(100, 120, 90), file(101, 119, 92), "no difference"},
		"once":     {file(100), file(200), "one run is no evidence"},
	} {
		var b strings.Builder
		if err := Compare(&b, tt.a, tt.b); err != nil {
			t.Fatal(err)
		}
		rate, _, _ := strings.Cut(b.String()[strings.Index(b.String(), "rate"):], "\n")
		if !strings.Contains(rate, tt.want) {
			t.Errorf("%s: %s", name, rate)
		}
	}
	other := file(1)
	other.Runs[0].Config.Scenario = "echo"
	if Compare(io.Discard, file(1), other) == nil {
		t.Error("fanout compared with echo")
	}
}

func TestLive(t *testing.T) {
	s := bench.Second{At: time.Second, Span: time.Second, Rate: 12_345, Latency: latency.Distribution{Count: 1, P99: 2e6}}
	run := func(terminal bool) string {
		var b strings.Builder
		l := &Live{W: &b, Terminal: terminal, Unit: "deliveries", Columns: 70}
		o := l.Observer()
		o.Phase("connect")
		if o.Progress != nil {
			o.Progress(50, 100, bench.Second{})
		}
		o.Phase("measure")
		o.Second(s)
		if o.Progress != nil {
			o.Progress(1e9, 10e9, s)
		}
		l.Done()
		return b.String()
	}
	plain := run(false)
	if strings.ContainsAny(plain, "\r\x1b") || !strings.Contains(plain, "12.3k deliveries/s") || strings.Count(plain, "\n") != 3 {
		t.Errorf("piped: %q", plain)
	}
	drawn := run(true)
	if !strings.Contains(drawn, "12.3k") || !strings.HasSuffix(drawn, "\r\x1b[K") {
		t.Errorf("on a terminal: %q", drawn)
	}
	for line := range strings.SplitSeq(drawn, "\r\x1b[K") {
		if n := len([]rune(line)); n >= 70 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func TestBar(t *testing.T) {
	for done := int64(-1); done <= 101; done++ {
		if n := len([]rune(bar(done, 100))); n != barWidth {
			t.Fatalf("%d%%: %d characters", done, n)
		}
	}
	if bar(0, 0) == "" || !strings.HasPrefix(bar(100, 100), strings.Repeat("█", barWidth)) {
		t.Error("ends")
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		Number(1234567): "1,234,567", Number(999): "999", Number(-1234): "-1,234", Number(0.5): "0.50", Number(0): "0",
		Short(1234): "1.23k", Short(15e6): "15.0M", Short(999): "999",
		Duration(999): "999 ns", Duration(1500): "1.50 us", Duration(20e6): "20.0 ms", Duration(3e9): "3.00 s",
		Bytes(1023): "1023 B", Bytes(1 << 20): "1.00 MiB",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 5: "5", 0.25: "0.25", 50: "50", 250: "250", 5000: "5k", 20_000: "20k", 12_500: "12.5k", 2e6: "2M", 1e9: "1G"} {
		if got := Round(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
