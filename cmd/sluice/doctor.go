package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/doctor"
	"github.com/sluicenet/sluice/internal/loopback"
)

// doctorCmd takes the flags of serve, as check does, and finds the gateway by the same --admin.
type doctorCmd struct {
	settings
	JSON           bool          `name:"json" help:"Print one object with all findings, those that are in order, too."`
	Connections    int           `help:"How many there are to be: limits are computed for it. 0: --max-connections, else 10000, or more if there are." default:"0" placeholder:"N"`
	All            bool          `short:"a" help:"Show what is in order, too."`
	Sample         time.Duration `help:"How long counters of the kernel are watched: what moves meanwhile is a warning, what has moved before a note. 0: one look." default:"1s" placeholder:"TIME"`
	AdminCA        string        `name:"admin-ca" help:"As in the other commands: authorities for --admin https://." env:"SLUICE_ADMIN_CA" placeholder:"FILE"`
	AdminTokenFile string        `help:"As in the other commands: file of an operator's token. Default: the --admin-token or --api-key-file of the gateway's own flags, if they are given." env:"SLUICE_ADMIN_TOKEN_FILE" placeholder:"FILE"`
}

// Help implements kong.HelpProvider.
func (*doctorCmd) Help() string {
	return "Looks at this machine, at the gateway that runs, and at its flags: those given here, as to sluice serve, or in --config, else those that the gateway says it has. " +
		"For each finding it prints what was found, why it matters, and the lines that fix it. It changes nothing and starts no program.\n\n" +
		examples(
			"sluice doctor                                 # this machine and the gateway on 127.0.0.1:6070",
			"sluice doctor --connections 100000 --all      # would a hundred thousand do? and what is in order",
			"sluice doctor --config /etc/sluice.toml       # before the gateway is started",
			"sluice doctor --json                          # one object with all findings") +
		"Exit codes: 0 nothing serious (notes and warnings at most), 1 there are findings of severity error, 2 wrong usage."
}

