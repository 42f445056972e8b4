package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxBody bounds the body of a call: a message of a mebibyte in base64, and what is around it.
const maxBody = 1<<20*4/3 + 64<<10

// decode reads the JSON body of r, which ends at maxBody, into a struct. It is one object, and each of
// its fields is one of the struct's, by its exact name, and there once.
func decode(r *http.Request, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, codeMediaType, "want Content-Type: application/json"}
	}
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &refusal{http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("want a body of at most %d bytes", maxBody)}
	case err != nil:
		return badRequest("the body cannot be read: %v", err)
	}
	return decodeObject(body, v)
}

// decodeObject reads body into the struct that v points to. encoding/json alone would take a name in
// any case, the last of two values, and another character for bytes that are none.
func decodeObject(body []byte, v any) error {
	if !utf8.Valid(body) {
		return badRequest("the body is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		at := len(body)
		if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = int(wrong.Offset)
		}
		return badRequest("the body is not one JSON value: look at byte %d of %d", at, len(body))
	}
	if at := loneSurrogate(body); at >= 0 {
		return badRequest("the body has half a character: look at the \\u at byte %d", at+1)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return badRequest("the body is no JSON object")
	}
	fields, names := fieldsOf(v)
	seen := make(map[string]bool)
	d := json.NewDecoder(bytes.NewReader(body))
	_, _ = d.Token() // the brace
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return badRequest("the body is no JSON object")
		}
		field, ok := fields[name]
		switch {
		case !ok && len(names) == 0:
			return badRequest("unknown field %q: there are none here", clip(name))
		case !ok:
			return badRequest("unknown field %q, want %s", clip(name), strings.Join(names, ", "))
		case seen[name]:
			return badRequest("%s is there twice", name)
		}
		seen[name] = true
		if err := d.Decode(field.Addr().Interface()); err != nil {
			return badRequest("%s: want %s", name, kindOf(field.Type()))
		}
	}
	return nil
}

// fieldsOf returns the fields of the struct that v points to, those of embedded ones too, by their
// names in JSON, and these in order.
func fieldsOf(v any) (fields map[string]reflect.Value, names []string) {
	fields = make(map[string]reflect.Value)
	of := reflect.ValueOf(v).Elem()
	for _, f := range reflect.VisibleFields(of.Type()) {
		if name := f.Tag.Get("json"); name != "" {
			fields[name] = of.FieldByIndex(f.Index)
			names = append(names, name)
		}
	}
	return fields, names
}

// kindOf says what JSON is to have for a type.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list, each of it " + kindOf(t.Elem())
	}
	return "another type"
}

// loneSurrogate returns where JSON, which is valid, has one half of a character that \u writes in two,
// -1 if it has none.
func loneSurrogate(text []byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		n := escaped(text[i:])
		switch {
		case n < 0:
			i++ // what is escaped may be a backslash
		case !utf16.IsSurrogate(n):
			i += 5
		case utf16.DecodeRune(n, escaped(text[i+6:])) == utf8.RuneError:
			return i
		default:
			i += 11
		}
	}
	return -1
}

// escaped returns the number behind a \u that text begins with, -1 if it does not.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
