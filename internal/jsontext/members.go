package jsontext

import (
	"bytes"
	"encoding/json"
)

// Members calls member for each of a JSON object's, until it returns false. It reports whether
// valid, JSON by json.Valid, is an object and no call returned false. Name and value are slices of
// valid, but for a name with escapes, which comes without them.
func Members(valid []byte, member func(name, value []byte) bool) bool {
	rest := bytes.TrimLeft(valid, jsonSpace)
	if rest[0] != '{' {
		return false
	}
	for {
		rest = bytes.TrimLeft(rest[1:], jsonSpace) // behind the brace or a comma
		if rest[0] == '}' {
			return true
		}
		n := valueLen(rest)
		name := rest[1 : n-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			var text string
			if json.Unmarshal(rest[:n], &text) != nil {
				return false
			}
			name = []byte(text)
		}
		rest = bytes.TrimLeft(rest[n:], jsonSpace)
		rest = bytes.TrimLeft(rest[1:], jsonSpace) // behind the colon
		n = valueLen(rest)
		if !member(name, rest[:n]) {
			return false
		}
		rest = bytes.TrimLeft(rest[n:], jsonSpace)
		if rest[0] == '}' {
			return true
		}
	}
}

const jsonSpace = " \t\r\n"

// valueLen returns how long the value is that rest, of valid JSON, begins with.
func valueLen(rest []byte) int {
	depth := 0
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			for i++; rest[i] != '"'; i++ {
				if rest[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // a number's end, or that of a word
			}
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(rest)
}
