package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/nearest"
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
			return nil, depends(wrong("login", "it is required: open, tokens:FILE, ...; or try --dev"), "dev", "config")
		}
		kind = "open"
	}
	p, err := login.Parse(kind)
	if err != nil {
		return nil, wrong("login", "%w%s", err, cmd.nearestLogin())
	}
	return p, nil
}

func closeProvider(p login.Provider) {
	if c, ok := p.(io.Closer); ok {
		_ = c.Close()
	}
}

// nearestLogin is the end of an error about --login, which may be a kind that is misspelt.
func (cmd *settings) nearestLogin() string {
	kind, _, _ := strings.Cut(cmd.Login, ":")
	var kinds []string
	for _, usage := range login.Kinds() {
		k, _, _ := strings.Cut(usage, ":")
		k, _, _ = strings.Cut(k, "[")
		kinds = append(kinds, k)
	}
	if word := nearest.Word(kind, kinds); word != "" && word != kind {
		return didYouMean(strconv.Quote(word)) // what follows it may be secret
	}
	return ""
}

// server makes the server and its routes.
func (cmd *settings) server(config server.Config) (*server.Server, error) {
	srv, err := server.New(config)
	if err != nil {
		return nil, listenFlag(tlsFlag(untrustedProxies(cmd.openWorkers(err))))
	}
	routes, err := cmd.routes()
	if err != nil {
		return nil, err
	}
	if err := srv.Gateway().SetRoutes(routes); err != nil {
		return nil, wrong("route", "%w", err)
	}
	return srv, nil
}

// waitWorkers is --wait-workers, unless no worker can come.
func (cmd *settings) waitWorkers() time.Duration {
	if cmd.Worker == "none" && len(cmd.Cluster) == 0 {
		return -1
	}
	return orNone(cmd.WaitWorkers)
}

// listenFlag has an error of a listener be about the flag.
func listenFlag(err error) error {
	var e *server.ListenError
	if !errors.As(err, &e) {
		return err
	}
	why := e.Err
	if errors.Is(why, syscall.EADDRINUSE) {
		why = fmt.Errorf("%w: another process has it, perhaps another gateway; port 0 is one that is free", why)
	}
	switch e.Field {
	case "Listen":
		return wrongAt("listen", e.Index, "%w", why)
	case "WorkerListen":
		return wrong("worker", "%w", why)
	case "Admin":
		return wrong("admin", "%w", why)
	}
	return err
}

// routes reads --route.
func (cmd *settings) routes() (list []server.WorkerRoute, err error) {
	var errs []error
	for n, r := range cmd.Route {
		i := strings.LastIndexByte(r, '=')
		if i < 0 {
			errs = append(errs, wrongAt("route", n, "%q: want PATTERN=ID, as chat.*=1", r))
			continue
		}
		id, err := strconv.Atoi(r[i+1:])
		if err != nil {
			errs = append(errs, wrongAt("route", n, "%q: want PATTERN=ID, as chat.*=1", r))
			continue
		}
		list = append(list, server.WorkerRoute{Pattern: r[:i], Worker: id})
		if err := server.CheckRoutes(list, cmd.RouteIgnoreCase); err != nil {
			errs = append(errs, wrongAt("route", n, "%w", err))
			list = list[:len(list)-1]
		}
	}
	return list, errors.Join(errs...)
}

// limits reads --limit.
func (cmd *settings) limits() (list []server.Limit, err error) {
	var errs []error
	names, owner := make(map[string]bool), make(map[int]string)
next:
	for i, text := range cmd.Limit {
		l, err := server.ParseLimit(text)
		if err != nil {
			errs = append(errs, wrongAt("limit", i, "%w", err))
			continue
		}
		if names[l.Name] {
			errs = append(errs, wrongAt("limit", i, "%s: given twice", l.Name))
			continue
		}
		names[l.Name] = true
		for _, id := range l.Workers {
			if other, ok := owner[id]; ok {
				errs = append(errs, wrongAt("limit", i, "%s: worker %d is in %s already", l.Name, id, other))
				continue next
			}
			owner[id] = l.Name
		}
		list = append(list, l)
	}
	return list, errors.Join(errs...)
}

