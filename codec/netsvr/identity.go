package netsvr

import "google.golang.org/protobuf/encoding/protowire"

// Identity says who a client is. It is part of ConnOpen, ConnClose and Transfer for
// a worker that registered with wantsIdentity. The zero Identity is not written at
// all, so that every other worker gets what netsvr sends.
type Identity struct {
	User     []byte // empty: anonymous
	Protocol []byte // "gosoc", "longbridge", "netsvr", ...
	Peer     []byte // address:port
	Metadata []Metadata
	Claims   []Metadata
}

// The fields of an Identity. No version of netsvr uses numbers from 100 on.
const (
	fieldUser     protowire.Number = 101
	fieldProtocol protowire.Number = 102
	fieldPeer     protowire.Number = 103
	fieldMetadata protowire.Number = 104 // what the client said at its login
	fieldClaims   protowire.Number = 105 // what the login provider vouches for
)

// Metadata is one pair of a map. Of several with one key the last counts.
type Metadata struct {
	Key, Value []byte
}

// Lookup returns the value that counts for key in pairs.
func Lookup(pairs []Metadata, key string) (value []byte, ok bool) {
	for i := len(pairs) - 1; i >= 0; i-- {
		if string(pairs[i].Key) == key {
			return pairs[i].Value, true
		}
	}
	return nil, false
}

func (m *Identity) append(dst []byte) []byte {
	dst = appendText(dst, fieldUser, m.User)
	dst = appendText(dst, fieldProtocol, m.Protocol)
	dst = appendText(dst, fieldPeer, m.Peer)
	dst = appendPairs(dst, fieldMetadata, m.Metadata)
	return appendPairs(dst, fieldClaims, m.Claims)
}

// reuse returns an empty Identity with the room of m.
func (m *Identity) reuse() Identity {
	return Identity{Metadata: reuse(m.Metadata), Claims: reuse(m.Claims)}
}

// decode takes a field of d, if it is one of an Identity's.
func (m *Identity) decode(d *decoder) {
	switch d.field {
	case fieldUser:
		m.User = d.text()
	case fieldProtocol:
		m.Protocol = d.text()
	case fieldPeer:
		m.Peer = d.text()
	case fieldMetadata:
		m.Metadata = append(m.Metadata, d.pair())
	case fieldClaims:
		m.Claims = append(m.Claims, d.pair())
	}
}

// appendPairs writes a field of type map<string, string>.
func appendPairs(dst []byte, field protowire.Number, pairs []Metadata) []byte {
	for _, p := range pairs {
		start := len(dst)
		dst = appendItem(dst, 1, p.Key)
		dst = appendItem(dst, 2, p.Value)
		dst = enclose(dst, start, field)
	}
	return dst
}

// pair is the value of a field of type map<string, string>.
func (d *decoder) pair() (p Metadata) {
	entry := decoder{rest: d.bytes()}
	for entry.next() {
		switch entry.field {
		case 1:
			p.Key = entry.text()
		case 2:
			p.Value = entry.text()
		}
	}
	if entry.err != nil {
		d.fail(entry.err)
	}
	return p
}
