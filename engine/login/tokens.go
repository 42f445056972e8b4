package login

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/utf8bom"
)

// maxTokensFile bounds a file of tokens, in bytes: about a million lines.
const maxTokensFile = 64 << 20

// Tokens is a provider that reads its tokens from a file. A line holds a token, the user id and, if
// wanted, topics:
//
//	# a comment; one may end a line, too
//	b4c55d5e2fa8  ann
//	77d1e0a9cc10  bob    news,sport    # topics are separated by commas
//
// Fields are separated by blanks or tabs. Users may have several tokens. An empty file is an error,
// so that a half-written one does not lock everybody out on Reload. What is not in it any more is taken
// back.
type Tokens struct{ table *readfile.Table[*tokenTable] }

// A tokenTable is what a file says.
type tokenTable struct {
	// byDigest is keyed by digests, so that the time of a look-up says nothing about the text of a
	// token near by.
	byDigest map[[sha256.Size]byte]tokenEntry
	proofs   []uint64 // of all entries, sorted
}

type tokenEntry struct {
	Identity
	line int
}

var (
	_ Immediate = (*Tokens)(nil)
	_ Reloader  = (*Tokens)(nil)
	_ Revocable = (*Tokens)(nil)
)

// NewTokens reads file. It fails with an error that names the file and line.
func NewTokens(file string) (*Tokens, error) {
	table, err := readfile.NewTable(file, "login: tokens", maxTokensFile, parseTokens)
	if err != nil {
		return nil, err
	}
	return &Tokens{table}, nil
}

// Login implements Provider.
func (t *Tokens) Login(_ context.Context, r Request) (Identity, error) {
	return t.LoginNow(time.Time{}, r)
}

// LoginNow implements Immediate. It fails with ErrTooLong or ErrUnknown.
func (t *Tokens) LoginNow(_ time.Time, r Request) (Identity, error) {
	if len(r.Token) > MaxTokenLen {
		return Identity{}, ErrTooLong
	}
	e, ok := t.table.Load().byDigest[sha256.Sum256([]byte(r.Token))]
	if !ok {
		return Identity{}, ErrUnknown
	}
	return e.Identity, nil
}

// Len returns the number of tokens. Any goroutine may call it.
func (t *Tokens) Len() int { return len(t.table.Load().byDigest) }

// Holds implements Revocable: a login holds while the file gives its token to the same user.
func (t *Tokens) Holds(proof uint64) bool {
	_, ok := slices.BinarySearch(t.table.Load().proofs, proof)
	return ok
}

// proofOf names a token of a user's. It is good in later processes, too.
func proofOf(digest [sha256.Size]byte, user string) uint64 {
	sum := sha256.Sum256(append(digest[:], user...))
	return max(binary.BigEndian.Uint64(sum[:]), 1)
}

// Loads returns how often a file has been read that was not the same as before. Any goroutine may
// call it.
func (t *Tokens) Loads() uint64 { return t.table.Loads() }

// Reload implements Reloader.
func (t *Tokens) Reload() error { return t.table.Reload() }

// parseTokens never puts a token into an error.
func parseTokens(text string) (*tokenTable, error) {
	table := &tokenTable{byDigest: make(map[[sha256.Size]byte]tokenEntry)}
	err := eachLine(text, "token user [topic,topic]", func(n int, fields []string) error {
		e := tokenEntry{Identity{User: fields[1]}, n}
		if len(fields) == 3 {
			e.Topics = strings.Split(fields[2], ",")
		}
		if len(fields[0]) > MaxTokenLen {
			return fmt.Errorf("token longer than %d bytes", MaxTokenLen)
		}
		if err := e.check(); err != nil {
			return errors.New(why(err))
		}
		key := sha256.Sum256([]byte(fields[0]))
		if old, ok := table.byDigest[key]; ok {
			return fmt.Errorf("same token as line %d", old.line)
		}
		e.Proof = proofOf(key, e.User)
		table.byDigest[key] = e
		table.proofs = append(table.proofs, e.Proof)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(table.byDigest) == 0 {
		return nil, errors.New("holds no tokens")
	}
	slices.Sort(table.proofs)
	return table, nil
}

// eachLine calls f for each line of a file of secrets that is not empty: with its number, and its
// fields, of which there are two or three, as form says. An error names the line.
func eachLine(text, form string, f func(n int, fields []string) error) error {
	n := 0
	for line := range strings.Lines(utf8bom.Trim(text)) {
		n++
		fields := tokenFields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 || len(fields) > 3 {
			return fmt.Errorf("line %d: %d fields, want: %s", n, len(fields), form)
		}
		if err := f(n, fields); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// tokenFields splits a line up to its comment, which is a field that begins with #.
func tokenFields(line string) []string {
	fields := strings.Fields(line)
	for i, f := range fields {
		if f[0] == '#' {
			return fields[:i]
		}
	}
	return fields
}

// why strips the words "login: refused: " from a refusal, for use in an error about a file.
func why(err error) string { return strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ") }
