package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/peers/mqtt"
	"github.com/sluicenet/sluice/bench/peers/nats"
)

// A peer is a server to measure.
type peer struct {
	name     string
	about    string
	protocol string // of bench.Config
	hoards   bool   // when flooded it has work left for minutes, which nobody waits for

	// prepare finds or builds the program and says its version; errMissing that it is not to be had here.
	prepare func(ctx context.Context, p *peer, work string) error
	// command is how to run it, with the text of its config file, if it takes one.
	command func(p *peer, at place) (args []string, config string)
	// adjust is how its load differs from that of the row; nil: it does not.
	adjust func(c *bench.Config)

	work    string
	program string
	version string
}

// A place is where a server runs: ports of 127.0.0.1, and event loops, 0 for as many as there are cores.
type place struct {
	port, loops   int
	worker, admin int      // 0: no worker listener, any port
	tls           *tlsPair // nil: plain
	flags         []string // of sluice, beside the usual ones
}

// errMissing says that a peer is not installed.
var errMissing = errors.New("not installed")

func allPeers() []*peer {
	return []*peer{
		{
			name: sluice, about: "the gateway of this checkout", protocol: "gosoc",
			prepare: prepareSluice,
			command: sluiceCommand,
		},
		{
			name: dev, about: "the same, with its development worker answering in the process", protocol: "gosoc",
			prepare: prepareSluice,
			command: sluiceCommand,
			adjust:  func(c *bench.Config) { c.Scenario, c.Route = "echo", "" },
		},
		{
			name: sender, about: "a bare epoll sender in C, one send() per connection and message: the kernel's price of fan-out", protocol: "gosoc", hoards: true,
			prepare: func(ctx context.Context, p *peer, work string) error {
				if _, err := exec.LookPath("cc"); err != nil {
					return errMissing
				}
				dir, err := moduleDir(ctx, "")
				if err != nil {
					return err
				}
				p.program = filepath.Join(work, "sender")
				if _, err := output(ctx, dir, "cc", "-O2", "-pthread", "-o", p.program, "sender/sender.c"); err != nil {
					return err
				}
				p.version, err = output(ctx, "", "cc", "--version")
				p.version, _, _ = strings.Cut(p.version, "\n")
				return err
			},
			command: func(p *peer, at place) ([]string, string) {
				return []string{p.program, strconv.Itoa(at.port), strconv.Itoa(orCores(at.loops))}, ""
			},
		},
		{
			name: gnetecho, about: "a bare gnet server that answers requests with themselves", protocol: "gosoc",
			prepare: func(ctx context.Context, p *peer, work string) (err error) {
				p.program = filepath.Join(work, "gnetecho")
				if err = buildGo(ctx, "", "./gnetecho", p.program); err == nil {
					p.version, err = output(ctx, "", "go", "list", "-m", "github.com/panjf2000/gnet/v2")
				}
				return err
			},
			command: func(p *peer, at place) ([]string, string) {
				return []string{p.program, "-listen", fmt.Sprintf("127.0.0.1:%d", at.port), "-loops", strconv.Itoa(orCores(at.loops))}, ""
			},
		},
		{
			name: natsOld, about: "nats-server as Debian has it", protocol: nats.Protocol,
			prepare: func(ctx context.Context, p *peer, _ string) error {
				return installed(ctx, p, "nats-server", "--version")
			},
			command: natsCommand,
		},
		{
			name: natsNew, about: "nats-server v2.15.2 from the Go module proxy", protocol: nats.Protocol,
			prepare: func(ctx context.Context, p *peer, work string) (err error) {
				p.program = filepath.Join(work, "nats-server")
				if err = buildGo(ctx, "", "github.com/nats-io/nats-server/v2", p.program); err == nil {
					p.version, err = output(ctx, "", p.program, "--version")
				}
				return err
			},
			command: natsCommand,
		},
		{
			name: mosquitto, about: "mosquitto as Debian has it, MQTT 3.1.1 at QoS 0", protocol: mqtt.Protocol, hoards: true,
			prepare: func(ctx context.Context, p *peer, _ string) error {
				if err := installed(ctx, p, "mosquitto", "-h"); err != nil {
					return err
				}
				p.version, _, _ = strings.Cut(p.version, "\n")
				return nil
			},
			command: mosquittoCommand,
		},
	}
}

func orCores(loops int) int {
	if loops > 0 {
		return loops
	}
	return runtime.NumCPU()
}

