package main

import (
	"flag"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/internal/golden"
	"github.com/sluicenet/sluice/internal/manpage"
)

var update = flag.Bool("update", false, "write the manual page")

// packaging/man/sluice-bench.1 is the manual page of the scenarios, as they are. It is made with:
// go test ./cmd/sluice-bench -run Flags -update.
func TestFlagsManPage(t *testing.T) {
	parser, err := kong.New(new(cli), kong.Name("sluice-bench"), kong.Description("Loads a gateway and says what it does."))
	if err != nil {
		t.Fatal(err)
	}
	got := manpage.Write(parser.Model, manpage.Page{
		Date: "2026-11-29",
		Description: `sluice-bench loads a gateway and reports what it does: rates, latency from when each message was due, what the
gateway's process took, and where everything that was sent has gone. A run that is interrupted is still reported.

    sluice serve --dev &
    sluice-bench fanout -c 1000 -r 150 --expect 'p99<20ms,lost=0'
    sluice-bench echo -c 100 --stages 5s:1000,10s:1000-20000 --html echo.html`,
		Sections: []manpage.Section{
			{Title: "EXIT STATUS", Items: [][2]string{
				{"0", "Done."},
				{"1", "The run could not be done."},
				{"2", "Wrong flags."},
				{"3", "It was done, and an expectation was not met."},
				{"130", "It was interrupted."},
			}},
			{Title: "SEE ALSO", Text: "sluice(1)"},
		},
	})
	golden.Text(t, "../../packaging/man/sluice-bench.1", got, *update, "go test ./cmd/sluice-bench -run Flags -update")
}
