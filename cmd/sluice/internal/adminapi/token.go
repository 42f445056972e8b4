package adminapi

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/roletoken"
)

// maxTokenFile bounds a file of tokens, in bytes.
const maxTokenFile = 1 << 20

// ErrBadToken is about a file that holds no token.
var ErrBadToken = errors.New("no token")

// ReadToken reads a token from a file: one that holds it alone, or one with a role before each token,
// as the gateway's own. Then it is the first of the role full, or the first at all. Empty lines and
// what is behind # do not count. The error names the file, and never holds a token.
func ReadToken(file string) (string, error) {
	text, err := readfile.Read(file, maxTokenFile)
	if err != nil {
		return "", err
	}
	lines, err := roletoken.Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", file, err, ErrBadToken)
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("%s is empty: %w", file, ErrBadToken)
	}
	if i := slices.IndexFunc(lines, func(l roletoken.Line) bool { return l.Role == roletoken.Full }); i >= 0 {
		return lines[i].Token, nil
	}
	return lines[0].Token, nil
}
