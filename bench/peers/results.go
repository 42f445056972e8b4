package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/report"
)

// results are what results.json holds.
type results struct {
	Commands []string   `json:"commands"` // that made it, the last one last
	Started  time.Time  `json:"started"`
	Ended    time.Time  `json:"ended"`
	Memory   string     `json:"memory"` // of the machine
	Peers    []peerInfo `json:"peers"`
	Rows     []row      `json:"rows"`
	Records  []record   `json:"records"`
}

type peerInfo struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Version string `json:"version"`
	Command string `json:"command"` // with PORT for the port
	Config  string `json:"config,omitempty"`
}

// A record is one run of one peer.
type record struct {
	Row     string    `json:"row"`
	X       float64   `json:"x"`
	Repeat  int       `json:"repeat"`
	Peer    string    `json:"peer"`
	Started time.Time `json:"started"`
	Command string    `json:"command"`
	Failure string    `json:"failure,omitempty"` // why it means nothing, or little

	// Metrics are those of bench.Result.Metric: times in nanoseconds, sizes in bytes. Beside them user and system of cpu, idle
	// CPU as a share of a core (cores), and generator, the share of the window that its busiest loop worked.
	Metrics map[string]float64 `json:"metrics,omitempty"`

	Accounting bench.Accounting `json:"accounting,omitzero"`
	Errors     []string         `json:"errors,omitempty"`
	Notes      []string         `json:"notes,omitempty"` // on the metrics

	standstill time.Duration // bench.Result's
}

var recorded = []string{
	"cpu", "cores", "rate", "publishes", "p50", "p99", "p99.9", "max", "rss", "conn", "lost", "late", "inflight", "refused", "mismatch", "closed", "failed",
}

// take keeps what r says.
func (rec *record) take(r *bench.Result) {
	rec.Metrics = map[string]float64{}
	keep := func(name string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			rec.Metrics[name] = v
		}
	}
	for _, name := range recorded {
		keep(name, r.Metric(name))
	}
	keep("user", r.Server.PerUnitUser*1000)
	keep("system", r.Server.PerUnitSystem*1000)
	keep("generator", r.Generator.BusiestLoop)
	if r.Rate == 0 { // idle, or a window too short for one publication: no unit to give CPU time per
		for _, name := range []string{"cpu", "user", "system", "rate"} {
			delete(rec.Metrics, name)
		}
	}
	rec.Accounting, rec.Errors, rec.standstill = r.Accounting, r.Errors, r.Standstill
}

// openResults takes up what is in -out, if anything is.
func openResults(args []string, s settings, peers map[string]*peer) (*results, error) {
	r, err := load(resultsFile(s.out))
	if errors.Is(err, os.ErrNotExist) {
		r, err = &results{Started: time.Now()}, nil
	}
	if err != nil {
		return nil, err
	}
	r.Memory = memoryTotal()
	args = slices.Clone(args)
	for i := 1; i < len(args); i++ {
		if args[i-1] == "-out" {
			args[i] = filepath.Base(args[i]) // where it lies here is nobody's business
		}
	}
	if command := strings.TrimSpace("peers " + strings.Join(args, " ")); !slices.Contains(r.Commands, command) {
		r.Commands = append(r.Commands, command)
	}
	var infos []peerInfo
	const port = 65535 // stands for the one each run gets
	for _, p := range allPeers() {
		if peers[p.name] == nil { // it takes no part, but may have taken part before
			if i := slices.IndexFunc(r.Peers, func(o peerInfo) bool { return o.Name == p.name }); i >= 0 {
				infos = append(infos, r.Peers[i])
			}
			continue
		}
		p = peers[p.name]
		args, config := p.command(p, place{port: port, loops: s.loops})
		for i := range args {
			args[i] = strings.TrimPrefix(args[i], p.work+"/")
		}
		plain := func(text string) string { return strings.ReplaceAll(text, fmt.Sprint(port), "PORT") }
		infos = append(infos, peerInfo{p.name, p.about, p.version, plain(strings.Join(args, " ")), plain(config)})
	}
	r.Peers = infos
	return r, nil
}

// add keeps a run.
func (r *results) add(rec record) {
	r.Records = append(r.Records, rec)
	for _, o := range r.Rows {
		if o.Name == rec.Row && o.Measured != nil {
			if o.Measured.Ended.IsZero() {
				o.Measured.Started = rec.Started
			}
			o.Measured.Ended = time.Now()
		}
	}
}

// machine says where a row was measured.
func (r *results) machine(name string, m bench.Machine) {
	for _, o := range r.Rows {
		if o.Name == name && o.Measured != nil {
			o.Measured.Machine = m
		}
	}
}

func memoryTotal() string {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return "?"
	}
	return report.Bytes(int64(info.Totalram) * int64(info.Unit))
}

// save writes r to dir, whole or not at all.
func (r *results) save(dir string) error {
	r.Ended = time.Now()
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	name := resultsFile(dir)
	if err := os.WriteFile(name+".new", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func load(name string) (*results, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(results)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// render writes tables and plots.
func (r *results) render(dir string) error {
	if err := r.drawAll(dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown()), 0o644)
}

// drawAll writes the plots.
func (r *results) drawAll(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if svg := r.plot(row); svg != "" {
			if err := os.WriteFile(filepath.Join(dir, plotName(row)), []byte(svg), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func plotName(r row) string { return r.Name + ".svg" }
