package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/bench/wire"
)

// An address is where connections go to.
type address struct {
	tcp  netip.AddrPort
	unix string // a path or @NAME; empty: tcp counts
}

func (a address) isValid() bool { return a.unix != "" || a.tcp.IsValid() }

// String is a as a target has it.
func (a address) String() string {
	if a.unix != "" {
		return a.unix
	}
	return a.tcp.String()
}

// resolve turns host:port into an address, the first one if a name has several. A path, or @NAME,
// is that of a unix socket.
func resolve(text string) (address, error) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "@") {
		return address{unix: text}, nil
	}
	tcp, err := resolveTCP(text)
	return address{tcp: tcp}, err
}

func resolveTCP(address string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q is not a number", port)
	}
	ips, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), nil
}

// resolveWorker is resolve for where workers connect to, which may be a URL.
func resolveWorker(text string) (address, error) {
	if !strings.Contains(text, ":/") && !strings.HasPrefix(text, "unix:") {
		return resolve(text)
	}
	t, where, path, err := wire.ParseTarget(text)
	if err == nil && (t != wire.TCP || wire.Secure(text) || strings.Trim(path, "/") != "") {
		err = fmt.Errorf("%q, want HOST:PORT or unix:///PATH", text)
	}
	if err != nil {
		return address{}, err
	}
	return resolve(where)
}
