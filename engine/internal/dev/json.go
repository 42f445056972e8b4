package dev

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// publishBody takes {"topic":"...","data":...} apart, without an allocation when the topic has no
// escapes. payload must be valid JSON; data points into it and is the value as it was sent.
func publishBody(payload []byte) (topic, data []byte, ok bool) {
	b := skipSpace(payload)
	if len(b) == 0 || b[0] != '{' {
		return nil, nil, false
	}
	b = skipSpace(b[1:])
	for len(b) > 0 && b[0] == '"' {
		key, rest := value(b)
		b = skipSpace(skipSpace(rest)[1:]) // the colon
		v, rest := value(b)
		name, _ := text(key)
		switch string(name) {
		case "topic":
			topic, ok = text(v)
			if !ok {
				return nil, nil, false
			}
		case "data":
			data = v
		}
		b = skipSpace(rest)
		if len(b) == 0 || b[0] != ',' {
			break
		}
		b = skipSpace(b[1:])
	}
	return topic, data, topic != nil && data != nil
}

// topicNames appends the names in {"topics":["...",...]}. payload must be valid JSON; a name points
// into it unless it has escapes.
func topicNames(dst [][]byte, payload []byte) (names [][]byte, ok bool) {
	b := skipSpace(payload)
	if b[0] != '{' {
		return nil, false
	}
	for b = skipSpace(b[1:]); b[0] == '"'; {
		key, rest := value(b)
		list, rest := value(skipSpace(skipSpace(rest)[1:])) // behind the colon
		if name, _ := text(key); string(name) == "topics" {
			if dst, ok = texts(dst[:0], list); !ok {
				return nil, false
			}
		}
		if b = skipSpace(rest); b[0] == ',' {
			b = skipSpace(b[1:])
		}
	}
	return dst, ok
}

// lastOf returns the number in {"last":n}, 0 if there is none. payload must be valid JSON.
func lastOf(payload []byte) (n int, ok bool) {
	b := skipSpace(payload)
	if b[0] != '{' {
		return 0, true
	}
	for b = skipSpace(b[1:]); b[0] == '"'; {
		key, rest := value(b)
		v, rest := value(skipSpace(skipSpace(rest)[1:])) // behind the colon
		if name, _ := text(key); string(name) == "last" {
			var err error
			if n, err = strconv.Atoi(string(v)); err != nil || n < 0 {
				return 0, false
			}
		}
		if b = skipSpace(rest); b[0] == ',' {
			b = skipSpace(b[1:])
		}
	}
	return n, true
}

// texts appends the strings of a JSON array of nothing else.
func texts(dst [][]byte, list []byte) ([][]byte, bool) {
	if list[0] != '[' {
		return nil, false
	}
	for b := skipSpace(list[1:]); b[0] != ']'; {
		v, rest := value(b)
		t, ok := text(v)
		if !ok {
			return nil, false
		}
		dst = append(dst, t)
		if b = skipSpace(rest); b[0] == ',' {
			b = skipSpace(b[1:])
		}
	}
	return dst, true
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// value splits off the JSON value at the front of b, which is valid.
func value(b []byte) (v, rest []byte) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return b[:i+1], b[i+1:]
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return b[:i], b[i:] // a number or a word ended before the brace
			}
			if depth--; depth == 0 {
				return b[:i+1], b[i+1:]
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return b[:i], b[i:]
			}
		}
	}
	return b, nil
}

// text returns the characters of a JSON string.
func text(v []byte) ([]byte, bool) {
	if len(v) < 2 || v[0] != '"' {
		return nil, false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], true
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return nil, false
	}
	return []byte(s), true
}