func sluiceCommand(p *peer, at place) ([]string, string) {
	args := []string{
		p.program, "serve", "--dev", "--listen", fmt.Sprintf("%s://127.0.0.1:%d", at.scheme(), at.port),
		"--admin", fmt.Sprintf("127.0.0.1:%d", at.admin), "--log-level", "warn",
	}
	if at.tls != nil {
		args = append(args, "--tls-cert", at.tls.cert, "--tls-key", at.tls.key)
	}
	args = append(args, at.flags...)
	if at.worker > 0 {
		args = append(args, "--worker", fmt.Sprintf("tcp://127.0.0.1:%d", at.worker), "--route", fmt.Sprintf("%s=%d", workerRoute, workerID))
	} else {
		args = append(args, "--worker", "none")
	}
	if at.loops > 0 {
		args = append(args, "--loops", strconv.Itoa(at.loops))
	}
	return args, ""
}

func natsCommand(p *peer, at place) ([]string, string) {
	return []string{p.program, "-c", p.configFile()}, fmt.Sprintf(`listen: "127.0.0.1:%d"
max_connections: 100000
max_pending: 268435456
write_deadline: "60s"
ping_interval: "10m"
%s`, at.port, at.tls.config("tls { cert_file: %q, key_file: %q, handshake_first: true, timeout: 60 }\n"))
}

func mosquittoCommand(p *peer, at place) ([]string, string) {
	return []string{p.program, "-c", p.configFile()}, fmt.Sprintf(`listener %d 127.0.0.1
allow_anonymous true
max_queued_messages 0
set_tcp_nodelay true
persistence false
sys_interval 0
log_dest none
%s`, at.port, at.tls.config("certfile %s\nkeyfile %s\nuser root\n"))
}

func (p *peer) configFile() string { return filepath.Join(p.work, p.name+".conf") }

// run starts the peer, in the environment and what env adds to it.
func (p *peer) run(ctx context.Context, at place, env ...string) (*process, error) {
	args, config := p.command(p, at)
	if config != "" {
		if err := os.WriteFile(p.configFile(), []byte(config), 0o644); err != nil {
			return nil, err
		}
	}
	return start(ctx, args, fmt.Sprintf("127.0.0.1:%d", at.port), env...)
}

func prepareSluice(ctx context.Context, p *peer, work string) error {
	dir, err := moduleDir(ctx, "github.com/sluicenet/sluice")
	if err != nil {
		return err
	}
	p.program = filepath.Join(work, "sluice")
	if err := buildGo(ctx, dir, "./cmd/sluice", p.program); err != nil {
		return err
	}
	p.version = "this checkout"
	if commit, err := output(ctx, dir, "git", "describe", "--always", "--dirty"); err == nil {
		p.version = commit
	}
	return nil
}

// moduleDir is where a module of the build lies, the one we are part of without a path.
func moduleDir(ctx context.Context, path string) (string, error) {
	args := []string{"list", "-m", "-f", "{{.Dir}}"}
	if path != "" {
		args = append(args, path)
	}
	return output(ctx, "", "go", args...)
}

func buildGo(ctx context.Context, dir, what, to string) error {
	_, err := output(ctx, dir, "go", "build", "-trimpath", "-o", to, what)
	return err
}

// installed looks for a program of the system's.
func installed(ctx context.Context, p *peer, name, versionFlag string) (err error) {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if p.program, err = exec.LookPath(path); err == nil {
			break
		}
	}
	if err != nil {
		return errMissing
	}
	b, err := exec.CommandContext(ctx, p.program, versionFlag).CombinedOutput()
	if len(b) == 0 && err != nil {
		return err
	}
	p.version = strings.TrimSpace(string(b)) // some say it with an exit code
	return nil
}

// preparePeers makes ready whoever takes part in the rows and is asked for. Who is missing is left out, with a word.
func preparePeers(ctx context.Context, s settings, chosen []row, work string) (map[string]*peer, error) {
	wanted := strings.Split(s.peers, ",")
	all := allPeers()
	for _, name := range wanted {
		if name != "all" && !slices.ContainsFunc(all, func(p *peer) bool { return p.name == name }) {
			return nil, fmt.Errorf("%w: no peer %q; -list shows them", errUsage, name)
		}
	}
	ready := map[string]*peer{}
	for _, p := range all {
		if p.name != sluice && s.peers != "all" && !slices.Contains(wanted, p.name) {
			continue
		}
		if !slices.ContainsFunc(chosen, func(r row) bool { return slices.Contains(r.Peers, p.name) }) {
			continue
		}
		p.work = work
		switch err := p.prepare(ctx, p, work); {
		case errors.Is(err, errMissing):
			fmt.Fprintf(os.Stderr, "peers: %s is not installed: left out\n", p.name)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", p.name, err)
		default:
			ready[p.name] = p
		}
	}
	return ready, nil
}
