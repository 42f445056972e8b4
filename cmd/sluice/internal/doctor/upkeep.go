package doctor

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// What the flags say about starting, stopping and secrets.

// secretFlags are flags of files that hold secrets.
var secretFlags = []string{"admin-token", "worker-token", "api-key-file", "token-users", "session-key", "tls-key"}

// A secretFile holds secrets.
type secretFile struct{ flag, path string }

// secretFiles are those that the flags name; --login names some of its own.
func (f Flags) secretFiles() (list []secretFile) {
	for _, flag := range secretFlags {
		for _, name := range f.list(flag) {
			list = append(list, secretFile{flag, name})
		}
	}
	kind, rest, _ := strings.Cut(f.text("login"), ":")
	switch kind {
	case "tokens":
		list = append(list, secretFile{"login", rest})
	case "jwt":
		for option := range strings.SplitSeq(rest, ",") {
			if name, ok := strings.CutPrefix(option, "secret-file="); ok {
				list = append(list, secretFile{"login", name})
			}
		}
	}
	return list
}

// secrets looks for secrets that others on this machine can see.
func (e *exam) secrets() (list []Finding) {
	if e.Flags == nil {
		return nil
	}
	if slices.Contains(e.OnLine, "api-key") {
		list = append(list, is(Warning, "the key is given by --api-key", "on a command line everybody on the machine can see it",
			"--api-key-file FILE   # of mode 0600")...)
	}
	if !e.FilesAreHere {
		return list
	}
	for _, f := range e.Flags.secretFiles() {
		name := f.path
		if !path.IsAbs(name) {
			if e.Dir == "" {
				list = append(list, is(Note, fmt.Sprintf("%s (--%s) was not looked at: the gateway's own directory is not known", name, f.flag),
					"whether others on this machine may read it cannot be said", "ls -l "+name+"   # in that directory; or give the flag its whole path")...)
				continue
			}
			name = path.Join(e.Dir, name)
		}
		name = path.Clean(name)
		info, err := fs.Stat(e.root, strings.TrimPrefix(name, "/"))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if mode := info.Mode().Perm(); mode&0o007 != 0 {
			list = append(list, is(Warning, fmt.Sprintf("everybody on this machine may read %s (--%s, mode %04o)", name, f.flag, mode),
				"whoever has what is in it may do what it allows", "chmod o= "+name)...)
		}
	}
	if list == nil {
		return fine("none can be seen by others on this machine")
	}
	return list
}

// sessionKey says what a restart does to sessions.
func (e *exam) sessionKey() []Finding {
	ttl, ok := e.Flags.duration("session-ttl")
	switch {
	case !ok:
		return nil
	case e.Flags.text("session-key") == "":
		return is(Note, fmt.Sprintf("sessions, good for %s, end with the process: there is no --session-key", span(ttl)),
			"after a restart all clients log in anew; some try their dead session again, once a second, until its time is over",
			"--session-key /var/lib/sluice/session.key --session-journal /var/lib/sluice/sessions")
	case e.Flags.text("session-journal") == "":
		return is(Note, "sessions outlive a restart; which tickets were used, and which sessions ended, does not",
			"after a restart a ticket that was used, or whose session was ended, is good once more",
			"--session-journal /var/lib/sluice/sessions   # of this gateway alone")
	}
	return fine("sessions and used-up tickets outlive a restart")
}

// maxConnections compares what the gateway takes with what is wanted, and with the files that it may
// open.
func (e *exam) maxConnections() []Finding {
	given, _ := e.Flags.number("max-connections") // 0: it follows from open files
	limit := given
	if n := e.Gateway.metric("sluice_connections_limit"); n > 0 {
		limit = int64(n)
	}
	switch {
	case limit == 0:
		return nil
	case limit < int64(e.want) && given > 0:
		return is(Error, fmt.Sprintf("%s are taken (--max-connections), %s are wanted", plural(limit, "client"), number(e.want)),
			"more are refused (too-many-clients)", fmt.Sprintf("--max-connections %d", e.want))
	case limit < int64(e.want):
		return is(Error, fmt.Sprintf("%s are taken, %s are wanted", plural(limit, "client"), number(e.want)),
			"more are refused (too-many-clients); the number follows from how many files may be open", e.moreFiles(e.filesWanted())...)
	}
	if files, _, known := e.fileLimit(); known && given > int64(e.want) && e.filesFor(int(given), files) > files {
		return is(Warning, fmt.Sprintf("--max-connections %d takes %s files, %s may be open", given, number(e.filesFor(int(given), files)), number(files)),
			"fewer clients are taken, and of workers only the least",
			append(e.moreFiles(roundUp(e.filesFor(int(given), math.MaxInt32), filesStep)), "--max-connections 0   # as many as there is room for")...)
	}
	return fine("%s are taken", plural(limit, "client"))
}

