package manpage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

type serveCmd struct {
	Listen  []string      `help:"Where to listen: ${enum}. Repeatable." enum:"a,b" default:"a" group:"Net"`
	Wait    time.Duration `help:"How long; see 'x\\y'" default:"5s" group:"Time"`
	Deflate bool          `help:"Whether." negatable:"" default:"true" group:"Net"`
	Dir     string        `help:".hidden files too" placeholder:"DIR" env:"TOOL_DIR" short:"d"`
	Secret  string        `hidden:"" help:"not shown"`
}

func (*serveCmd) Help() string { return "For example:\n\n    tool serve -d .\n    .dot\n\nAnd so on." }

type grammar struct {
	Serve serveCmd `cmd:"" help:"Serve clients."`
	Check serveCmd `cmd:"" help:"Check only."`
	Kick  struct {
		ID string `arg:"" optional:"" help:"Whose, one-time"`
	} `cmd:"" help:"Kick somebody."`
	Dark struct{} `cmd:"" hidden:""`
}

func page(t *testing.T) string {
	t.Helper()
	parser, err := kong.New(new(grammar), kong.Name("tool"), kong.Description("A tool for tests."))
	if err != nil {
		t.Fatal(err)
	}
	return Write(parser.Model, Page{
		Date: "2026-01-02", Description: "First. Second one.\n\n    tool --help\n",
		Note: func(f Flag) string {
			if f.Name == "wait" {
				return " Live."
			}
			return ""
		},
		Sections: []Section{{"FILES", "Some.", [][2]string{{"/etc/tool", "settings"}}}},
	})
}

func TestWrite(t *testing.T) {
	got := page(t)
	for _, want := range []string{
		".TH TOOL 1 2026-01-02 tool \"User Commands\"\n.SH NAME\ntool \\- a tool for tests\n",
		".SH SYNOPSIS\n\\fBtool serve\\fP [\\fIflags\\fP]\n", ".br\n\\fBtool kick\\fP [\\fIID\\fP]\n",
		".SH DESCRIPTION\nFirst.\nSecond one.\n.PP\n.RS 4\n.nf\ntool \\-\\-help\n.fi\n.RE\n",
		".TP\n\\fB\\-\\-listen\\fP=\\fIa|b\\fP\nWhere to listen: a,b.\nRepeatable.\nDefault: a.\n",
		".PP\n\\fBTime\\fP\n.TP\n\\fB\\-\\-wait\\fP=\\fITIME\\fP\nHow long; see \\(aqx\\ey\\(aq.\nDefault: 5s.\nLive.\n",
		".TP\n\\fB\\-\\-[no\\-]deflate\\fP\nWhether.\n",
		".TP\n\\fB\\-d\\fP, \\fB\\-\\-dir\\fP=\\fIDIR\\fP\n\\&.hidden files too.\nAlso $TOOL_DIR.\n",
		".nf\ntool serve \\-d .\n\\&.dot\n.fi\n",
		".SS tool check [\\fIflags\\fP]\nCheck only.\n",
		"The flags are those of \\fBtool serve\\fP.\n",
		".TP\n\\fIID\\fP\nWhose, one-time.\n",
		".SH FILES\nSome.\n.TP\n\\fB/etc/tool\\fP\nsettings\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %q", want)
		}
	}
	for _, bad := range []string{"not shown", "dark", "\n\n"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q is there", bad)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

// The pages that are shipped are good roff, as far as there is somebody to ask.
func TestRoff(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../packaging/man/*.1")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v: want the pages of sluice and sluice-bench", files, err)
	}
	if groff, err := exec.LookPath("groff"); err != nil {
		t.Log("no groff here")
	} else {
		for _, f := range files {
			out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=10", "-z", f).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("groff of %s: %v\n%s", f, err, out)
			}
		}
	}
	if mandoc, err := exec.LookPath("mandoc"); err != nil {
		t.Log("no mandoc here")
	} else if out, err := exec.Command(mandoc, append([]string{"-T", "lint", "-W", "style"}, files...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || strings.Contains(string(b), "%!") {
			t.Errorf("%s: %v", f, err)
		}
	}
}
