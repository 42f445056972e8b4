package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// provider makes the login provider. Without one the gateway does not start: a gateway that lets
// everybody in must be asked for.
func (cmd *settings) provider() (login.Provider, error) {
	kind := cmd.Login
	if kind == "" {
		if !cmd.Dev {
			return nil, usageError{errors.New("serve: --login is required: open, tokens:FILE, ...; or try --dev")}
		}
		kind = "open"
	}
	p, err := login.Parse(kind)
	if err != nil {
		return nil, usageError{fmt.Errorf("--login: %w", err)}
	}
	return p, nil
}

func closeProvider(p login.Provider) {
	if c, ok := p.(io.Closer); ok {
		_ = c.Close()
	}
}

// server makes the server and its routes.
func (cmd *settings) server(config server.Config) (*server.Server, error) {
	srv, err := server.New(config)
	if err != nil {
		return nil, tlsFlag(untrustedProxies(cmd.openWorkers(err)))
	}
	routes, err := cmd.routes()
	if err != nil {
		return nil, err
	}
	if err := srv.Gateway().SetRoutes(routes); err != nil {
		return nil, fmt.Errorf("--route: %w", err)
	}
	return srv, nil
}

// routes reads --route.
func (cmd *settings) routes() (list []server.WorkerRoute, err error) {
	for _, r := range cmd.Route {
		i := strings.LastIndexByte(r, '=')
		if i < 0 {
			return nil, fmt.Errorf("--route %q: want PATTERN=ID", r)
		}
		id, err := strconv.Atoi(r[i+1:])
		if err != nil {
			return nil, fmt.Errorf("--route %q: want PATTERN=ID", r)
		}
		list = append(list, server.WorkerRoute{Pattern: r[:i], Worker: id})
	}
	return list, nil
}

// parseLimits reads --limit.
func parseLimits(texts []string) (list []server.Limit, err error) {
	names, owner := make(map[string]bool), make(map[int]string)
	for _, text := range texts {
		l, err := server.ParseLimit(text)
		if err != nil {
			return nil, err
		}
		if names[l.Name] {
			return nil, fmt.Errorf("%s: given twice", l.Name)
		}
		names[l.Name] = true
		for _, id := range l.Workers {
			if other, ok := owner[id]; ok {
				return nil, fmt.Errorf("%s: worker %d is in %s already", l.Name, id, other)
			}
			owner[id] = l.Name
		}
		list = append(list, l)
	}
	return list, nil
}

