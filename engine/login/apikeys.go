package login

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/internal/readfile"
)

// MaxAPIKeyLen bounds an API key and its secret, each in bytes.
const MaxAPIKeyLen = 256

// An APIKey says whom a key is for.
type APIKey struct {
	User string
	// Secret signs the calls made with the key. Empty: they are not signed, and whoever has the key
	// is believed.
	Secret string
}

// APIKeys are keys with which users call for one-time tokens themselves, read from a file. A line
// holds a key, the user id and, if calls must be signed, the secret that they are signed with:
//
//	# a comment; one may end a line, too
//	9c1f5c0e  ann
//	77d1e0a9  bob  5a31f0c9e1   # bob's calls must be signed
//
// Fields are separated by blanks or tabs. Users may have several keys. An empty file is an error, so
// that a half-written one does not lock everybody out on Reload. Any goroutine may use it.
type APIKeys struct{ table *readfile.Table[apiKeyTable] }

// apiKeyTable is keyed by digests, as tokenTable is.
type apiKeyTable map[[sha256.Size]byte]apiKeyEntry

type apiKeyEntry struct {
	APIKey
	line int
}

// NewAPIKeys reads file. It fails with an error that names the file and line.
func NewAPIKeys(file string) (*APIKeys, error) {
	table, err := readfile.NewTable(file, "API keys", maxTokensFile, parseAPIKeys)
	if err != nil {
		return nil, err
	}
	return &APIKeys{table}, nil
}

// File returns the name of the file.
func (k *APIKeys) File() string { return k.table.File() }

// Len returns the number of keys.
func (k *APIKeys) Len() int { return len(k.table.Load()) }

// Lookup returns whom a key is for. The time it takes says nothing about the text of a key near by.
func (k *APIKeys) Lookup(key string) (APIKey, bool) {
	if key == "" || len(key) > MaxAPIKeyLen {
		return APIKey{}, false
	}
	e, ok := k.table.Load()[sha256.Sum256([]byte(key))]
	return e.APIKey, ok
}

// Reload reads the file again. If it is not usable, the error says which line, and the old keys stay.
// It may block.
func (k *APIKeys) Reload() error { return k.table.Reload() }

// Replace takes over what another has read. It reports whether that was another text.
func (k *APIKeys) Replace(with *APIKeys) bool { return k.table.Replace(with.table) }

// parseAPIKeys never puts a key or a secret into an error.
func parseAPIKeys(text string) (apiKeyTable, error) {
	table := make(apiKeyTable)
	err := eachLine(text, "key user [secret]", func(n int, fields []string) error {
		e := apiKeyEntry{APIKey{User: fields[1]}, n}
		if len(fields) == 3 {
			e.Secret = fields[2]
		}
		if len(fields[0]) > MaxAPIKeyLen || len(e.Secret) > MaxAPIKeyLen {
			return fmt.Errorf("key or secret longer than %d bytes", MaxAPIKeyLen)
		}
		if strings.ContainsFunc(fields[0], func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("the key holds characters that no header can")
		}
		if err := checkUser(e.User); err != nil {
			return errors.New(why(err))
		}
		key := sha256.Sum256([]byte(fields[0]))
		if old, ok := table[key]; ok {
			return fmt.Errorf("same key as line %d", old.line)
		}
		table[key] = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(table) == 0 {
		return nil, errors.New("holds no keys")
	}
	return table, nil
}
