package e2e

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What a gateway owes its well-behaved peers while others misbehave. Each scenario has two sizes.
// The short one runs with all other tests and asserts what holds on a machine that is busy
// otherwise, too. The full one says what it measured, a line each:
//
//	SLUICE_PRESSURE=full go test -run Pressure -v .         durations and counts as promised
//	SLUICE_BIN=path ...                                     against that gateway
//	SLUICE_PRESSURE_SECONDS=15 ...                          in place of minutes
//
// bench/pressure.sh runs the full ones against two gateways in turn.

// pressureFull chooses the full size.
var pressureFull = os.Getenv("SLUICE_PRESSURE") == "full"

// A pressure is a scenario's test.
type pressure struct {
	*testing.T
	full  bool
	stood *atomic.Int64 // ns that the machine has stood still, in all
}

// startPressure begins a scenario. The race detector slows the client side down so much that its
// clients would be those who misbehave.
func startPressure(t *testing.T) *pressure {
	t.Helper()
	if raceDetector || slowBuild {
		t.Skip("says nothing with a slow client or gateway")
	}
	x := &pressure{t, pressureFull, new(atomic.Int64)}
	if !x.full {
		done := make(chan struct{})
		t.Cleanup(func() { close(done) })
		go x.watch(done)
	}
	return x
}

// watch notes for how long the machine stands still: this process, at least, had no core.
func (x *pressure) watch(done <-chan struct{}) {
	const look = 10 * time.Millisecond
	for {
		begun := time.Now()
		select {
		case <-done:
			return
		case <-time.After(look):
		}
		if late := time.Since(begun) - look; late > look {
			x.stood.Add(int64(late))
		}
	}
}

// stillEnough is for how long, in all, the machine must have stood still for times to say nothing in
// the short size.
const stillEnough = 100 * time.Millisecond

// pressureSlots are for scenarios that run beside others: more at a time would starve those that
// wait for timers.
var pressureSlots = make(chan struct{}, 4)

// together lets the short size run beside others: for scenarios that do not measure time then.
func (x *pressure) together() *pressure {
	if !x.full {
		x.Parallel()
		pressureSlots <- struct{}{}
		x.Cleanup(func() { <-pressureSlots })
	}
	return x
}

// pick is the one or the other.
func pick[T any](x *pressure, full, short T) T {
	if x.full {
		return full
	}
	return short
}

// minute is how long the longest scenarios take.
func (x *pressure) minute(short time.Duration) time.Duration {
	if !x.full {
		return short
	}
	if n, err := strconv.Atoi(os.Getenv("SLUICE_PRESSURE_SECONDS")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return time.Minute
}

// hold is a promise: its line says what was measured and whether that is within the bound.
func (x *pressure) hold(ok bool, bound, format string, args ...any) {
	x.Helper()
	verdict := "ok"
	if !ok {
		verdict = "NOT OK"
		x.Errorf("%s, want %s", fmt.Sprintf(format, args...), bound)
		if !x.full {
			return
		}
	}
	x.line(verdict, bound, format, args...)
}

// holdTime is hold of how long something has taken. Where the machine stood still the short size does
// not fail for it.
func (x *pressure) holdTime(ok bool, bound, format string, args ...any) {
	x.Helper()
	if stood := time.Duration(x.stood.Load()); !ok && stood >= stillEnough {
		x.line("the machine stood still for "+stood.Round(time.Millisecond).String(), bound, format, args...)
		return
	}
	x.hold(ok, bound, format, args...)
}

// line is a line of the table. The full size has it on standard output, for other programs to read.
func (x *pressure) line(verdict, bound, format string, args ...any) {
	x.Helper()
	text := fmt.Sprintf(format, args...)
	if x.full {
		fmt.Printf("pressure | %s | %s | %s | %s\n", strings.TrimPrefix(x.Name(), "TestPressure"), text, bound, verdict)
		return
	}
	x.Logf("%s (%s): %s", text, bound, verdict)
}

// gatewayFlags is what the gateway's help says, for flags that not every build has.
var gatewayFlags = sync.OnceValue(func() string {
	out, _ := exec.Command(gatewayBinary, "serve", "--help").CombinedOutput()
	return string(out)
})

// withFlag is a flag and its value, or nothing when the gateway does not have it.
func withFlag(name, value string) []string {
	if !strings.Contains(gatewayFlags(), name+"=") {
		return nil
	}
	return []string{name, value}
}

// metrics are the samples of /metrics by name and labels as written.
func (p *process) metrics() map[string]float64 {
	p.tb.Helper()
	all := make(map[string]float64)
	lines := bufio.NewScanner(strings.NewReader(p.fetch("/metrics")))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(lines.Text(), " ")
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && name != "#" {
			all[name] = v
		}
	}
	return all
}

