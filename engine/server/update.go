package server

import (
	"cmp"
	"fmt"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// Update takes from config what may change while the Server runs, and leaves the rest as it is.
// config is all of it: a field that is zero gets its default again.
//
//   - Engine: Backlog, Lag, LagAge, BacklogTotal, MaxConnections, FirstBytes, Linger,
//     MaxPerAddress, ConnectRatePerAddress, ConnectRate, HandshakeTimeout, MaxHandshakes, MaxPacketRate,
//     MaxByteRate, ProxyTimeout, ProxyTrust, ForwardedTrust, ForwardedUnix,
//     History: topics that no rule matches any more lose theirs
//   - Gateway: LoginFailures, LoginFailuresPer, LoginBanMax, UserFailures, UserFailuresPer,
//     LoginTimeout, MaxLogins, MaxTokenLogins, UserLimit, MaxSessionsPerUser, MaxInflated,
//     MaxInflateRate, MaxGzipMembers, MaxRequestRate, MaxTopics, MaxTopicName, MaxTopicBytes, MaxTopicsTotal,
//     MaxPending, MaxPendingBytes, RequestTimeout, WaitWorkers, PacketTimeout, TraceSample, TraceAsked,
//     MaxSessionText, MaxLoginMetadata, SessionFromUser, KeepRevoked
//   - WebSocket: Origins
//   - Worker: MaxLinks, FrameRate, ByteRate, Tokens, Allow, AllowUnix, Limits, Idle, FirstByte,
//     WriteTimeout, ProofTimeout, MaxUnproven, and of links that come from then on MaxPacket
//
// Routes change with Gateway.SetRoutes, certificates with SetTLS. A change closes nobody: who is over a
// smaller limit stays, and gets no more. On an error nothing has changed. Any goroutine may call it
// while the Server runs, else the error is engine.ErrStopped; it does not wait for the loops, which
// take what concerns them in their next turn.
func (s *Server) Update(config Config) error {
	s.updating.Lock()
	defer s.updating.Unlock()
	if !s.running() {
		return engine.ErrStopped
	}
	config.Memory = s.config.Memory
	if err := config.CheckMemory(); err != nil {
		return fmt.Errorf("server: Config.Memory: %w", err)
	}
	config.WorkerListen, config.WorkerListener = s.config.WorkerListen, s.config.WorkerListener
	if err := config.checkWorkers(); err != nil {
		return err
	}
	if err := config.checkProxies(s.endpoints, s.workerListen); err != nil {
		return err
	}
	trust, err := config.Worker.Trust()
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if err := topic.CheckRules(config.Engine.History.Rules); err != nil {
		return fmt.Errorf("server: Config.Engine.History: %w", err)
	}
	if err := config.Worker.Check(); err != nil {
		return fmt.Errorf("server: Config.Worker: %w", err)
	}
	if err := s.web.SetOrigins(config.WebSocket.Origins); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	config.shareMemory()
	if err := s.engine.SetHistory(config.Engine.History); err != nil {
		return fmt.Errorf("server: Config.Engine.History: %w", err)
	}
	if s.node != nil {
		s.node.SetHistory(config.Engine.History)
	}
	config.Engine.Loops, config.Engine.Logger = s.engine.Loops(), s.engine.Config().Logger
	config.shareDescriptors()()
	s.hub.SetLive(config.Worker)
	s.hub.SetMaxLinks(config.Worker.MaxLinks)
	s.hub.SetTrust(trust)
	s.hub.SetRates(config.Worker.FrameRate, config.Worker.ByteRate)
	config.Cluster.URLs = s.config.Cluster.URLs
	config.Gateway.WaitWorkers = config.waitWorkers()
	s.gateway.SetLimits(config.Gateway)
	s.engine.SetLimits(engine.Limits{
		Backlog:               config.Engine.Backlog,
		Lag:                   config.Engine.Lag,
		LagAge:                config.Engine.LagAge,
		BacklogTotal:          config.Engine.BacklogTotal,
		MaxConnections:        config.Engine.MaxConnections,
		MaxPerAddress:         config.Engine.MaxPerAddress,
		ConnectRatePerAddress: config.Engine.ConnectRatePerAddress,
		ConnectRate:           config.Engine.ConnectRate,
		HandshakeTimeout:      config.Engine.HandshakeTimeout,
		MaxHandshakes:         config.Engine.MaxHandshakes,
		MaxPacketRate:         config.Engine.MaxPacketRate,
		MaxByteRate:           config.Engine.MaxByteRate,
		ProxyTimeout:          config.Engine.ProxyTimeout,
		ProxyTrust:            config.Engine.ProxyTrust,
		ForwardedTrust:        config.Engine.ForwardedTrust,
		ForwardedUnix:         config.Engine.ForwardedUnix,
		Linger:                config.Engine.Linger,
		FirstBytes:            cmp.Or(config.Engine.FirstBytes, config.Gateway.LoginTimeout),
	})
	return nil
}
