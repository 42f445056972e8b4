// Package jsontext reads JSON that encoding/json takes for more than it is.
//
// Of two members of one name encoding/json takes the last, a name it takes in any case, and what is
// no character it replaces by U+FFFD. Whoever reads the same text before or behind the gateway may
// see something else then, another token for one, and two users may become the same one.
//
// It has no state; everything may be called from any goroutine.
package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

var (
	// ErrNoObject is for JSON that is no object.
	ErrNoObject = errors.New("not a JSON object")
	// ErrNoText is for text that is no Unicode: bytes that are not UTF-8, or half a character.
	ErrNoText = errors.New("invalid UTF-8")
)

// Unmarshal reads text, a JSON object, into the struct that v points to, as encoding/json does, but
// refuses what can be read in two ways. Each of the struct's fields is there once, by its exact
// name, and so is each name in an object that is a field's value. Members that the struct does not
// know are skipped. After an error v has anything in it. Names come from the fields' tags; fields
// without one, and those of embedded structs, are not for it.
func Unmarshal(text []byte, v any) error {
	if !utf8.Valid(text) {
		return ErrNoText
	}
	if err := json.Unmarshal(text, v); err != nil {
		return err
	}
	if LoneSurrogate(text) >= 0 {
		return ErrNoText
	}
	names := namesOf(v)
	seen := make([]bool, len(names))
	err := error(nil)
	if ok := Members(text, func(name, value []byte) bool {
		for i, want := range names {
			switch {
			case string(name) == want:
				if seen[i] {
					err = fmt.Errorf("%q is there twice", want)
					return false
				}
				seen[i] = true
				if value[0] == '{' && !onceEach(value) {
					err = fmt.Errorf("%q has a name twice", want)
					return false
				}
			case strings.EqualFold(string(name), want): // as encoding/json has it
				err = fmt.Errorf("%q, want %q", name, want)
				return false
			}
		}
		return true
	}); !ok && err == nil {
		return ErrNoObject
	}
	return err
}

// onceEach reports whether each name in an object is there once.
func onceEach(object []byte) bool {
	seen := make(map[string]bool)
	return Members(object, func(name, _ []byte) bool {
		twice := seen[string(name)]
		seen[string(name)] = true
		return !twice
	})
}

// namesOf returns the names in JSON of the fields of the struct that v points to.
func namesOf(v any) []string {
	t := reflect.TypeOf(v).Elem()
	names := make([]string, 0, t.NumField())
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// String reads value, a valid JSON string, or null, which is as an empty one. One that is no
// Unicode is refused.
func String(value []byte) (string, error) {
	switch {
	case !utf8.Valid(value):
		return "", ErrNoText
	case value[0] == '"' && bytes.IndexByte(value, '\\') < 0:
		return string(value[1 : len(value)-1]), nil
	case LoneSurrogate(value) >= 0:
		return "", ErrNoText
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err
}
