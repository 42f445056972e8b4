package worker

import (
	"iter"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// An Identity says who a client is, as far as its gateway knows. It is empty if the gateway does not
// know this extension of the protocol.
type Identity struct {
	User     string // empty: anonymous
	Protocol string // "gosoc", "longbridge", "netsvr", or the name of an embedder's protocol
	Peer     string // where it connected from: address:port, or "unix"

	metadata []netsvr.Metadata
	claims   []netsvr.Metadata
}

// LoginMetadata returns what the client said under a key at its login, empty if nothing. A Longbridge
// client says its accept-language. Nobody has checked it.
func (id *Identity) LoginMetadata(key string) string {
	value, _ := netsvr.Lookup(id.metadata, key)
	return string(value)
}

// AllLoginMetadata yields all that the client said at its login.
func (id *Identity) AllLoginMetadata() iter.Seq2[string, string] { return pairs(id.metadata) }

// Claim returns what the login provider vouches for under a name: a claim of the client's token that
// the gateway's operator has named, or a member of "claims" in the answer of an HTTP provider. What
// was no string there is JSON. ok is false if there is no such claim, and after a session was
// resumed whose claims the gateway did not remember: let nobody do something for want of a claim.
func (id *Identity) Claim(name string) (value string, ok bool) {
	v, ok := netsvr.Lookup(id.claims, name)
	return string(v), ok
}

// AllClaims yields all that the login provider vouches for.
func (id *Identity) AllClaims() iter.Seq2[string, string] { return pairs(id.claims) }

func pairs(list []netsvr.Metadata) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, p := range list {
			if !yield(string(p.Key), string(p.Value)) {
				return
			}
		}
	}
}

// identityOf makes an Identity of a message's, whose lists are the decoder's.
func identityOf(m *netsvr.Identity) Identity {
	return Identity{
		User: text(m.User), Protocol: text(m.Protocol), Peer: text(m.Peer),
		metadata: slices.Clone(m.Metadata), claims: slices.Clone(m.Claims),
	}
}

func listOf(m map[string]string) []netsvr.Metadata {
	if len(m) == 0 {
		return nil
	}
	list := make([]netsvr.Metadata, 0, len(m))
	for k, v := range m {
		list = append(list, netsvr.Metadata{Key: []byte(k), Value: []byte(v)})
	}
	slices.SortFunc(list, func(a, b netsvr.Metadata) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list
}
