package server

// shareSessions has sessions be resumed on any node of the cluster.
func (s *Server) shareSessions() {
	if err := s.node.ShareSessions(s.gateway); err != nil { // it is always that there is no key
		s.gateway.Log().Warn("sessions cannot be resumed on other gateways: give all of them the same session key",
			"err", err)
	}
}