// shortHelp leaves the settings out of the help of doctor, config and check, which are not about them:
// sluice serve --help has them.
func shortHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if node := ctx.Selected(); node != nil && (slices.Contains([]string{"doctor", "config", "check"}, node.Name)) {
		for _, p := range paramsOf(node) {
			p.flag.Hidden = p.flag.Hidden || p.name != "config" && p.name != "admin"
		}
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

// errSerious is what a doctor ends with who has found errors. What he has found is printed already.
var errSerious = errors.New("there is something serious")

// Run looks at everything and prints what it finds.
func (cmd *doctorCmd) Run(s *streams, in *inputs) error {
	r, err := cmd.examine(in)
	if err != nil {
		return named("doctor", err)
	}
	if cmd.JSON {
		b, err := json.Marshal(r)
		if err == nil {
			err = printJSON(s.stdout, b)
		}
		if err != nil {
			return named("doctor", err)
		}
	} else if err := r.Text(s.stdout, cmd.All); err != nil {
		return named("doctor", err)
	}
	if r.Errors > 0 {
		return named("doctor", fmt.Errorf("%w: %s", errSerious, plural(r.Errors, "error")))
	}
	return nil
}

// maxSample is how long counters may be watched.
const maxSample = time.Hour

func (cmd *doctorCmd) examine(given *inputs) (r doctor.Report, err error) {
	onLine := func(f fault) bool { return f.source == fromFlag }
	switch {
	case slices.ContainsFunc(given.faults, onLine):
		return r, usageError{given.locate()}
	case cmd.Connections < 0 || cmd.Connections > 1<<30:
		return r, usageError{fmt.Errorf("--connections %d: want 0 to %d", cmd.Connections, 1<<30)}
	case cmd.Sample < 0 || cmd.Sample > maxSample:
		return r, usageError{fmt.Errorf("--sample %v: want 0 to %v", cmd.Sample, maxSample)}
	}
	in := doctor.Input{
		Root: os.DirFS("/"), System: runtime.GOOS, CPUs: runtime.NumCPU(), PageSize: os.Getpagesize(), Connections: cmd.Connections,
		Environment: map[string]string{"GOTRACEBACK": os.Getenv("GOTRACEBACK")},
	}
	if cmd.Sample > 0 {
		in.Pause = func() { time.Sleep(cmd.Sample) }
	}
	if in.FlagsFrom = givenIn(given); in.FlagsFrom != "" {
		in.Flags, in.Warnings, in.FlagsErr = cmd.flags(given)
		in.FilesAreHere = true
		if dir, err := os.Getwd(); err == nil {
			in.Dir = dir
		}
	}
	c, err := cmd.client(given)
	if err != nil {
		return r, err
	}
	defer c.Close()
	in.Gateway, in.GatewayErr = cmd.gateway(c)
	if in.Gateway != nil {
		in.Gateway.Elsewhere = !isHere(in.Gateway.Address)
	}
	if in.Gateway != nil && in.Flags == nil {
		if flags, onLine, err := cmd.askFlags(c); err == nil {
			in.Flags, in.OnLine, in.FlagsFrom = flags, onLine, "the gateway"
		}
		in.FilesAreHere = !in.Gateway.Elsewhere
	}
	return doctor.Examine(in), nil
}

// givenIn says where settings were given, empty if nowhere. --admin alone says whom to ask.
func givenIn(in *inputs) string {
	from := make(map[string]bool)
	for name, items := range in.given {
		if name == "admin" || name == "config" {
			continue
		}
		switch items[0].source {
		case fromFlag:
			from["the command line"] = true
		case fromEnv:
			from["the environment"] = true
		}
	}
	places := slices.Sorted(maps.Keys(from))
	if in.file != "" {
		places = append(places, in.file)
	}
	return strings.Join(places, " and ")
}

// flags are the settings in force here, as a gateway would show them, what it would warn of, and why it
// would not start.
func (cmd *doctorCmd) flags(in *inputs) (flags doctor.Flags, warnings []string, err error) {
	o, err := cmd.settle(in, slog.New(slog.DiscardHandler))
	if err == nil {
		_, err = cmd.start(in, o.config)
		closeProvider(o.provider)
	}
	values := in.values()
	flags = make(doctor.Flags)
	for _, s := range settingsOf(in, func(p *param) any { return values[p.name] }) {
		flags.Set(s.Name, s.Value)
	}
	flags.Set("memory", int64(cmd.budget.size))
	return flags, o.warnings, err
}

// client returns what asks the gateway: where its flags or the environment say it is.
func (cmd *doctorCmd) client(given *inputs) (*adminapi.Client, error) {
	where := adminFlag{Admin: cmd.Admin, AdminCA: cmd.AdminCA, AdminTokenFile: cmd.AdminTokenFile}
	if given.sourceOf("admin").source != fromFlag {
		where.Admin = cmp.Or(os.Getenv("SLUICE_ADMIN"), where.Admin)
	}
	if where.AdminTokenFile == "" {
		where.AdminTokenFile = cmp.Or(cmd.AdminToken, cmd.APIKeyFile)
	}
	if where.Admin == "none" {
		where.Admin = defaultAdmin // nobody is there, which is what is said
	}
	if c, err := where.client(); err == nil || cmd.AdminTokenFile != "" {
		return c, err
	}
	where.AdminTokenFile = "" // the file is serve's, and check has said what is wrong with it
	return where.client()
}

// gateway asks the one that runs, if there is one.
func (cmd *doctorCmd) gateway(c *adminapi.Client) (*doctor.Gateway, error) {
	ctx := context.Background()
	status, body, err := c.Raw(ctx, "/readyz", url.Values{})
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK && status != http.StatusServiceUnavailable {
		return nil, c.Stranger(status)
	}
	g := &doctor.Gateway{Address: c.Address(), Now: time.Now()}
	if status != http.StatusOK {
		g.Reasons = strings.Split(strings.TrimSpace(string(body)), "\n")
	}
	page, err := c.Text(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	g.Metrics = doctor.ParseMetrics(page)
	return g, nil
}

func (cmd *doctorCmd) askFlags(c *adminapi.Client) (flags doctor.Flags, onLine []string, err error) {
	body, err := c.Get(context.Background(), "config", nil)
	if err != nil {
		return nil, nil, err
	}
	return doctor.ParseFlags(body)
}

// isHere reports whether a gateway that is asked at an address is certainly on this machine.
func isHere(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	return loopback.Host(u.Hostname())
}
