package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/session"
)

// Sessions go from node to node only where both have the same session key. What a node says of its key in
// its lease is a mark that is the same for the same key and tells nothing else of it: nodes with other keys
// are warned of. They are not refused, or a key could not be replaced one node after the other.

// keyMark is the mark of a key in a cluster of that name.
func keyMark(name string, key *[session.KeySize]byte) string {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("sluice: the mark of a session key in the cluster " + name))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// OtherKey reports whether sessions do not go between this node and another, since it has another session
// key or none. It is false where this node has none: then that is known.
func (n *Node) OtherKey(m *Member) bool { return n.keyMark != "" && m.keyMark != n.keyMark }

// otherKeys are the nodes of OtherKey.
func (n *Node) otherKeys() (ids []uint8) {
	list := n.nodes.all()
	for i := range list {
		if n.OtherKey(&list[i]) {
			ids = append(ids, list[i].ID)
		}
	}
	return ids
}

// came is told of a node that is new in the table.
func (n *Node) came(m Member) {
	if n.OtherKey(&m) {
		n.log.Warn("sessions are not resumed between this gateway and another: give both the same session key",
			"node", m.ID, "address", m.Address, "has-one", m.keyMark != "")
	}
}

// keyStatus is a line for people, empty if all is well.
func (n *Node) keyStatus() string {
	ids := n.otherKeys()
	if len(ids) == 0 {
		return ""
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return "sessions: not resumed on nodes with another session key: " + strings.Join(texts, ", ")
}
