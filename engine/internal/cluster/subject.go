package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
)

// maxToken is how long the base64 of a topic's name may be in a subject. A longer name is there by its
// hash: the server closes a connection whose control line is over 4,096 bytes.
const maxToken = 160

var nameRule = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// CheckName says what is wrong with a cluster's name.
func CheckName(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("cluster name %q: want 1 to 32 of a-z, 0-9 and -", name)
	}
	return nil
}

// subjects builds the subjects of one cluster. Nothing else does: a subject with an empty token is taken
// by the server without an error and reaches nobody.
type subjects struct{ prefix string }

func newSubjects(name string) subjects { return subjects{"sluice." + name + "."} }

// topic is where a topic's messages go. The name may be any bytes, but not none.
func (s subjects) topic(name string) string {
	if base64.RawURLEncoding.EncodedLen(len(name)) <= maxToken {
		return s.prefix + "t." + base64.RawURLEncoding.EncodeToString([]byte(name))
	}
	sum := sha256.Sum256([]byte(name))
	return s.prefix + "t.~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// history is where messages of a topic with history go: the stream keeps them and sends them on to the
// topic's own subject.
func (s subjects) history(name string) string {
	return s.prefix + "h." + s.topic(name)[len(s.prefix)+2:]
}

// histories are the subjects of history, and heardAs is what the stream makes of one.
func (s subjects) histories() string { return s.prefix + "h.*" }

func (s subjects) heardAs() string { return s.prefix + "t.{{wildcard(1)}}" }

// node is where goes what is for one node's table of interest and credits.
func (s subjects) node(id uint8) string { return s.prefix + "n." + hex.EncodeToString([]byte{id}) }

// nodes is the same for all nodes.
func (s subjects) nodes() string { return s.prefix + "n.all" }

// command is where commands for one node go, and the answers to its own.
func (s subjects) command(id uint8) string { return s.prefix + "c." + hex.EncodeToString([]byte{id}) }

// commands is where commands for all nodes go.
func (s subjects) commands() string { return s.prefix + "c.all" }