// unitFiles are where systemd has the unit of sluice, the first there is, and what is added to it.
var unitFiles = []string{"etc/systemd/system/sluice.service", "run/systemd/system/sluice.service",
	"usr/local/lib/systemd/system/sluice.service", "usr/lib/systemd/system/sluice.service", "lib/systemd/system/sluice.service"}

// unit returns a setting of systemd's unit of sluice, and whether there is a unit.
func (e *exam) unit(name string) (value string, there bool) {
	if e.System != "linux" {
		return "", false
	}
	read := func(file string) bool {
		text, ok := e.text(file)
		for line := range strings.Lines(text) {
			if key, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.TrimSpace(key) == name {
				value = strings.TrimSpace(v)
			}
		}
		return ok
	}
	for _, file := range unitFiles {
		if there = read(file); there {
			break
		}
	}
	if !there {
		return "", false
	}
	for i := len(unitFiles) - 1; i >= 0; i-- { // the first counts most
		added, _ := fs.Glob(e.root, unitFiles[i]+".d/*.conf")
		for _, file := range added {
			read(file)
		}
	}
	return value, true
}

const (
	// defaultStop is DefaultTimeoutStopSec of systemd, and kubeStop terminationGracePeriodSeconds of
	// Kubernetes, unless they are told otherwise.
	defaultStop = 90 * time.Second
	kubeStop    = 30 * time.Second
)

// drain compares how long a shutdown may take with how long it is let.
func (e *exam) drain() []Finding {
	drain, ok := e.Flags.duration("drain")
	if !ok {
		return nil
	}
	killed := "the process is killed before its clients were told: they see a broken connection"
	value, there := e.unit("TimeoutStopSec")
	stop, err := unitTime(value)
	if value == "" || err != nil {
		stop = defaultStop
	}
	pod := false
	if e.System == "linux" {
		_, err := fs.Stat(e.root, "var/run/secrets/kubernetes.io/serviceaccount")
		pod = err == nil
	}
	seconds := int64((drain + closing).Round(time.Second) / time.Second)
	switch {
	case there && stop > 0 && drain+closing > stop:
		return is(Warning, fmt.Sprintf("--drain %s is no less than the %s that systemd waits (TimeoutStopSec)", span(drain), span(stop)), killed,
			fmt.Sprintf("TimeoutStopSec=%d   # under [Service] in the unit of systemd", seconds))
	case pod && drain+closing > kubeStop:
		return is(Warning, fmt.Sprintf("--drain %s is more than the %s that Kubernetes waits unless it is told otherwise", span(drain), span(kubeStop)), killed,
			fmt.Sprintf("terminationGracePeriodSeconds: %d", seconds))
	case !there && !pod && drain+closing > defaultStop:
		return is(Note, fmt.Sprintf("--drain %s is more than the %s that systemd waits unless it is told otherwise", span(drain), span(defaultStop)), killed,
			fmt.Sprintf("TimeoutStopSec=%d   # under [Service] in the unit of systemd; or what else stops it", seconds))
	case drain == 0:
		return is(Note, "--drain 0s: clients are not told of a shutdown", "they see a broken connection, and all come again at once", "--drain 5s")
	}
	return fine("a shutdown may take %s", span(drain))
}

// closing is what a shutdown may take beside its drain: the log has 500 ms for its last lines, and the
// admin listener a second for its last answers.
const closing = 2 * time.Second

// unitTime reads a time of systemd's: 90, 1min 30s, infinity.
func unitTime(text string) (time.Duration, error) {
	if text == "infinity" {
		return 0, nil
	}
	text = strings.ReplaceAll(text, " ", "")
	for _, unit := range [][2]string{{"min", "m"}, {"sec", "s"}} {
		text = strings.ReplaceAll(text, unit[0], unit[1])
	}
	if d, err := time.ParseDuration(text + "s"); err == nil && strings.Trim(text, "0123456789.") == "" {
		return d, nil
	}
	return time.ParseDuration(text)
}
