package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine/server"
)

// checkBounds refuses values that would be taken for something else: fields of Config stand for
// their defaults when they are zero, and some are cut to what there is room for. The error joins one
// for each.
func (cmd *settings) checkBounds() error {
	var errs []error
	refuse := func(flag, format string, args ...any) { errs = append(errs, wrong(flag, format, args...)) }
	const (
		all     = 1 << 40       // what a byteSize takes
		most    = math.MaxInt32 // what is counted for each connection has 32 bits
		gateway = 1 << 30       // what it keeps of one client
		longest = 365 * 24 * time.Hour
	)
	for _, bound := range []struct {
		name           string
		n, least, most int64
	}{
		{"backlog", int64(cmd.Backlog), 1, most},
		{"lag", int64(cmd.Lag), 1, most},
		{"backlog-total", int64(cmd.BacklogTotal), 1, all},
		{"send-buffer", int64(cmd.SendBuffer), 1, most},
		{"max-packet", int64(cmd.MaxPacket), 1, most},
		{"max-inflated", int64(cmd.MaxInflated), 1, most},
		{"max-inflate-rate", int64(cmd.MaxInflateRate), 0, most},
		{"max-gzip-members", int64(cmd.MaxGzipMembers), 1, gateway},
		{"max-pending", int64(cmd.MaxPending), 1, gateway},
		{"max-pending-bytes", int64(cmd.MaxPendingBytes), 1, gateway},
		{"max-topics", int64(cmd.MaxTopics), 1, gateway},
		{"max-request-rate", int64(cmd.MaxRequestRate), 0, 1_000_000},
		{"max-topic-name", int64(cmd.MaxTopicName), 1, 1 << 20},
		{"max-topic-bytes", int64(cmd.MaxTopicBytes), 1, gateway},
		{"max-session-text", int64(cmd.MaxSessionText), 1, 1 << 30},
		{"max-logins", int64(cmd.MaxLogins), 1, 1 << 14},
		{"max-token-logins", int64(cmd.MaxTokenLogins), 0, most},
		{"max-login-metadata", int64(cmd.MaxLoginMetadata), 1, 64 << 10},
		{"max-connections", int64(cmd.MaxConnections), 0, most},
		{"max-handshakes", int64(cmd.MaxHandshakes), 1, 1 << 20},
		{"max-login-bytes", int64(cmd.MaxLoginBytes), 1 << 10, gateway},
		{"max-topics-total", int64(cmd.MaxTopicsTotal), 1, gateway},
		{"max-sessions", int64(cmd.MaxSessions), 1, gateway},
		{"max-sessions-per-user", int64(cmd.MaxSessionsPerUser), 0, gateway},
		{"max-packet-rate", int64(cmd.MaxPacketRate), 0, most},
		{"max-byte-rate", int64(cmd.MaxByteRate), 0, most},
		{"connect-rate", int64(cmd.ConnectRate), 0, most},
		{"max-refusals", int64(cmd.MaxRefusals), 0, 1 << 16},
		{"session-bytes", int64(cmd.SessionBytes), 1, most},
		{"session-total", int64(cmd.SessionTotal), 1, all},
		{"worker-max-packet", int64(cmd.WorkerMaxPacket), 1, most},
		{"worker-queue", int64(cmd.WorkerQueue), 1, most},
		{"worker-delayed", int64(cmd.WorkerDelayed), 1, most},
		{"worker-frame-rate", int64(cmd.WorkerFrameRate), 0, 1_000_000_000},
		{"worker-byte-rate", int64(cmd.WorkerByteRate), 0, all},
		{"worker-unproven", int64(cmd.WorkerUnproven), 1, 1 << 16},
		{"max-worker-links", int64(cmd.MaxWorkerLinks), 0, most},
		{"max-admin-connections", int64(cmd.MaxAdminConnections), 0, most},
		{"ws-max-head", int64(cmd.WSMaxHead), 1 << 10, 64 << 10},
		{"ws-max-headers", int64(cmd.WSMaxHeaders), 1, most},
		{"ws-deflate-min", int64(cmd.WSDeflateMin), 1, most},
		{"ws-max-fragments", int64(cmd.WSMaxFragments), 1, most},
		{"client-max-message", int64(cmd.ClientMaxMessage), 1, most},
		{"user-limit", int64(cmd.UserLimit), 0, most},
		{"longbridge-gzip", int64(cmd.LongbridgeGzip), 0, most},
		{"push-cmd", int64(cmd.PushCmd), 4, 255},
		{"gap-cmd", int64(cmd.GapCmd), 4, 255},
		{"history-max-topics", int64(cmd.HistoryMaxTopics), 0, 1 << 24},
		{"history-total", int64(cmd.HistoryTotal), leastHistory, all},
		{"server-id", int64(cmd.ServerID), 0, 255},
		{"open-worker", int64(cmd.OpenWorker), 0, server.MaxWorker},
		{"close-worker", int64(cmd.CloseWorker), 0, server.MaxWorker},
		{"guest-max-fragments", int64(cmd.GuestMaxFragments), 0, most},
		{"loops", int64(cmd.Loops), 0, 256},
		{"trace-asked", int64(cmd.TraceAsked), 0, 1_000_000},
	} {
		if bound.n < bound.least || bound.n > bound.most {
			refuse(bound.name, "%d, want %d to %d", bound.n, bound.least, bound.most)
		}
	}
	for _, bound := range []struct {
		name     string
		d, least time.Duration
	}{
		{"token-skew", cmd.TokenSkew, time.Second},
		{"tls-handshake-timeout", cmd.TLSHandshakeTimeout, time.Millisecond},
		{"proxy-timeout", cmd.ProxyTimeout, time.Millisecond},
		{"login-timeout", cmd.LoginTimeout, time.Millisecond},
		{"close-timeout", cmd.CloseTimeout, time.Millisecond},
		{"login-ban-max", cmd.LoginBanMax, time.Millisecond},
		{"session-ttl", cmd.SessionTTL, time.Millisecond},
		{"session-max", cmd.SessionMax, 0},
		{"lag-age", cmd.LagAge, 0},
		{"packet-timeout", cmd.PacketTimeout, 0},
		{"max-keep-alive", cmd.MaxKeepAlive, 0},
		{"wait-workers", cmd.WaitWorkers, 0},
		{"request-timeout", cmd.RequestTimeout, time.Millisecond},
		{"worker-idle", cmd.WorkerIdle, time.Millisecond},
		{"worker-token-timeout", cmd.WorkerTokenTimeout, time.Millisecond},
		{"worker-write-timeout", cmd.WorkerWriteTimeout, time.Millisecond},
		{"client-idle", cmd.ClientIdle, time.Millisecond},
		{"custom-id-ttl", cmd.CustomIDTTL, time.Millisecond},
		{"heartbeat-timeout", cmd.HeartbeatTimeout, time.Millisecond},
		{"worker-first-byte", cmd.WorkerFirstByte, time.Millisecond},
		{"stall-timeout", cmd.StallTimeout, 100 * time.Millisecond},
		{"drain", cmd.Drain, 0},
	} {
		if bound.d < bound.least || bound.d > longest {
			refuse(bound.name, "%v, want %v to %v", bound.d, bound.least, longest)
		}
	}
	if n := cmd.WorkerByteRate; n > 0 && n < leastByteRate {
		refuse("worker-byte-rate", "%d, want %d at least, or 0: a long frame would take minutes", n, leastByteRate)
	}
	if cmd.NetsvrPath == "" {
		refuse("netsvr-path", "want a path such as /netsvr")
	} else if err := (&server.NetsvrConfig{Path: cmd.NetsvrPath}).CheckPath(); err != nil {
		refuse("netsvr-path", "%w", err)
	}
	if cmd.GosocBadToken != 6 && cmd.GosocBadToken != 3 {
		refuse("gosoc-bad-token", "%d, want 6 or 3", cmd.GosocBadToken)
	}
	for i, host := range cmd.AllowOrigin {
		if !websocket.ValidOriginHost(host) {
			errs = append(errs, wrongAt("allow-origin", i, "%q: want HOST, as example.com%s", host, didYouMean(hostOf(host))))
		}
	}
	for i, name := range cmd.WSSubprotocol {
		if !websocket.ValidSubProtocol(name) {
			errs = append(errs, wrongAt("ws-subprotocol", i, "%q: want a name without spaces and separators", name))
		}
	}
	if n := len(cmd.PushRoute); n < 1 || n > 255 {
		refuse("push-route", "%d bytes, want a route of 1 to 255", n)
	}
	if int64(cmd.Backlog) > int64(cmd.BacklogTotal) {
		errs = append(errs, depends(wrong("backlog", "%d, want --backlog-total, %d, or less: one client would have all of it",
			cmd.Backlog, cmd.BacklogTotal), "backlog-total"))
	}
	if cmd.SessionBytes > cmd.SessionTotal {
		errs = append(errs, depends(wrong("session-bytes", "%d, want --session-total, %d, or less", cmd.SessionBytes, cmd.SessionTotal), "session-total"))
	}
	return errors.Join(append(errs, cmd.checkAddresses(), cmd.checkPortsFile(), cmd.checkSeeing())...)
}

