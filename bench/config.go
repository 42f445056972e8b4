package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicenet/sluice/bench/pace"
	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/bench/wire"
)

// ErrConfig is what every error about a Config wraps.
var ErrConfig = errors.New("bench")

// ConnectionsPerProcess is how many connections one process can hold: file descriptors are
// limited to 20,000 in many places, and the loops need a few.
const ConnectionsPerProcess = 19_500

// topicDigits is the fixed width of a topic's number in its name, so that packets have one length.
const topicDigits = 7

// A Config says what to do. The zero value of a field is its default.
type Config struct {
	Scenario string `json:"scenario"` // a key of scenarios
	// Target is tcp://host:port or ws://host:port/path; tls and wss with TLS, whose certificate is
	// not verified; unix:///path, unix:@name or ws+unix:///path.
	Target string `json:"target"`
	// Others are further gateways of its cluster, which differ from Target in their address alone. The
	// members of each topic, and the publishers, are dealt among all of them in turn.
	Others   []string `json:"others,omitempty"`
	Protocol string   `json:"protocol"` // gosoc (default), gosoc-fixed6, longbridge, netsvr
	Gzip     bool     `json:"gzip,omitempty"`

	// Worker is the gateway's address for workers, host:port or unix:///path. With it publishers
	// are workers; netsvr needs it.
	Worker string `json:"worker,omitempty"`

	Connections int `json:"connections"`          // subscribers, requesters, or logins; 100
	Topics      int `json:"topics,omitempty"`     // of fanout and churn; 1. Each connection hears at least one
	Publishers  int `json:"publishers,omitempty"` // of fanout; 1
	Size        int `json:"size,omitempty"`       // bytes of a message or request body; 100

	// Rate is events per second: publishes, requests, logins, or closings. Zero is as fast as
	// possible for fanout and connect, a closed loop for echo and worker, 100 for churn.
	Rate   float64 `json:"rate,omitempty"`
	Stages string  `json:"stages,omitempty"` // instead of Rate and Duration, as package pace reads it

	Depth      int     `json:"depth,omitempty"`      // requests in flight per connection; 1, in an open loop 1,024
	Route      string  `json:"route,omitempty"`      // of worker
	Background float64 `json:"background,omitempty"` // publishes per second beside churn
	Resume     bool    `json:"resume,omitempty"`     // connect: log in with sessions first, measure coming back

	Duration time.Duration `json:"duration_ns"` // of the measured window; 10 s
	Warmup   time.Duration `json:"warmup_ns"`
	Drain    time.Duration `json:"drain_ns"` // longest wait at the end while nothing arrives of what is in flight; 5 s

	Loops       int           `json:"loops"`                  // per process; 1
	Procs       int           `json:"procs"`                  // processes; 1, which is this one
	Sources     int           `json:"sources,omitempty"`      // source addresses from 127.0.0.2; 0 is as needed
	Dialing     int           `json:"dialing,omitempty"`      // connections being brought up at once, in all; 256
	StepTimeout time.Duration `json:"step_timeout_ns"`        // for a connection to come up; 10 s
	Ping        time.Duration `json:"ping_ns"`                // between keep-alives of a connection; 50 s, below 0 never
	TopicPrefix string        `json:"topic_prefix,omitempty"` // "bench."
	TokenPrefix string        `json:"token_prefix,omitempty"` // tokens are this and a number; empty is no token

	PIDs  []int  `json:"pids,omitempty"`  // the gateway's processes, to watch
	Admin string `json:"admin,omitempty"` // its admin address, http://..., for its own counters
}

// A plan is a Config with everything decided.
type plan struct {
	Config
	addrs        []address     // of Target, and of Others
	link         address       // of workers, if publishers are some
	tls          *tls.Config   // of clients; nil: plain
	schedule     pace.Schedule // empty: no pace
	canSubscribe bool
	groups       int      // of topics heard together; see doc of fanout
	subGroups    []uint32 // subscribers of each group
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	span := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Protocol == "" {
		c.Protocol = "gosoc"
	}
	if c.TopicPrefix == "" {
		c.TopicPrefix = "bench."
	}
	def(&c.Connections, 100)
	def(&c.Topics, 1)
	def(&c.Publishers, 1)
	def(&c.Size, 100)
	def(&c.Loops, 1)
	def(&c.Procs, 1)
	def(&c.Dialing, 256)
	if c.Scenario == "churn" && c.Rate == 0 && c.Stages == "" {
		c.Rate = 100
	}
	if c.Rate > 0 || c.Stages != "" {
		def(&c.Depth, 1024)
	}
	def(&c.Depth, 1)
	span(&c.Duration, 10*time.Second)
	span(&c.Drain, 5*time.Second)
	span(&c.StepTimeout, 10*time.Second)
	span(&c.Ping, 50*time.Second)
	return c
}

