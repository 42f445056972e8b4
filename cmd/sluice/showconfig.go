package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type configCmd struct {
	settings
	AdminCA        string `name:"admin-ca" help:"With --running: authorities for https; see sluice health --help." env:"SLUICE_ADMIN_CA" placeholder:"FILE"`
	AdminTokenFile string `help:"With --running: file that holds an operator's token. Default: that of --admin-token." env:"SLUICE_ADMIN_TOKEN_FILE" placeholder:"FILE"`
	Running        bool   `help:"Ask the gateway that runs what is in force there: the one at --admin, else at $$SLUICE_ADMIN, else where these settings have it listen."`
	Given          bool   `help:"Leave out what is as it is by default."`
	TOML           bool   `name:"toml" help:"Print a file for --config that says the same, with every other setting as a comment."`
	JSON           bool   `name:"json" help:"Print JSON, as GET /api/v1/config gives it."`
}

// Help implements kong.HelpProvider.
func (*configCmd) Help() string {
	return examples(
		"sluice config --config /etc/sluice.toml           # every setting, its value, and who says so",
		"sluice config --config /etc/sluice.toml --given   # those that somebody has given",
		"sluice config --running --json                    # of the gateway that runs",
		"sluice config --toml > sluice.toml                # a file to begin with") +
		"It takes all flags of sluice serve, which are in sluice serve --help and in docs/flags.md.\n\n" + readingCodes
}

// Run prints what is in force.
func (cmd *configCmd) Run(s *streams, in *inputs) error {
	switch {
	case cmd.TOML && (cmd.JSON || cmd.Running):
		return usageError{errors.New("config: --toml goes with neither --json nor --running")}
	case cmd.Running:
		return named("config", cmd.ask(s, in))
	}
	inForce := in.values()
	if cmd.Login == "" && !cmd.Dev && len(in.faults) == 0 { // to begin with
		if cmd.TOML {
			return writeTOML(s.stdout, in)
		}
		fmt.Fprintln(s.stderr, "sluice: warning: --login is not there: sluice serve wants it, or --dev")
		return cmd.print(s, settingsOf(in, func(p *param) any { return inForce[p.name] }))
	}
	o, err := cmd.settle(in, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer closeProvider(o.provider)
	if _, err := cmd.start(in, o.config); err != nil {
		return err
	}
	for _, w := range cmd.withLogin(o.warnings) {
		fmt.Fprintln(s.stderr, "sluice: warning:", w)
	}
	if cmd.TOML {
		return writeTOML(s.stdout, in)
	}
	in.derive(cmd.shared, inForce)
	return cmd.print(s, settingsOf(in, func(p *param) any { return inForce[p.name] }))
}

// print writes settings as a table or as JSON.
func (cmd *configCmd) print(s *streams, list []setting) error {
	if cmd.Given {
		all := list
		list = []setting{}
		for _, set := range all {
			if set.Source != fromDefault.String() {
				list = append(list, set)
			}
		}
	}
	if cmd.JSON {
		return json.NewEncoder(s.stdout).Encode(map[string][]setting{"config": list})
	}
	var t table.Table
	t.Columns("SETTING", "VALUE", "SOURCE")
	for _, set := range list {
		name := set.Key
		if set.Table != "" {
			name = set.Table + "." + set.Key
		}
		source := set.Source
		switch set.Source {
		case "api":
			source = "the API, until the next reload"
		case "memory":
			source = "derived from --memory"
		case "env", "file":
			source = set.Where
		}
		t.Row(name, valueText(set.Value), source)
	}
	return t.Write(s.stdout)
}

// valueText is a value of a setting, which may have come over the API, on one line.
func valueText(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(v, " ")
	case []any:
		texts := make([]string, len(v))
		for i, text := range v {
			texts[i] = fmt.Sprint(text)
		}
		return strings.Join(texts, " ")
	}
	return fmt.Sprint(value)
}

// ask prints what is in force in a gateway that runs.
func (cmd *configCmd) ask(s *streams, in *inputs) error {
	if err := in.locate(); err != nil {
		return usageError{err}
	}
	where := cmp.Or(os.Getenv("SLUICE_ADMIN"), cmd.Admin)
	if in.sourceOf("admin").source == fromFlag {
		where = cmd.Admin
	}
	c, err := (&adminFlag{Admin: where, AdminCA: cmd.AdminCA, AdminTokenFile: cmp.Or(cmd.AdminTokenFile, cmd.AdminToken)}).client()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Get(context.Background(), "config", nil)
	if err != nil {
		return err
	}
	var have struct {
		Config []setting `json:"config"`
	}
	if err := decodeAnswer(answer, &have); err != nil {
		return err
	}
	return cmd.print(s, have.Config)
}

// writeTOML writes a file that says what in says, and mentions all other settings with their defaults
// in comments.
func writeTOML(out io.Writer, in *inputs) error {
	var b strings.Builder
	b.WriteString("# Settings of sluice. Those behind # have their defaults. docs/flags.md says what each is.\n")
	tables := []string{""}
	of := make(map[string][]*param)
	for _, p := range in.params {
		if p.removed() || p.name == "config" {
			continue
		}
		if of[p.table] == nil && p.table != "" {
			tables = append(tables, p.table)
		}
		of[p.table] = append(of[p.table], p)
	}
	for _, name := range tables {
		if name != "" {
			fmt.Fprintf(&b, "\n[%s]\n", name)
		}
		for _, p := range of[name] {
			fmt.Fprintf(&b, "\n# %s\n", oneLine(p.flag.Help))
			mark := ""
			if !in.isGiven(p.name) || p.holdsSecret(p.flag.Target.Interface()) {
				mark = "# "
			}
			fmt.Fprintf(&b, "%s%s = %s\n", mark, p.key, p.toml())
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// toml is the value of a setting as a file has it, without secrets.
func (p *param) toml() string {
	switch v := p.shown(p.flag.Target.Interface()).(type) {
	case []string:
		texts := make([]string, len(v))
		for i, text := range v {
			texts[i] = quoted(text)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && p.flag.Enum == "" && p.misfitsText() {
			return strconv.FormatInt(n, 10)
		}
		if p.flag.IsBool() {
			return v
		}
		return quoted(v)
	}
	return `""`
}

// quoted is a text of TOML, whose escapes are those of JSON.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