// hostOf returns the host of an origin that is written as a URL, empty if it is none.
func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || !websocket.ValidOriginHost(u.Hostname()) {
		return ""
	}
	return strconv.Quote(u.Hostname())
}

// leastHistory is the least --history-total: messages are dropped 16 KiB at a time.
const leastHistory = 64 << 10

// leastByteRate is the least --worker-byte-rate.
const leastByteRate = 64 << 10

// checkAddresses refuses what cannot be listened on, and one address for two purposes.
func (cmd *settings) checkAddresses() error {
	users := make(map[string]string) // of addresses, by flag
	use := func(flag, address string) error {
		if strings.HasPrefix(address, "/") || strings.HasPrefix(address, "@") || strings.HasPrefix(address, "fd:") { // a unix socket, or one that is handed over
			if other, ok := users[address]; ok {
				return fmt.Errorf("%s is what %s has already", address, other)
			}
			users[address] = flag
			return nil
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("%q, want HOST:PORT", address)
		}
		n, err := strconv.Atoi(port)
		if err != nil || n < 0 || n > math.MaxUint16 {
			return fmt.Errorf("port %s of %q, want 0 to %d", port, address, math.MaxUint16)
		}
		if other, ok := users[address]; ok && n > 0 {
			return fmt.Errorf("%s is what %s has already", address, other)
		}
		users[address] = flag
		return nil
	}
	var errs []error
	for i, text := range cmd.Listen {
		l, err := server.ParseListen(text)
		if err == nil {
			err = use("--listen", l.Address)
		}
		if err != nil {
			errs = append(errs, wrongAt("listen", i, "%w", err))
		}
	}
	if cmd.Worker != "none" {
		l, err := server.ParseWorkerListen(cmd.Worker)
		if err == nil {
			err = use("--worker", l.Address)
		}
		if err != nil {
			errs = append(errs, depends(wrong("worker", "%w", err), "listen"))
		}
	}
	if cmd.Admin != "none" {
		l, err := server.ParseAdminListen(cmd.Admin)
		if err == nil {
			err = use("--admin", l.Address)
		}
		if err != nil {
			errs = append(errs, depends(wrong("admin", "%w", err), "listen", "worker"))
		}
	}
	return errors.Join(errs...)
}

// checkPortsFile looks for what would keep the file from being written.
func (cmd *settings) checkPortsFile() error {
	if cmd.PortsFile == "" {
		return nil
	}
	if dir, err := os.Stat(filepath.Dir(cmd.PortsFile)); err != nil {
		return wrong("ports-file", "%w", err)
	} else if !dir.IsDir() {
		return wrong("ports-file", "%s is not a directory", dir.Name())
	}
	if err := replaceable(cmd.PortsFile); err != nil {
		return wrong("ports-file", "%w", err)
	}
	return nil
}

// replaceable says why what has a name must not be replaced by a file: it is something else. A
// rename would put the file in its place, which takes a device such as /dev/null from the machine.
func replaceable(name string) error {
	switch f, err := os.Stat(name); {
	case err != nil || f.Mode().IsRegular():
		return nil
	case f.IsDir():
		return fmt.Errorf("%s is a directory, want a file", name)
	}
	return fmt.Errorf("%s is a device, a socket or a pipe, want a file", name)
}
