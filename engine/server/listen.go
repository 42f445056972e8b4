package server

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/client/netsvr"
	"github.com/sluicenet/sluice/engine/internal/unixsock"
	"github.com/sluicenet/sluice/internal/redact"
)

// DefaultListen is where clients are served unless Config says otherwise.
const DefaultListen = "tcp://127.0.0.1:7000"

// A Listener is a socket that the program has opened itself, or was handed.
type Listener struct {
	// Listener accepts *net.TCPConn or *net.UnixConn: what wraps them, such as TLS, is not served.
	net.Listener
	// Scheme is tcp, ws, tls or wss, or unix or ws+unix, as in Config.Listen. Empty means tcp or unix.
	Scheme string
	// Protocol is what ?protocol= says in Config.Listen. Empty means auto.
	Protocol string
	// Proxy is what ?proxy=on says in Config.Listen.
	Proxy bool
	// TLSAuto is ?tls=auto, and ClientCert what ?client-cert= says.
	TLSAuto    bool
	ClientCert string
}

// Listen is a listener's URL taken apart.
type Listen struct {
	Scheme   string // tcp, ws, tls or wss, unix or ws+unix; for operators http, https or unix
	Address  string // host:port; of a unix socket its path, or @NAME; fd: and Descriptor
	Protocol string // auto, or the one protocol the listener speaks
	Proxy    bool   // each connection begins with a PROXY header
	TLSAuto  bool   // plain connections and TLS, on tcp and ws
	// ClientCert is required, optional or none; empty means required if there are client CAs.
	ClientCert string
	// Mode and Owner are those of a unix socket's file. Zero: its owner alone, who runs the gateway.
	Mode  fs.FileMode
	Owner string
	// Descriptor is the name or the number of a listening socket that the process was handed, as by
	// systemd's socket activation. Empty: the gateway opens one itself.
	Descriptor string
}

// Secure reports whether TLS is spoken there, plain connections or not.
func (l Listen) Secure() bool { return l.TLSAuto || l.Scheme == "tls" || l.Scheme == "wss" }

// http reports whether all that is spoken there travels over HTTP.
func (l Listen) http() bool { return l.Scheme == "ws" || l.Scheme == "wss" || l.Scheme == unixWSScheme }

// auto is the protocol of listeners that speak all of them.
const auto = "auto"

// builtin are the names that listeners may ask for in any gateway.
var builtin = []string{auto, gosoc.Name, longbridge.Name, netsvr.Name}

// schemes are those of listeners for clients.
var schemes = []string{"tcp", "tls", "ws", "wss", unixScheme, unixWSScheme}

// ParseListen reads a listener's URL, as Config.Listen has it. own are the names of Config.Protocols.
func ParseListen(text string, own ...string) (Listen, error) {
	l, err := parseListen(text, own)
	if err != nil {
		return Listen{}, unread("listen", text, err)
	}
	return l, nil
}

// unread is the error for a listener's URL that cannot be read. Of one with a user, which may be a
// password, the reason may repeat a part.
func unread(what, text string, err error) error {
	shown := text
	if !isUnix(text) || strings.Contains(text, "://") { // unix:@NAME has no user
		shown = redact.Address(text)
	}
	if shown != text {
		err = errors.New("want SCHEME://HOST:PORT, and no user")
	}
	return fmt.Errorf("%s %q: %w", what, shown, err)
}

func parseListen(text string, own []string) (Listen, error) {
	if hint := meant(text, "tcp"); hint != "" {
		return Listen{}, fmt.Errorf("want SCHEME://HOST:PORT%s", hint)
	}
	u, err := url.Parse(text)
	if err != nil {
		return Listen{}, fmt.Errorf("%w; want SCHEME://HOST:PORT", urlReason(text, err))
	}
	l := Listen{Scheme: u.Scheme, Address: u.Host, Protocol: auto}
	handed, isHanded := inherited[u.Scheme]
	switch {
	case isHanded && handed != "https":
		l.Scheme = handed
		if err := l.handed(u); err != nil {
			return Listen{}, err
		}
	case !slices.Contains(schemes, u.Scheme):
		return Listen{}, errors.New("want tcp://HOST:PORT, or tls, ws or wss in place of tcp, or unix:///PATH, or fd://NAME")
	case l.Unix():
		if l.Address, err = unixPath(u); err != nil {
			return Listen{}, err
		}
	case u.Path != "" && u.Path != "/" || u.User != nil || u.Fragment != "":
		return Listen{}, errors.New("want SCHEME://HOST:PORT and options behind a question mark")
	case u.Opaque != "": // tls:HOST:PORT
		rest, _ := strings.CutPrefix(text, u.Scheme+":")
		return Listen{}, fmt.Errorf("want SCHEME://HOST:PORT; did you mean %s://%s?", u.Scheme, rest)
	}
	if _, port, err := net.SplitHostPort(u.Host); !l.Unix() && !isHanded && (err != nil || port == "") {
		return Listen{}, errors.New("the address has no port")
	}
	if err := l.options(u.RawQuery, slices.Collect(maps.Keys(options))...); err != nil {
		return Listen{}, err
	}
	if err := l.check(own); err != nil {
		return Listen{}, err
	}
	return l, nil
}