// fetch gets a page of the admin listener.
func (p *process) fetch(path string) string {
	p.tb.Helper()
	_, after, _ := strings.Cut(string(p.ports), `"admin":"`)
	url, _, _ := strings.Cut(after, `"`)
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest(http.MethodGet, url+path, nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	got, err := client.Do(r)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK {
		p.tb.Fatalf("%s: %s, %v", path, got.Status, err)
	}
	return string(b)
}

// closedFor is how many connections the gateway has closed for each reason.
func (p *process) closedFor() map[string]int {
	p.tb.Helper()
	all := make(map[string]int)
	for name, v := range p.metrics() {
		if reason, ok := strings.CutPrefix(name, `sluice_connections_closed_total{reason="`); ok && v > 0 {
			all[strings.TrimSuffix(reason, `"}`)] = int(v)
		}
	}
	return all
}

// memory is what the gateway has in use and what its gauges say it is for, in bytes.
type memory struct {
	heap   float64            // live, after a collection
	rss    float64            // resident
	kinds  map[string]float64 // the gauges sluice_memory_bytes; nil: there are none
	unsent float64            // sluice_backlog_bytes, which older gateways have alone
}

func (p *process) memory() memory {
	p.tb.Helper()
	m := p.memoryNow()
	for range 10 { // who is closed between the collection and the look is garbage that no gauge has
		was := m.gauges()
		if m = p.memoryNow(); math.Abs(m.gauges()-was) < 1<<16 {
			break
		}
	}
	return m
}

func (p *process) memoryNow() memory {
	p.tb.Helper()
	for range 2 { // what pools keep survives one
		p.fetch("/debug/pprof/heap?gc=1")
	}
	all := p.metrics()
	m := memory{heap: all["go_memstats_heap_alloc_bytes"], rss: all["process_resident_memory_bytes"], unsent: all["sluice_backlog_bytes"]}
	for name, v := range all {
		if kind, ok := strings.CutPrefix(name, `sluice_memory_bytes{kind="`); ok {
			if m.kinds == nil {
				m.kinds = make(map[string]float64)
			}
			m.kinds[strings.TrimSuffix(kind, `"}`)] = v
		}
	}
	return m
}

// gauges is the sum of what is explained.
func (m memory) gauges() (sum float64) {
	for _, v := range m.kinds {
		sum += v
	}
	return sum
}

// explain compares the heap's growth with what the gauges say, which must agree to 20%. Below some
// megabytes the growth is that of the connections themselves.
func (x *pressure) explain(before, now memory) {
	x.Helper()
	const mib = 1 << 20
	grown := now.heap - before.heap
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(now.kinds)) {
		if d := now.kinds[kind] - before.kinds[kind]; d > mib/4 {
			kinds = append(kinds, fmt.Sprintf("%s %.1f", kind, d/mib))
		}
	}
	if now.kinds == nil {
		x.line("no gauges", "explained to 20%", "heap grew by %.1f MiB, sluice_backlog_bytes by %.1f; %.0f MiB resident", grown/mib, (now.unsent-before.unsent)/mib, now.rss/mib)
		return
	}
	said := now.gauges() - before.gauges()
	const trifle = 8 * mib
	x.hold(grown < trifle || said >= 0.8*grown && said <= 1.2*grown, "explained to 20%",
		"heap grew by %.1f MiB, the gauges by %.1f (%s); %.0f MiB resident", grown/mib, said/mib, strings.Join(kinds, ", "), now.rss/mib)
}

// smallReceiver dials with a receive buffer of size bytes.
func smallReceiver(size int) *net.Dialer {
	return &net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}); e != nil {
			return e
		}
		return err
	}}
}

// loginWith is login on a socket of the dialer's.
func (p *process) loginWith(tb testing.TB, d *net.Dialer, m mode, payload string) *client {
	tb.Helper()
	c, err := p.openWith(tb, d, m)
	if err != nil {
		tb.Fatal(err)
	}
	c.write(m.connect(0, payload))
	c.wantConnAck(accepted)
	return c
}

// quoted is a JSON string of n bytes, its quotes included, that begins with a number.
func quoted(i, n int) string {
	text := fmt.Sprintf(`"%06d`, i)
	return text + strings.Repeat("x", n-len(text)-1) + `"`
}

// echoed is the reply that carries it back.
func echoed(payload string) string { return `{"status":0,"data":` + payload + `}` }

// percentile is the q-th part of the sorted samples.
func percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// A trip publishes and hears, over and over.
type trip struct {
	from, to *client
	topic    string
	n        int
}

func (p *process) trip(tb testing.TB, topic string) *trip {
	tb.Helper()
	r := &trip{from: p.login(tb, modes[0], ""), to: p.login(tb, modes[0], ""), topic: topic}
	r.to.subscribe(topic)
	return r
}

// once is a round trip from publish to push.
func (r *trip) once() (time.Duration, error) {
	r.n++
	text := strconv.Itoa(r.n)
	start := time.Now()
	if err := r.from.send(r.from.mode.sendReq(0, 0, "sluice.Publish", []byte(publish(r.topic, text)))); err != nil {
		return 0, err
	}
	got, err := r.to.next()
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	msg, err := r.to.mode.message(got)
	if err != nil || msg.payload != text {
		return 0, fmt.Errorf("publish %d: got %v, %w", r.n, got, err)
	}
	return took, nil
}

// trips goes round in several pairs for d, and returns the median of the p99 of eight slices of the
// time, so that a machine that stands still for a moment does not count, and the number.
func (p *process) trips(tb testing.TB, pairs []*trip, d time.Duration) (p99, p50 time.Duration, n int) {
	tb.Helper()
	const slicesOf = 8
	var all []time.Duration
	var mu sync.Mutex
	var high []time.Duration
	for range slicesOf {
		var slice []time.Duration
		var wg sync.WaitGroup
		end := time.Now().Add(d / slicesOf)
		for _, r := range pairs {
			wg.Go(func() {
				for first := true; first || time.Now().Before(end); first = false {
					took, err := r.once()
					if err != nil {
						tb.Errorf("round trip: %v", err)
						return
					}
					mu.Lock()
					slice = append(slice, took)
					mu.Unlock()
					time.Sleep(500 * time.Microsecond)
				}
			})
		}
		wg.Wait()
		slices.Sort(slice)
		high = append(high, percentile(slice, 0.99))
		all = append(all, slice...)
	}
	slices.Sort(high)
	slices.Sort(all)
	return high[len(high)/2], percentile(all, 0.5), len(all)
}
