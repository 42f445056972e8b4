package admin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/internal/readfile"
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
	table := make(map[[sha256.Size]byte]Role)
	lines := make(map[[sha256.Size]byte]int)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		role, token, err := parseToken(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		digest := sha256.Sum256([]byte(token))
		if other := lines[digest]; other != 0 {
			return nil, fmt.Errorf("line %d: same token as line %d", n, other)
		}
		table[digest], lines[digest] = role, n
	}
	if len(table) == 0 {
		return nil, errors.New("holds no tokens: want lines of a role, read or full, and a token")
	}
	return table, nil
}

func parseToken(fields []string) (Role, string, error) {
	if len(fields) != 2 {
		return NoRole, "", fmt.Errorf("%d fields, want a role, read or full, and a token", len(fields))
	}
	role := NoRole
	switch fields[0] {
	case "read":
		role = ReadRole
	case "full":
		role = FullRole
	default:
		return NoRole, "", errors.New("the first field is no role, want read or full")
	}
	token := fields[1]
	switch {
	case len(token) < minToken || len(token) > maxToken:
		return NoRole, "", fmt.Errorf("a token of %d characters, want %d to %d", len(token), minToken, maxToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return NoRole, "", errors.New("the token holds characters that no header can")
	}
	return role, token, nil
}