func (cmd *settings) config(provider login.Provider, log *slog.Logger) (c server.Config, err error) {
	policies := map[string]engine.SlowConsumer{
		"close": engine.SlowClose, "drop-newest": engine.SlowDropNewest, "drop-oldest": engine.SlowDropOldest,
	}
	if cmd.CustomIDKey == "token" || strings.ContainsAny(cmd.CustomIDKey, "=&#") {
		return c, fmt.Errorf("--custom-id-key: %q, want the name of a query parameter, other than token", cmd.CustomIDKey)
	}
	if cmd.CustomIDKey != "" && cmd.NetsvrLogin == "required" {
		return c, errors.New("--custom-id-key and --netsvr-login required both want ?token=: choose one")
	}
	workers := server.WorkersConfig{
		OpenWorker:   cmd.OpenWorker,
		CloseWorker:  cmd.CloseWorker,
		Idle:         cmd.WorkerIdle,
		FirstByte:    cmd.WorkerFirstByte,
		WriteTimeout: cmd.WorkerWriteTimeout,
		MaxPacket:    int(cmd.WorkerMaxPacket),
		Queue:        int(cmd.WorkerQueue),
		Delayed:      int(cmd.WorkerDelayed),
		MaxLinks:     cmd.MaxWorkerLinks,
		ProofTimeout: cmd.WorkerTokenTimeout,
		MaxUnproven:  cmd.WorkerUnproven,
		FrameRate:    cmd.WorkerFrameRate,
		ByteRate:     int(cmd.WorkerByteRate),
	}
	proxies, forwarders, forwardersUnix, err := cmd.proxies()
	if err != nil {
		return c, err
	}
	if err := cmd.trust(&workers, log); err != nil {
		return c, err
	}
	if workers.Metrics, err = server.ParseMetrics(cmd.NetsvrMetrics); err != nil {
		return c, fmt.Errorf("--netsvr-metrics: %w", err)
	}
	if workers.Limits, err = parseLimits(cmd.Limit); err != nil {
		return c, fmt.Errorf("--limit: %w", err)
	}
	if err := cmd.checkBounds(); err != nil {
		return c, err
	}
	listen := cmd.Worker
	if listen == "none" {
		listen = ""
	}
	operators := server.AdminConfig{
		Address: cmd.Admin, Version: version(), MaxConnections: cmd.MaxAdminConnections, Stall: cmd.StallTimeout,
	}
	if operators.APIKey, err = cmd.key(); err != nil {
		return c, err
	}
	if operators.Tokens, err = cmd.adminTokens(); err != nil {
		return c, err
	}
	if operators.TokenUsers, err = cmd.tokenUsers(provider); err != nil {
		return c, err
	}
	operators.TokenSkew = cmd.TokenSkew
	if cmd.Admin == "none" {
		operators = server.AdminConfig{} // the key may be for sluice token alone
	}
	certificates, err := cmd.tls(log)
	if err != nil {
		return c, err
	}
	return server.Config{
		Memory:       int64(cmd.budget.size),
		Listen:       cmd.Listen,
		TLS:          certificates,
		WorkerListen: listen,
		Worker:       workers,
		WebSocket: server.WebSocketConfig{
			Origins:         cmd.AllowOrigin,
			ForwardedHeader: cmd.ForwardedHeader,
			SubProtocols:    cmd.WSSubprotocol,
			Probe:           cmd.Probe,
			NoDeflate:       !cmd.WSDeflate,
			DeflateMin:      int(cmd.WSDeflateMin),
			MaxHead:         int(cmd.WSMaxHead),
			MaxHeaders:      cmd.WSMaxHeaders,
			MaxFragments:    cmd.WSMaxFragments,
		},
		Gosoc: server.GosocConfig{
			MaxKeepAlive: orNone(cmd.MaxKeepAlive), BadTokenStops: cmd.GosocBadToken == 3, ManyLogins: cmd.GosocLogins == "many",
			TLSRuns: cmd.GosocTLSRecords == "run",
		},
		Netsvr: server.NetsvrConfig{
			Path:           cmd.NetsvrPath,
			Deflate:        cmd.NetsvrDeflate,
			Idle:           cmd.ClientIdle,
			MaxMessage:     int(cmd.ClientMaxMessage),
			GuestFragments: noneIsNegative(int(cmd.GuestMaxFragments)),
			Binary:         cmd.PushOpcode == "binary",
			CustomIDKey:    cmd.CustomIDKey,
			LoginRequired:  cmd.NetsvrLogin == "required",
		},
		Admin: operators,
		Longbridge: server.LongbridgeConfig{
			HeartbeatTimeout: cmd.HeartbeatTimeout,
			NoCloseNotice:    !cmd.LongbridgeCloseNotice,
			Gzip:             int(cmd.LongbridgeGzip),
		},
		CustomIDTTL:  cmd.CustomIDTTL,
		Dev:          cmd.Dev,
		SlowConsumer: policies[cmd.SlowConsumer],
		Engine: engine.Config{
			Loops:          cmd.Loops,
			Backlog:        int(cmd.Backlog),
			Lag:            int(cmd.Lag),
			LagAge:         cmd.LagAge,
			BacklogTotal:   int64(cmd.BacklogTotal),
			SendBuffer:     int(cmd.SendBuffer),
			Linger:         min(cmd.CloseTimeout, cmd.Drain/2), // clients that do not close are cut within the drain
			MaxConnections: cmd.MaxConnections,
			MaxPerAddress:  int(cmd.MaxConnectionsPerAddress), ConnectRatePerAddress: int(cmd.ConnectRatePerAddress),
			ConnectRate: cmd.ConnectRate, MaxPacketRate: cmd.MaxPacketRate, MaxByteRate: int(cmd.MaxByteRate),
			ProxyTimeout: cmd.ProxyTimeout, ProxyTrust: proxies, ForwardedTrust: forwarders,
			ForwardedUnix:    forwardersUnix,
			HandshakeTimeout: cmd.TLSHandshakeTimeout,
			MaxHandshakes:    cmd.MaxHandshakes,
			MaxRefusals:      cmd.MaxRefusals,
			Logger:           log,
		},
		Gateway: server.GatewayConfig{
			ServerID:         uint8(cmd.ServerID),
			Login:            provider,
			LoginTimeout:     cmd.LoginTimeout,
			LoginFailures:    cmd.LoginFailures.Count,
			LoginFailuresPer: cmd.LoginFailures.Per,
			LoginBytes:       int(cmd.MaxLoginBytes),
			LoginBanMax:      cmd.LoginBanMax,
			UserFailures:     cmd.UserFailures.Count,
			UserFailuresPer:  cmd.UserFailures.Per,
			MaxLogins:        cmd.MaxLogins,
			MaxTokenLogins:   cmp.Or(cmd.MaxTokenLogins, -1),
			SessionTTL:       cmd.SessionTTL,
			SessionBytes:     int(cmd.SessionBytes),
			SessionMax:       cmp.Or(cmd.SessionMax, -1),
			KeepRevoked:      cmd.Revoke == "keep",
			SessionTotal:     int64(cmd.SessionTotal),
			MaxSessionText:   int(cmd.MaxSessionText),
			SessionFromUser:  cmd.SessionFrom == "user",
			MaxLoginMetadata: int(cmd.MaxLoginMetadata),
			UserLimit:        noneIsNegative(cmd.UserLimit),
			MaxPacket:        int(cmd.MaxPacket),
			MaxInflated:      int(cmd.MaxInflated),
			MaxInflateRate:   noneIsNegative(int(cmd.MaxInflateRate)),
			MaxGzipMembers:   cmd.MaxGzipMembers,
			MaxPending:       cmd.MaxPending,
			MaxPendingBytes:  int(cmd.MaxPendingBytes),
			MaxTopics:        cmd.MaxTopics,
			MaxRequestRate:   cmd.MaxRequestRate,
			MaxTopicName:     int(cmd.MaxTopicName),
			MaxTopicsTotal:   cmd.MaxTopicsTotal,
			MaxSessions:      cmd.MaxSessions, MaxSessionsPerUser: noneIsNegative(cmd.MaxSessionsPerUser),
			MaxTopicBytes:   int(cmd.MaxTopicBytes),
			RequestTimeout:  cmd.RequestTimeout,
			WaitWorkers:     orNone(cmd.WaitWorkers),
			RouteIgnoreCase: cmd.RouteIgnoreCase,
			PacketTimeout:   orNone(cmd.PacketTimeout),
			PushRoute:       cmd.PushRoute,
			PushCmd:         uint8(cmd.PushCmd),
			Logger:          log,
		},
	}, nil
}

