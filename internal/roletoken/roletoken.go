// Package roletoken reads files of operators' tokens. The gateway keeps such a file, and the commands
// that ask it are given one, or a file with a token alone.
package roletoken

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/internal/utf8bom"
)

// The roles that a line may name.
const (
	Read = "read"
	Full = "full"
)

// A Line is a line that holds a token.
type Line struct {
	Number int    // from 1 on
	Role   string // Read or Full; empty where the token stands alone
	Token  string // of ASCII that prints, without spaces
}

// Parse reads the lines of a file: a role and a token each, or a token alone. Blank lines and what is
// behind # say nothing. The error names the line, and never holds what is in it.
func Parse(text string) ([]Line, error) {
	var all []Line
	number := 0
	for line := range strings.Lines(utf8bom.Trim(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		l := Line{Number: number, Token: fields[len(fields)-1]}
		if len(fields) > 1 {
			l.Role = fields[0]
		}
		if err := l.check(len(fields)); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func (l *Line) check(fields int) error {
	switch {
	case fields > 2:
		return fmt.Errorf("%d fields, want a role, %s or %s, and a token", fields, Read, Full)
	case l.Role != "" && l.Role != Read && l.Role != Full:
		return fmt.Errorf("the first field is no role, want %s or %s", Read, Full)
	case strings.ContainsFunc(l.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the token holds characters that no header can")
	}
	return nil
}
