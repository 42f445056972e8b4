package server

// shareSessions has sessions be resumed on any node of the cluster.
func (s *Server) shareSessions() { s.unshared = s.node.ShareSessions(s.gateway) }

// warnOfSessions says that sessions stay where they are. It is not said by New: who looks whether a
// configuration is good makes a Server of it, too, and not always with its key.
func (s *Server) warnOfSessions() {
	if s.unshared != nil { // it is always that there is no key
		s.gateway.Log().Warn("sessions cannot be resumed on other gateways: give all of them the same --session-key",
			"err", s.unshared)
	}
}
