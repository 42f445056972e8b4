package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/bench/latency"
)

// workerEnv, set to anything, makes ServeIfWorker serve.
const workerEnv = "SLUICE_BENCH_WORKER"

// An order is what the first process tells another one, a line of JSON each, and gets a report for.
type order struct {
	Do        string           `json:"do"`
	Config    *Config          `json:"config,omitempty"`
	Proc      int              `json:"proc,omitempty"`
	Times     [3]int64         `json:"times,omitzero"`
	Published map[int][]uint32 `json:"published,omitempty"`
}

type report struct {
	Err       string           `json:"err,omitempty"`
	Snapshot  *snapshot        `json:"snapshot,omitempty"`
	Published map[int][]uint32 `json:"published,omitempty"`
	Tally     *tally           `json:"tally,omitempty"`
}

// ServeIfWorker is for the first line of main, and of TestMain: in a process that Run started it
// works until Run is done and does not return. In every other it does nothing.
func ServeIfWorker() {
	if os.Getenv(workerEnv) == "" {
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-bench: worker process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(in io.Reader, out io.Writer) error {
	dec, enc := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	var l *local
	defer func() {
		if l != nil {
			l.close()
		}
	}()
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // the first process is done, or gone
			}
			return err
		}
		var r report
		var err error
		if o.Do == "start" {
			l, err = startWorker(o)
		} else if l != nil {
			r, err = l.obey(o)
		}
		if err != nil {
			r = report{Err: err.Error()}
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
}

func startWorker(o order) (*local, error) {
	p, err := o.Config.plan()
	if err != nil {
		return nil, err
	}
	runtime.GOMAXPROCS(p.Loops + 1)
	return newLocal(p, o.Proc)
}

func (l *local) obey(o order) (r report, err error) {
	switch o.Do {
	case "connect":
		err = l.connect()
	case "enlist":
		err = l.enlist()
	case "begin":
		err = l.begin(o.Times[0], o.Times[1], o.Times[2])
	case "halt":
		err = l.halt()
	case "snapshot":
		var s snapshot
		s, err = l.snapshot()
		s.Latency, s.Raw = latency.Pack(s.latency), latency.Pack(s.raw)
		r.Snapshot = &s
	case "published":
		r.Published, err = l.published()
	case "settle":
		var t tally
		t, err = l.settle(o.Published)
		r.Tally = &t
	default:
		err = fmt.Errorf("no order %q", o.Do)
	}
	return r, err
}

// remote is a shard in a process of its own.
type remote struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder

	deadline func(time.Time) error // of reading what it says
}

// A process that says nothing for so long is stuck, or was stopped.
const (
	answerTimeout = 30 * time.Second
	exitTimeout   = 2 * time.Second
)

func startProcs(p *plan) (shards []shard, err error) {
	defer func() {
		if err != nil {
			for _, s := range shards {
				s.close()
			}
			shards = nil
		}
	}()
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for i := range p.Procs {
		r := &remote{cmd: exec.Command(exe)}
		r.cmd.Env = append(os.Environ(), workerEnv+"=1")
		r.cmd.Stderr = os.Stderr
		// An interrupt at the terminal is for the first process, which then ends the others.
		r.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
		if r.in, err = r.cmd.StdinPipe(); err != nil {
			return shards, err
		}
		out, err := r.cmd.StdoutPipe()
		if err != nil {
			return shards, err
		}
		r.out = json.NewDecoder(bufio.NewReader(out))
		if pipe, ok := out.(*os.File); ok {
			r.deadline = pipe.SetReadDeadline
		}
		if err := r.cmd.Start(); err != nil {
			return shards, fmt.Errorf("bench: process %d: %w", i, err)
		}
		shards = append(shards, r)
		if _, err := r.ask(order{Do: "start", Config: &p.Config, Proc: i}); err != nil {
			return shards, err
		}
	}
	return shards, nil
}

func (r *remote) ask(o order) (report, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return report{}, err
	}
	if r.deadline != nil {
		_ = r.deadline(time.Now().Add(answerTimeout))
	}
	var answer report
	if _, err = r.in.Write(append(b, '\n')); err == nil {
		err = r.out.Decode(&answer)
	}
	if err != nil {
		return report{}, fmt.Errorf("bench: process %d: %w", r.cmd.Process.Pid, err)
	}
	if answer.Err != "" {
		return report{}, fmt.Errorf("bench: process %d: %s", r.cmd.Process.Pid, answer.Err)
	}
	return answer, nil
}

func (r *remote) connect() error {
	_, err := r.ask(order{Do: "connect"})
	return err
}

func (r *remote) begin(t0, from, to int64) error {
	_, err := r.ask(order{Do: "begin", Times: [3]int64{t0, from, to}})
	return err
}

func (r *remote) halt() error {
	_, err := r.ask(order{Do: "halt"})
	return err
}

func (r *remote) snapshot() (snapshot, error) {
	a, err := r.ask(order{Do: "snapshot"})
	if err != nil {
		return snapshot{}, err
	}
	s := *a.Snapshot
	if s.latency, err = latency.Unpack(s.Latency); err != nil {
		return s, err
	}
	s.raw, err = latency.Unpack(s.Raw)
	return s, err
}

func (r *remote) published() (map[int][]uint32, error) {
	a, err := r.ask(order{Do: "published"})
	return a.Published, err
}

func (r *remote) settle(published map[int][]uint32) (tally, error) {
	a, err := r.ask(order{Do: "settle", Published: published})
	if err != nil {
		return tally{}, err
	}
	return *a.Tally, nil
}

func (r *remote) close() {
	r.in.Close()
	defer time.AfterFunc(exitTimeout, func() { _ = r.cmd.Process.Kill() }).Stop()
	_ = r.cmd.Wait()
}
