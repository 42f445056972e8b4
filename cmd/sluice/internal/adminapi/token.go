package adminapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/utf8bom"
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
	token, full := "", false
	for line := range strings.Lines(utf8bom.Trim(string(text))) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case len(words) == 2 && (words[0] == "full" || words[0] == "read"):
			if role := words[0] == "full"; token == "" || role && !full {
				token, full = words[1], role
			}
		case len(words) > 1:
			return "", fmt.Errorf("%s: want a token, or lines of a role and a token: %w", file, ErrBadToken)
		case token == "":
			token = words[0]
		}
	}
	if token == "" {
		return "", fmt.Errorf("%s is empty: %w", file, ErrBadToken)
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("%s: the token holds characters beyond ASCII: %w", file, ErrBadToken)
		}
	}
	return token, nil
}