// config makes the server's configuration. The error joins one for each mistake.
func (cmd *settings) config(provider login.Provider, log *slog.Logger) (c server.Config, err error) {
	policies := map[string]engine.SlowConsumer{
		"close": engine.SlowClose, "drop-newest": engine.SlowDropNewest, "drop-oldest": engine.SlowDropOldest,
	}
	var errs []error
	refuse := func(err error) { errs = append(errs, err) }
	if cmd.CustomIDKey == "token" || strings.ContainsAny(cmd.CustomIDKey, "=&#") {
		refuse(wrong("custom-id-key", "%q, want the name of a query parameter, other than token", cmd.CustomIDKey))
	}
	if cmd.CustomIDKey != "" && cmd.NetsvrLogin == "required" {
		refuse(depends(wrong("custom-id-key", "this and --netsvr-login required both want ?token=: choose one"), "netsvr-login"))
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
	refuse(err)
	refuse(cmd.trust(&workers, log))
	if workers.Metrics, err = server.ParseMetrics(cmd.NetsvrMetrics); err != nil {
		refuse(wrong("netsvr-metrics", "%w", err))
	}
	workers.Limits, err = cmd.limits()
	refuse(err)
	_, err = cmd.routes()
	refuse(err)
	refuse(cmd.checkBounds())
	history, err := cmd.history()
	refuse(err)
	nodes, err := cmd.cluster()
	refuse(err)
	listen := cmd.Worker
	if listen == "none" {
		listen = ""
	}
	operators := server.AdminConfig{
		Address: cmd.Admin, Version: version(), MaxConnections: cmd.MaxAdminConnections, Stall: cmd.StallTimeout,
	}
	operators.APIKey, err = cmd.key()
	refuse(err)
	operators.Tokens, err = cmd.adminTokens()
	refuse(err)
	operators.TokenUsers, err = cmd.tokenUsers(provider)
	refuse(err)
	operators.TokenSkew = cmd.TokenSkew
	if cmd.Admin == "none" {
		operators = server.AdminConfig{} // the key may be for sluice token alone
	}
	certificates, err := cmd.tls(log)
	refuse(err)
	sample, err := cmd.sampleRate()
	refuse(err)
	if err := errors.Join(errs...); err != nil {
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
		Admin:   operators,
		Cluster: nodes,
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
			History:          history,
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
			WaitWorkers:     cmd.waitWorkers(),
			RouteIgnoreCase: cmd.RouteIgnoreCase,
			PacketTimeout:   orNone(cmd.PacketTimeout),
			PushRoute:       cmd.PushRoute,
			PushCmd:         uint8(cmd.PushCmd),
			TraceSample:     sample,
			TraceAsked:      noneIsNegative(cmd.TraceAsked),
			GapCmd:          uint8(cmd.GapCmd),
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
		return nil, depends(wrong("admin-token", "nobody can use them with --admin none"), "admin")
	}
	tokens, err := server.NewAdminTokens(cmd.AdminToken)
	if err != nil {
		return nil, wrong("admin-token", "%w", err)
	}
	return tokens, nil
}

// tokenUsers reads the API keys of users, nil when there are none.
func (cmd *settings) tokenUsers(provider login.Provider) (*login.APIKeys, error) {
	if cmd.TokenUsers == "" {
		return nil, nil
	}
	if _, ok := provider.(*login.OTP); !ok {
		return nil, depends(wrong("token-users", "there are one-time tokens only with --login otp"), "login")
	}
	if cmd.Admin == "none" {
		return nil, depends(wrong("token-users", "nobody can call for tokens with --admin none"), "admin")
	}
	users, err := login.NewAPIKeys(cmd.TokenUsers)
	if err != nil {
		return nil, wrong("token-users", "%w", err)
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
