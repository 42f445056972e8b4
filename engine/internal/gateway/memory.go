package gateway

// TrimSessions forgets one of every part of the sessions that wait for their client, those that expire
// first: their tickets are good for the user only, see session.Store. It returns how many. Any
// goroutine may call it.
func (g *Gateway) TrimSessions(part int) int {
	n := g.sessions.Trim(part)
	g.chargeSessions()
	return n
}
