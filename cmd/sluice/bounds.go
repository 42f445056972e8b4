package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine/server"
)

// checkBounds refuses values that would be taken for something else: fields of Config stand for
// their defaults when they are zero, and some are cut to what there is room for.
func (cmd *settings) checkBounds() error {
	const (
		all  = math.MaxInt64
		most = math.MaxInt32 // what is counted for each connection has 32 bits
	)
	for _, bound := range []struct {
		name           string
		n, least, most int64
	}{
		{"backlog", int64(cmd.Backlog), 1, most},
		{"lag", int64(cmd.Lag), 1, most},
		{"backlog-total", int64(cmd.BacklogTotal), 1, all},
		{"send-buffer", int64(cmd.SendBuffer), 1, most},
		{"max-packet", int64(cmd.MaxPacket), 1, all},
		{"max-inflated", int64(cmd.MaxInflated), 1, all},
		{"max-pending", int64(cmd.MaxPending), 1, all},
		{"max-pending-bytes", int64(cmd.MaxPendingBytes), 1, all},
		{"max-topics", int64(cmd.MaxTopics), 1, all},
		{"max-topic-bytes", int64(cmd.MaxTopicBytes), 1, all},
		{"max-session-text", int64(cmd.MaxSessionText), 1, 1 << 30},
		{"max-login-metadata", int64(cmd.MaxLoginMetadata), 1, 64 << 10},
		{"max-connections", int64(cmd.MaxConnections), 0, all},
		{"session-max", int64(cmd.SessionMax), 1, all},
		{"session-total", int64(cmd.SessionTotal), 1, all},
		{"worker-max-packet", int64(cmd.WorkerMaxPacket), 1, all},
		{"worker-queue", int64(cmd.WorkerQueue), 1, all},
		{"worker-delayed", int64(cmd.WorkerDelayed), 1, all},
		{"max-worker-links", int64(cmd.MaxWorkerLinks), 1, all},
		{"ws-max-head", int64(cmd.WSMaxHead), 1 << 10, 64 << 10},
		{"ws-max-headers", int64(cmd.WSMaxHeaders), 1, most},
		{"ws-deflate-min", int64(cmd.WSDeflateMin), 1, most},
		{"ws-max-fragments", int64(cmd.WSMaxFragments), 1, most},
		{"client-max-message", int64(cmd.ClientMaxMessage), 1, all},
		{"user-limit", int64(cmd.UserLimit), 0, all},
		{"push-cmd", int64(cmd.PushCmd), 1, all},
		{"loops", int64(cmd.Loops), 0, 256},
	} {
		switch {
		case bound.n < bound.least:
			return fmt.Errorf("--%s: %d, want %d or more", bound.name, bound.n, bound.least)
		case bound.n > bound.most:
			return fmt.Errorf("--%s: %d, want %d or less", bound.name, bound.n, bound.most)
		}
	}
	for _, bound := range []struct {
		name     string
		d, least time.Duration
	}{
		{"login-timeout", cmd.LoginTimeout, time.Millisecond},
		{"session-ttl", cmd.SessionTTL, time.Millisecond},
		{"lag-age", cmd.LagAge, 0},
		{"packet-timeout", cmd.PacketTimeout, 0},
		{"max-keep-alive", cmd.MaxKeepAlive, 0},
		{"request-timeout", cmd.RequestTimeout, time.Millisecond},
		{"worker-idle", cmd.WorkerIdle, time.Millisecond},
		{"worker-write-timeout", cmd.WorkerWriteTimeout, time.Millisecond},
		{"client-idle", cmd.ClientIdle, time.Millisecond},
		{"custom-id-ttl", cmd.CustomIDTTL, time.Millisecond},
		{"heartbeat-timeout", cmd.HeartbeatTimeout, time.Millisecond},
		{"drain", cmd.Drain, 0},
	} {
		if bound.d < bound.least {
			return fmt.Errorf("--%s: %v, want %v or more", bound.name, bound.d, bound.least)
		}
	}
	if cmd.NetsvrPath == "" {
		return errors.New("--netsvr-path: want a path such as /netsvr")
	}
	if err := (&server.NetsvrConfig{Path: cmd.NetsvrPath}).CheckPath(); err != nil {
		return fmt.Errorf("--netsvr-path: %w", err)
	}
	if cmd.GosocBadToken != 6 && cmd.GosocBadToken != 3 {
		return fmt.Errorf("--gosoc-bad-token: %d, want 6 or 3", cmd.GosocBadToken)
	}
	for _, host := range cmd.AllowOrigin {
		if !websocket.ValidOriginHost(host) {
			return fmt.Errorf("--allow-origin %q: want HOST, as example.com", host)
		}
	}
	for _, name := range cmd.WSSubprotocol {
		if !websocket.ValidSubProtocol(name) {
			return fmt.Errorf("--ws-subprotocol %q: want a name without spaces and separators", name)
		}
	}
	if cmd.PushRoute == "" {
		return errors.New("--push-route: want a route")
	}
	return nil
}
