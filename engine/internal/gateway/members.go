package gateway

import "github.com/sluicenet/sluice/engine"

// Connections appends the connections of a user, of every protocol. The empty user, who is
// anonymous, has none. A connection is found from the moment its login is accepted until it closes.
func (g *Gateway) Connections(dst []engine.Ref, user string) []engine.Ref {
	if user == "" {
		return dst
	}
	if ref := g.users.Get(user); ref != 0 {
		dst = append(dst, engine.Ref(ref))
	}
	var room [8]uint64
	for _, ref := range g.members.Append(room[:0], user) {
		dst = append(dst, engine.Ref(ref))
	}
	return dst
}

// release ends that a user is found at a connection: he is in one of the two directories.
func (g *Gateway) release(user string, ref uint64) {
	if !g.users.Release(user, ref) {
		g.members.Remove(user, ref)
	}
}