func (c Config) plan() (*plan, error) {
	bad := func(format string, args ...any) (*plan, error) {
		return nil, fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	p := &plan{Config: c.withDefaults()}
	sc, ok := scenarios[p.Scenario]
	if !ok {
		return bad("no scenario %q", p.Scenario)
	}
	for name, n := range map[string]int{
		"connections": p.Connections, "topics": p.Topics, "publishers": p.Publishers, "size": p.Size,
		"loops": p.Loops, "procs": p.Procs, "depth": p.Depth, "dialing": p.Dialing,
	} {
		if n < 1 {
			return bad("%s must be at least 1", name)
		}
	}
	if p.Publishers > stamp.MaxPublishers {
		return bad("at most %d publishers", stamp.MaxPublishers)
	}
	if p.Depth > maxDepth {
		return bad("at most %d requests in flight per connection", maxDepth)
	}
	if p.Rate < 0 || p.Background < 0 || p.Warmup < 0 || p.Duration < 0 || p.Sources < 0 || p.Sources > 65_000 {
		return bad("rates, times and sources cannot be negative, nor sources above 65,000")
	}
	if err := p.findTargets(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var err error
	if wire.Secure(p.Target) { // a session cache would have handshakes cost less than those of strangers
		p.tls = &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true}
	}
	if p.Worker != "" {
		if p.link, err = resolveWorker(p.Worker); err != nil {
			return nil, fmt.Errorf("%w: worker: %w", ErrConfig, err)
		}
	}
	d, err := wire.New(p.wireOptions())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.canSubscribe = d.Can(wire.CanSubscribe)
	if _, _, _, err := d.Body(p.Size); err != nil {
		return nil, fmt.Errorf("%w: size: %w", ErrConfig, err)
	}
	if err := sc.check(p, d); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, p.Scenario, err)
	}
	if total := p.total(); total > p.Procs*ConnectionsPerProcess {
		return bad("%d connections need %d processes", total, (total+ConnectionsPerProcess-1)/ConnectionsPerProcess)
	}
	if err := p.makeSchedule(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.chooseSources()
	p.makeGroups()
	return p, nil
}

// findTargets resolves Target and Others.
func (p *plan) findTargets() error {
	transport, _, path, err := wire.ParseTarget(p.Target)
	if err != nil {
		return err
	}
	for _, target := range append([]string{p.Target}, p.Others...) {
		t, text, at, err := wire.ParseTarget(target)
		if err != nil {
			return err
		}
		if t != transport || at != path || wire.Secure(target) != wire.Secure(p.Target) {
			return fmt.Errorf("target %s differs from %s in more than its address", target, p.Target)
		}
		addr, err := resolve(text)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		p.addrs = append(p.addrs, addr)
	}
	return nil
}

// addr is where connection i of its role goes to. Each group of topics has members everywhere.
func (p *plan) addr(i int) address {
	groups := max(p.groups, 1)
	return p.addrs[(i/groups+i%groups)%len(p.addrs)]
}

func (p *plan) wireOptions() wire.Options {
	return wire.Options{
		Protocol: p.Protocol, Target: p.Target, Gzip: p.Gzip, Replies: p.Scenario == "echo" || p.Scenario == "worker",
	}
}

// enlists reports whether a worker subscribes the members, who cannot do it themselves.
func (p *plan) enlists() bool { return p.Scenario == "fanout" && !p.canSubscribe }

// total is all connections, publishers included.
func (p *plan) total() int {
	if scenarios[p.Scenario].publishes(p) {
		return p.Connections + p.Publishers
	}
	return p.Connections
}

func (p *plan) makeSchedule() error {
	if p.Stages != "" {
		stages, err := pace.Parse(p.Stages)
		if err != nil {
			return err
		}
		p.schedule = pace.New(stages...)
		p.Duration = max(p.schedule.Span()-p.Warmup, 0)
		if p.Duration == 0 {
			return errors.New("warm-up is as long as all stages")
		}
		return nil
	}
	if p.Rate > 0 {
		p.schedule = pace.Constant(p.Rate, p.Warmup+p.Duration)
	}
	return nil
}

// portsPerSource is how many connections one source address gets: the kernel's default range has
// 28,232 ports.
const portsPerSource = 20_000

func (p *plan) chooseSources() {
	if to := p.addrs[0].tcp.Addr(); p.Sources > 0 || !to.IsLoopback() || !to.Is4() {
		return
	}
	total := p.total()
	if scenarios[p.Scenario].reconnects {
		p.Sources = 16 // ports of closed connections rest for a while
	} else if total > portsPerSource {
		p.Sources = 1
	}
	p.Sources = max(p.Sources, (total+portsPerSource-1)/portsPerSource*min(p.Sources, 1))
}

// source is the address that connection i dials from; invalid is the kernel's choice.
func (p *plan) source(i int) netip.Addr {
	if p.Sources == 0 {
		return netip.Addr{}
	}
	n := uint32(127<<24|2) + uint32(i%p.Sources)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func (p *plan) makeGroups() {
	p.groups = min(p.Topics, p.Connections)
	p.subGroups = make([]uint32, p.groups)
	for i := range p.Connections {
		p.subGroups[i%p.groups]++
	}
}

// appendTopic appends the name of topic t.
func (p *plan) appendTopic(dst []byte, t int) []byte {
	dst = append(dst, p.TopicPrefix...)
	for i, div := 0, 1_000_000; i < topicDigits; i, div = i+1, div/10 {
		dst = append(dst, '0'+byte(t/div%10))
	}
	return dst
}
