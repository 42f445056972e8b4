package main

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/internal/golden"
	"github.com/sluicenet/sluice/internal/manpage"
)

// manDate is the date of sluice(1). A release writes its own there.
const manDate = "2026-11-29"

// packaging/man/sluice.1 is the manual page of the commands, as they are. It is made with:
// go test ./cmd/sluice -run Flags -update.
func TestFlagsManPage(t *testing.T) {
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	got := manpage.Write(parser.Model, manpage.Page{
		Date: manDate,
		Description: `sluice holds very many clients on a few event loops, speaks their protocols (GOSOC, Longbridge, netsvr,
over TCP and WebSocket) on one port, and lets business processes, its workers, reach them through sessions and
topics. "sluice serve" is the gateway; the other commands ask one that runs, over its admin listener.

Try it:

    sluice serve --dev
    sluice watch news
    sluice publish news 'hello, world'

Settings of serve, check and config come from the command line, then from the environment, then from the TOML file that
--config names. Sizes are bytes, or numbers with KiB, MiB or GiB; times are as in 500ms, 10s or 20m. Those marked "Live"
change while the gateway runs, at SIGHUP.`,
		Note: func(f manpage.Flag) string {
			if isLive(&f) {
				return " Live."
			}
			return ""
		},
		Sections: []manpage.Section{
			{Title: "SIGNALS", Items: [][2]string{
				{"SIGTERM, SIGINT, SIGQUIT", "Drains within --drain: requests under way are answered, clients are told. A second one cuts what is left."},
				{"SIGHUP", "Reads the config file, tokens, keys and certificates again. With a mistake anywhere, or a change that wants a restart, nothing changes."},
			}},
			{Title: "ENVIRONMENT", Items: [][2]string{
				{"SLUICE_ADMIN, SLUICE_ADMIN_CA, SLUICE_ADMIN_TOKEN_FILE", "Stand in for the flags of these names of the commands that ask a gateway."},
				{"SLUICE_...", "Settings of serve: the flag's name in capitals, with _ for -; for --admin SLUICE_ADMIN_LISTEN. Lists have blanks between their values."},
				{"NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: serve tells it when it is ready, reloads, drains, and that its event loops run."},
				{"GOMAXPROCS, GOGC, GOMEMLIMIT", "Go's runtime, instead of what serve would set."},
			}},
			{Title: "FILES", Text: "As the packages have them:", Items: [][2]string{
				{"/etc/sluice/sluice.toml", "The service's settings."},
				{"/etc/sluice/admin-tokens", "Tokens of operators, made at the installation."},
				{"/var/lib/sluice", "Key and journal of sessions, certificates by ACME."},
				{"/run/sluice", "Unix sockets."},
			}},
			{Title: "EXIT STATUS", Items: [][2]string{
				{"0", "Done."},
				{"1", "Something failed, or the gateway refuses or cannot be reached."},
				{"2", "Wrong flags, config file, or a file that one of them names."},
				{"3", "What was asked for is not there."},
			}},
			{Title: "SEE ALSO", Text: "sluice-bench(1), systemctl(1); the documents in /usr/share/doc/sluice."},
		},
	})
	golden.Text(t, "../../packaging/man/sluice.1", got, *update, "go test ./cmd/sluice -run Flags -update")
	if n := strings.Count(got, "\n.SS sluice "); n != len(parser.Model.Leaves(true)) {
		t.Errorf("%d commands are described", n)
	}
}
