package admin

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/roletoken"
)

// A Role is what an operator may do. Each may do what those before it may.
type Role uint8

// The roles.
const (
	NoRole   Role = iota // learn whether the process lives and takes clients
	ReadRole             // read counters, connections, topics, sessions, workers and settings
	FullRole             // besides, change things, read messages, and take profiles
)

var roleNames = [...]string{NoRole: "none", ReadRole: "read", FullRole: "full"}

// String returns the role's name in token files.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "unknown"
}

const (
	// minToken is the shortest token in bytes: 80 bits, if each of them has five.
	minToken      = 16
	maxToken      = 256
	maxTokensFile = 1 << 20
)

// Tokens are the tokens of operators, read from a file. A line holds a role and a token of 16 to 256
// characters; there may be several of a role:
//
//	# a comment; one may end a line, too
//	full 5WvJ0Zp3d8Rk1sQe
//	read 9tYh2mXc7LbN4uGa   # Prometheus
//
// They are kept as digests only. An empty file is an error, so that a half-written one does not lock
// everybody out when it is read again. Any goroutine may use it.
type Tokens struct {
	table *readfile.Table[map[[sha256.Size]byte]Role]
}

// NewTokens reads a file. The error names the file and the line, and never holds a token.
func NewTokens(file string) (*Tokens, error) {
	table, err := readfile.NewTable(file, "admin tokens", maxTokensFile, parseTokens)
	if err != nil {
		return nil, err
	}
	return &Tokens{table}, nil
}

// File returns the name of the file.
func (t *Tokens) File() string { return t.table.File() }

// Reload reads the file again. On an error the old tokens stay.
func (t *Tokens) Reload() error { return t.table.Reload() }

// Replace takes over what another has read. It reports whether that was another text.
func (t *Tokens) Replace(with *Tokens) bool { return t.table.Replace(with.table) }

// role returns what a token allows. It looks up a digest, so the time that takes says nothing of the
// texts of tokens.
func (t *Tokens) role(digest [sha256.Size]byte) Role { return t.table.Load()[digest] }

func parseTokens(text string) (map[[sha256.Size]byte]Role, error) {
	lines, err := roletoken.Parse(text)
	if err != nil {
		return nil, err
	}
	table := make(map[[sha256.Size]byte]Role)
	from := make(map[[sha256.Size]byte]int)
	for _, line := range lines {
		switch n := len(line.Token); {
		case line.Role == "":
			return nil, fmt.Errorf("line %d: 1 fields, want a role, read or full, and a token", line.Number)
		case n < minToken || n > maxToken:
			return nil, fmt.Errorf("line %d: a token of %d characters, want %d to %d", line.Number, n, minToken, maxToken)
		}
		digest := sha256.Sum256([]byte(line.Token))
		if other := from[digest]; other != 0 {
			return nil, fmt.Errorf("line %d: same token as line %d", line.Number, other)
		}
		table[digest], from[digest] = roles[line.Role], line.Number
	}
	if len(table) == 0 {
		return nil, errors.New("holds no tokens: want lines of a role, read or full, and a token")
	}
	return table, nil
}

// roles are those that lines name.
var roles = map[string]Role{roletoken.Read: ReadRole, roletoken.Full: FullRole}