// adminTokens reads the tokens of operators, nil when there are none.
func (cmd *settings) adminTokens() (*server.AdminTokens, error) {
	switch {
	case cmd.AdminToken == "":
		return nil, nil
	case cmd.Admin == "none":
		return nil, errors.New("--admin-token: nobody can use them with --admin none")
	}
	tokens, err := server.NewAdminTokens(cmd.AdminToken)
	if err != nil {
		return nil, fmt.Errorf("--admin-token: %w", err)
	}
	return tokens, nil
}

// tokenUsers reads the API keys of users, nil when there are none.
func (cmd *settings) tokenUsers(provider login.Provider) (*login.APIKeys, error) {
	if cmd.TokenUsers == "" {
		return nil, nil
	}
	if _, ok := provider.(*login.OTP); !ok {
		return nil, errors.New("--token-users: there are one-time tokens only with --login otp")
	}
	if cmd.Admin == "none" {
		return nil, errors.New("--token-users: nobody can call for tokens with --admin none")
	}
	users, err := login.NewAPIKeys(cmd.TokenUsers)
	if err != nil {
		return nil, fmt.Errorf("--token-users: %w", err)
	}
	return users, nil
}

// orNone is a limit as Config fields want it, where 0 stands for a default and less for no limit.
func orNone(limit time.Duration) time.Duration {
	if limit <= 0 {
		return -1
	}
	return limit
}

// noneIsNegative is orNone for a number.
func noneIsNegative(limit int) int {
	if limit <= 0 {
		return -1
	}
	return limit
}
