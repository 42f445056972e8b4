package doctor

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
)

// A Severity says what a finding asks for.
type Severity int

const (
	OK      Severity = iota // as it should be
	Note                    // worth knowing; nothing has to be done
	Warning                 // will hurt under load or after a fault
	Error                   // the gateway cannot do what is wanted, or is open to somebody
)

var severities = [...]string{"ok", "note", "warning", "error"}

func (s Severity) String() string { return severities[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is what a check has found.
type Finding struct {
	Check    string   `json:"check"` // open-files
	Area     string   `json:"area"`  // files
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	Why      string   `json:"why,omitempty"` // it matters; empty when all is well
	Fix      []string `json:"fix,omitempty"` // lines, each of which mends it, or all in turn
}

// An Input is what a Report is made of.
type Input struct {
	Root     fs.FS  // the machine's file system
	System   string // runtime.GOOS
	CPUs     int    // that this process may run on
	PageSize int    // bytes
	// Connections are how many there are to be. Zero: as many as the flags say, or DefaultConnections,
	// or as many as there are.
	Connections int
	Flags       Flags    // nil: nothing is known of them
	FlagsFrom   string   // where they come from, for people
	FlagsErr    error    // why serve would not start with them
	Warnings    []string // what serve would warn of
	OnLine      []string // names of flags that were given on the gateway's command line
	// FilesAreHere says that paths in Flags are of this machine.
	FilesAreHere bool
	Dir          string            // that relative paths in Flags begin at; empty: unknown
	Gateway      *Gateway          // nil: none has answered
	GatewayErr   error             // why
	Environment  map[string]string // of this process, as far as it matters
	// Pause waits between the two looks at counters that grow; nil: there is one look only.
	Pause func()
}

// DefaultConnections is what limits are computed for when nobody says how many there are to be.
const DefaultConnections = 10_000

// A Report is all that was found, what is gravest first.
type Report struct {
	System      string    `json:"system"`      // and its size
	Connections int       `json:"connections"` // that limits are computed for
	ForWhom     string    `json:"connectionsFrom"`
	Gateway     string    `json:"gateway"` // its address and version; empty: none answers
	Flags       string    `json:"flags"`   // where they come from; empty: none are known
	Findings    []Finding `json:"findings"`
	Errors      int       `json:"errors"`
	Warnings    int       `json:"warnings"`
	Notes       int       `json:"notes"`
}

// Examine runs all checks.
func Examine(in Input) Report {
	e := newExam(in)
	r := Report{System: e.describe(), Connections: e.want, ForWhom: e.wantFrom, Flags: in.FlagsFrom, Findings: []Finding{}}
	if in.Flags == nil {
		r.Flags = ""
	}
	if in.Gateway != nil {
		r.Gateway = in.Gateway.describe()
	}
	for _, c := range checks {
		if c.host && in.System != "linux" {
			continue
		}
		for _, f := range c.run(e) {
			f.Check, f.Area = cmp.Or(f.Check, c.name), c.area
			r.Findings = append(r.Findings, f)
		}
	}
	agree(r.Findings)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		case Note:
			r.Notes++
		}
	}
	return r
}

// An exam is an Input that is being looked at.
type exam struct {
	Input
	host
	want     int    // connections
	wantFrom string // who says so
	memory   int64  // of the machine, bytes; 0: unknown
	loops    int    // of the gateway
	before   counters
	after    counters
}

func newExam(in Input) *exam {
	if in.PageSize <= 0 {
		in.PageSize = 4096
	}
	e := &exam{Input: in, host: host{root: in.Root}}
	e.want, e.wantFrom = e.wanted()
	e.loops = e.loopCount()
	if in.System != "linux" {
		return e
	}
	e.memory = e.meminfo("MemTotal")
	e.before = e.counters()
	e.after = e.before
	if in.Pause != nil {
		in.Pause()
		e.after = e.counters()
	}
	return e
}

// wanted says how many connections there are to be.
func (e *exam) wanted() (n int, from string) {
	if e.Connections > 0 {
		return e.Connections, "--connections"
	}
	if n, ok := e.Flags.number("max-connections"); ok && n > 0 {
		return int(n), "--max-connections"
	}
	if g := e.Gateway; g != nil && g.Connections() > DefaultConnections {
		return g.Connections(), "as many as there are"
	}
	return DefaultConnections, "assumed; --connections N says another number"
}

// describe names the system.
func (e *exam) describe() string {
	if e.System != "linux" {
		return e.System
	}
	text := "Linux"
	if release, ok := e.text("proc/sys/kernel/osrelease"); ok {
		text += " " + release
	}
	text += ", " + plural(e.CPUs, "CPU")
	if e.memory > 0 {
		text += ", " + size(e.memory) + " of memory"
	}
	return text
}

// fine is a finding that all is well.
func fine(format string, args ...any) []Finding {
	return []Finding{{Severity: OK, Found: fmt.Sprintf(format, args...)}}
}

// is is a finding. found is what was found.
func is(s Severity, found, why string, fix ...string) []Finding {
	return []Finding{{Severity: s, Found: found, Why: why, Fix: slices.DeleteFunc(fix, func(line string) bool { return line == "" })}}
}