// meant is the end of an error about an address that was given without its scheme. Another text has
// none.
func meant(text, scheme string) string {
	address, _, _ := strings.Cut(text, "?")
	host, port, err := net.SplitHostPort(address)
	if err != nil || isUnix(text) || strings.ContainsAny(host, "/@#%") {
		return ""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return ""
	}
	return "; did you mean " + scheme + "://" + text + "?"
}

// urlReason takes from an error of url.Parse the text, which its caller says anyway.
func urlReason(text string, err error) error {
	if !strings.Contains(text, "://") {
		return errors.New("it has no scheme")
	}
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// options are what a listener's URL may say behind the question mark.
var options = map[string]func(l *Listen, value string) error{
	"protocol": func(l *Listen, value string) error {
		l.Protocol = value
		return nil
	},
	"proxy": func(l *Listen, value string) (err error) {
		l.Proxy, err = onOff("proxy", value)
		return err
	},
	"mode": func(l *Listen, value string) (err error) {
		l.Mode, err = unixsock.ParseMode(value)
		return err
	},
	"owner": func(l *Listen, value string) error {
		l.Owner = value
		return nil
	},
	"tls": func(l *Listen, value string) error {
		if l.TLSAuto = value == "auto"; !l.TLSAuto {
			return fmt.Errorf("tls %q, want auto", value)
		}
		return nil
	},
	"client-cert": func(l *Listen, value string) error {
		if l.ClientCert = value; value == "" {
			return errors.New("client-cert is empty, want required, optional or none")
		}
		return nil
	},
}

func onOff(name, value string) (bool, error) {
	if value != "on" && value != "off" {
		return false, fmt.Errorf("%s %q, want on or off", name, value)
	}
	return value == "on", nil
}

// options reads what is behind the question mark, which may be of the names given.
func (l *Listen) options(text string, names ...string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, values := options[name], query[name]
		if !slices.Contains(names, name) {
			slices.Sort(names)
			return fmt.Errorf("unknown option %q, want one of %s", name, strings.Join(names, ", "))
		}
		if len(values) > 1 {
			return fmt.Errorf("option %q is given twice", name)
		}
		if err := set(l, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// checkProxies refuses a listener of proxies that nobody could connect to. workers is WorkerListen.
func (c *Config) checkProxies(clients []endpoint, workers Listen) error {
	if len(c.Engine.ProxyTrust) > 0 {
		return nil
	}
	if ln := c.WorkerListener; ln != nil {
		workers = Listen{Scheme: ln.Addr().Network(), Address: ln.Addr().String()}
	}
	workers.Proxy = c.Worker.Proxy && workers.Scheme != ""
	for _, l := range append([]endpoint{{Listen: workers}}, clients...) {
		if l.Proxy && !l.Unix() { // whoever reaches a unix socket is trusted
			return fmt.Errorf("server: %w: listener %s", ErrNoProxyTrust, l.Address)
		}
	}
	return nil
}

// ErrNoProxyTrust is the error of New and Update for a listener of proxies when no proxy is
// trusted: set Config.Engine.ProxyTrust.
var ErrNoProxyTrust = errors.New("a listener wants the PROXY header, and nobody is trusted to send it")

// ParseNetworks reads networks such as 10.0.0.0/8, and single addresses, for engine.Config's ProxyTrust
// and ForwardedTrust.
func ParseNetworks(texts []string) ([]netip.Prefix, error) { return address.ParseSet(texts) }

// ParseProxies is ParseNetworks for texts of which the word unix stands for proxies on unix sockets:
// engine.Config's ForwardedUnix.
func ParseProxies(texts []string) (networks []netip.Prefix, unix bool, err error) {
	return address.ParsePeers(texts)
}

// check refuses what does not go together.
func (l Listen) check(own []string) error {
	switch {
	case l.TLSAuto && (l.Scheme == "tls" || l.Scheme == "wss"):
		return fmt.Errorf("tls=auto is for tcp and ws: %s is TLS alone", l.Scheme)
	case l.ClientCert != "" && !slices.Contains([]string{"required", "optional", "none"}, l.ClientCert):
		return fmt.Errorf("client-cert %q, want required, optional or none", l.ClientCert)
	case l.ClientCert != "" && !l.Secure():
		return errors.New("client-cert is for TLS: want tls:// or wss://, or tls=auto, too")
	case l.ClientCert == "required" && l.TLSAuto:
		return errors.New("client-cert=required with tls=auto: plain connections would come without; want tls:// or wss://")
	}
	if err := l.checkUnix(); err != nil {
		return err
	}
	return checkSpoken(l.http(), l.Protocol, own)
}

// checkSpoken refuses a protocol that nobody speaks, or not over HTTP.
func checkSpoken(http bool, protocol string, own []string) error {
	switch {
	case slices.Contains(builtin, protocol):
		return nil
	case !slices.Contains(own, protocol):
		names := append(slices.Clone(builtin), own...)
		last := len(names) - 1
		return fmt.Errorf("protocol %q, want %s or %s", protocol, strings.Join(names[:last], ", "), names[last])
	case http:
		return fmt.Errorf("protocol %q is not spoken over WebSocket", protocol)
	}
	return nil
}

// check reads a listener that was given as it reads one's URL.
func (l Listener) check(own []string) (Listen, error) {
	if l.Listener == nil {
		return Listen{}, fmt.Errorf("server: Config.Listeners: no Listener in one of %q", l.Protocol)
	}
	spec := Listen{
		Scheme: l.Scheme, Address: l.Addr().String(), Protocol: l.Protocol,
		Proxy: l.Proxy, TLSAuto: l.TLSAuto, ClientCert: l.ClientCert,
	}
	switch unix := l.Addr().Network() == unixScheme; {
	case spec.Scheme == "" && unix:
		spec.Scheme = unixScheme
	case spec.Scheme == "":
		spec.Scheme = "tcp"
	case slices.Contains(schemes, spec.Scheme) && unix != spec.Unix():
		return Listen{}, fmt.Errorf("server: Config.Listeners: scheme %q of a %s listener", l.Scheme, l.Addr().Network())
	}
	if spec.Protocol == "" {
		spec.Protocol = auto
	}
	if !slices.Contains(schemes, spec.Scheme) {
		return Listen{}, fmt.Errorf("server: Config.Listeners: scheme %q, want one of %s", l.Scheme, strings.Join(schemes, ", "))
	}
	if err := spec.check(own); err != nil {
		return Listen{}, fmt.Errorf("server: Config.Listeners: %w", err)
	}
	return spec, nil
}

// ParseWorkerListen reads the URL of the worker listener, as Config.WorkerListen has it. Its scheme is
// tcp, tls or unix then. Its option is proxy, and mode and owner of a unix socket.
func ParseWorkerListen(text string) (Listen, error) {
	l, err := parseWorkerListen(text)
	if err != nil {
		return Listen{}, unread("worker", text, err)
	}
	return l, nil
}

func parseWorkerListen(text string) (Listen, error) {
	if hint := meant(text, "tcp"); hint != "" {
		return Listen{}, fmt.Errorf("want tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH%s", hint)
	}
	u, err := url.Parse(text)
	if err != nil {
		return Listen{}, fmt.Errorf("%w; want tcp://HOST:PORT or tls://HOST:PORT", urlReason(text, err))
	}
	l := Listen{Scheme: u.Scheme, Address: u.Host}
	if handed := inherited[u.Scheme]; handed == "tcp" || handed == "tls" {
		l.Scheme = handed
		if err := l.handed(u); err != nil {
			return Listen{}, err
		}
	} else if u.Scheme == unixScheme {
		if l.Address, err = unixPath(u); err != nil {
			return Listen{}, err
		}
	} else if _, port, err := net.SplitHostPort(u.Host); u.Scheme != "tcp" && u.Scheme != "tls" || err != nil || port == "" ||
		u.Path != "" && u.Path != "/" || u.User != nil || u.Fragment != "" {
		return Listen{}, errors.New("want tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or fd://NAME")
	}
	if err = l.options(u.RawQuery, "proxy", "mode", "owner"); err == nil {
		err = l.checkUnix()
	}
	if err != nil {
		return Listen{}, err
	}
	return l, nil
}

// ParseAdminListen reads where operators are served: HOST:PORT, http://HOST:PORT, or https:// for TLS,
// unix:///PATH with the options mode and owner, or fd://NAME or https+fd://NAME. Its scheme is http,
// https or unix then.
func ParseAdminListen(text string) (Listen, error) {
	l, err := parseAdminListen(text)
	if err != nil {
		return Listen{}, unread("admin", text, err)
	}
	return l, nil
}

func parseAdminListen(text string) (Listen, error) {
	if isUnix(text) {
		u, err := url.Parse(text)
		if err != nil {
			return Listen{}, err
		}
		l, err := parseUnix(u)
		if err != nil {
			return Listen{}, err
		}
		return l, nil
	}
	if u, err := url.Parse(text); err == nil && (inherited[u.Scheme] == "tcp" || inherited[u.Scheme] == "https") {
		l := Listen{Scheme: strings.Replace(inherited[u.Scheme], "tcp", "http", 1)}
		if err = l.handed(u); err == nil && u.RawQuery != "" {
			err = errors.New("it has no options")
		}
		if err != nil {
			return Listen{}, err
		}
		return l, nil
	}
	l := Listen{Scheme: "http", Address: text}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		l.Scheme, l.Address = scheme, strings.TrimSuffix(rest, "/")
	}
	_, port, err := net.SplitHostPort(l.Address)
	if l.Scheme != "http" && l.Scheme != "https" || err != nil || port == "" {
		hint := ""
		if l.Scheme == "tcp" {
			hint = meant(l.Address, "http")
		}
		return Listen{}, fmt.Errorf("want HOST:PORT, https://HOST:PORT, unix:///PATH or fd://NAME%s", hint)
	}
	return l, nil
}
