package doctor

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/internal/loopback"
)

// Flags are the flags of sluice serve by their names, each with its values in force as the API has
// them: a list for those that are repeatable, else one. Secrets are not among them.
type Flags map[string][]string

// ParseFlags reads the answer of /api/v1/config. onLine are the names of those that were given on the
// gateway's command line.
func ParseFlags(answer []byte) (f Flags, onLine []string, err error) {
	var body struct {
		Config []struct {
			Name   string `json:"name"`
			Value  any    `json:"value"`
			Source string `json:"source"`
		} `json:"config"`
	}
	if err := json.Unmarshal(answer, &body); err != nil {
		return nil, nil, fmt.Errorf("the gateway's configuration cannot be read: %w", err)
	}
	f = make(Flags, len(body.Config))
	for _, one := range body.Config {
		f.Set(one.Name, one.Value)
		if one.Source == "flag" {
			onLine = append(onLine, one.Name)
		}
	}
	return f, onLine, nil
}

// Set notes the value of a flag: a list, or anything that fmt writes as the flag is written.
func (f Flags) Set(name string, value any) {
	switch v := value.(type) {
	case nil:
		f[name] = nil
	case []string:
		f[name] = v
	case []any:
		list := make([]string, len(v))
		for i := range v {
			list[i] = fmt.Sprint(v[i])
		}
		f[name] = list
	case float64: // of JSON
		f[name] = []string{strconv.FormatFloat(v, 'f', -1, 64)}
	default:
		f[name] = []string{fmt.Sprint(v)}
	}
}

// list returns the values of a flag, without empty ones.
func (f Flags) list(name string) (list []string) {
	for _, v := range f[name] {
		if v != "" {
			list = append(list, v)
		}
	}
	return list
}

// text returns the value of a flag, empty if there is none.
func (f Flags) text(name string) string {
	if list := f.list(name); len(list) > 0 {
		return list[0]
	}
	return ""
}

func (f Flags) on(name string) bool { return f.text(name) == "true" }

// number returns the value of a flag that is a number; false: it is none, as auto is.
func (f Flags) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(f.text(name), 10, 64)
	return n, err == nil
}

// size returns the value of a flag that is a size.
func (f Flags) size(name string) (int64, bool) {
	digits, shift := f.text(name), 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(digits, "B"), 10, 64)
	return n << shift, err == nil
}

// duration returns the value of a flag that is a time.
func (f Flags) duration(name string) (time.Duration, bool) {
	d, err := time.ParseDuration(f.text(name))
	return d, err == nil
}

// A listener is where the gateway listens.
type listener struct {
	flag   string // --listen
	url    string // as it was given
	scheme string // tcp, tls, ws, wss, unix, http, https
	port   string
	public bool // other machines reach it
	secure bool // nothing but TLS is spoken there
	proxy  bool // ?proxy=on

	protocol, clientCert string // ?protocol=, ?client-cert=, as they were given
}

// pinned returns the listener's URL with one protocol alone.
func (l listener) pinned(protocol string) string {
	before, query, _ := strings.Cut(l.url, "?")
	options := []string{}
	for option := range strings.SplitSeq(query, "&") {
		if option != "" && !strings.HasPrefix(option, "protocol=") {
			options = append(options, option)
		}
	}
	return before + "?" + strings.Join(append(options, "protocol="+protocol), "&")
}

// parseListener reads HOST:PORT or a URL; false: nobody listens there, or it cannot be read.
func parseListener(flag, text, scheme string) (listener, bool) {
	if text == "" || text == "none" {
		return listener{}, false
	}
	full := text
	if !strings.Contains(text, ":/") && !strings.HasPrefix(text, "unix:") {
		full = scheme + "://" + text
	}
	u, err := url.Parse(full)
	if err != nil {
		return listener{}, false
	}
	l := listener{flag: flag, url: text, scheme: u.Scheme, port: u.Port(), proxy: u.Query().Get("proxy") == "on",
		protocol: u.Query().Get("protocol"), clientCert: u.Query().Get("client-cert")}
	switch u.Scheme {
	case "unix", "ws+unix":
		l.port = ""
	case "tls", "wss", "https":
		l.secure = true
		fallthrough
	default:
		l.public = !loopback.HostPort(u.Host)
	}
	return l, true
}

// clients are the listeners of clients.
func (f Flags) clients() (list []listener) {
	for _, text := range f.list("listen") {
		if l, ok := parseListener("--listen", text, "tcp"); ok {
			list = append(list, l)
		}
	}
	return list
}

func (f Flags) workers() (listener, bool) {
	return parseListener("--worker", f.text("worker"), "tcp")
}
func (f Flags) operators() (listener, bool) {
	return parseListener("--admin", f.text("admin"), "http")
}

// listeners are all of them.
func (f Flags) listeners() []listener {
	list := f.clients()
	for _, read := range []func() (listener, bool){f.workers, f.operators} {
		if l, ok := read(); ok {
			list = append(list, l)
		}
	}
	return list
}

// public are the listeners of clients that other machines reach.
func (f Flags) public() (list []listener) {
	for _, l := range f.clients() {
		if l.public {
			list = append(list, l)
		}
	}
	return list
}

// urls writes listeners as they were given.
func urls(list []listener) string {
	texts := make([]string, len(list))
	for i, l := range list {
		texts[i] = l.flag + " " + l.url
	}
	return strings.Join(texts, ", ")
}

// everybody reports whether a network holds so much of all addresses that it says nothing: an eighth.
func everybody(text string) bool {
	p, err := netip.ParsePrefix(text)
	return err == nil && p.Bits() <= 3
}

// localProxy reports whether a proxy of this machine is trusted to say who clients are.
func (e *exam) localProxy() bool {
	for _, name := range []string{"proxy-trust", "forwarded-trust"} {
		for _, text := range e.Flags.list(name) {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Unmap().IsLoopback() {
				return true
			}
			if a, err := netip.ParseAddr(text); err == nil && a.Unmap().IsLoopback() {
				return true
			}
		}
	}
	return false
}
