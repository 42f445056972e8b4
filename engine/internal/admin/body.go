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
	"strings"
	"unicode/utf8"

	"github.com/sluicenet/sluice/internal/jsontext"
)

// maxBody bounds the body of a call: a message of a mebibyte in base64, and what is around it.
const maxBody = 1<<20*4/3 + 64<<10

// decode reads the JSON body of r, which ends at maxBody, into a struct. It is one object, and each of
// its fields is one of the struct's, by its exact name, and there once.
func decode(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return decodeObject(body, v)
}

// readBody reads the JSON body of r, which ends at maxBody.
func readBody(r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &refusal{http.StatusUnsupportedMediaType, codeMediaType, "want Content-Type: application/json"}
	}
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &refusal{http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("want a body of at most %d bytes", maxBody)}
	case err != nil:
		return nil, badRequest("the body cannot be read: %v", err)
	}
	return body, nil
}

// checkObject says why body is no JSON object, as far as encoding/json would not.
func checkObject(body []byte) error {
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
	if at := jsontext.LoneSurrogate(body); at >= 0 {
		return badRequest("the body has half a character: look at the \\u at byte %d", at+1)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return badRequest("the body is no JSON object")
	}
	return nil
}

// decodeObject reads body into the struct that v points to. encoding/json alone would take a name in
// any case, the last of two values, and another character for bytes that are none.
func decodeObject(body []byte, v any) error {
	if err := checkObject(body); err != nil {
		return err
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

// anyObject reads body, an object with fields of any name, as encoding/json reads it into any, with
// numbers as they are written. A name is there once in each object. There are at most most values.
func anyObject(body []byte, most int) (map[string]any, error) {
	if err := checkObject(body); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	left := most
	v, err := anyValue(d, &left, 0)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// maxDepth is how deep objects and lists of anyObject may be in each other.
const maxDepth = 8

// anyValue reads the next value of d, which is valid JSON. It counts in left how many more there may be.
func anyValue(d *json.Decoder, left *int, depth int) (any, error) {
	if *left < 0 || depth > maxDepth {
		return nil, badRequest("the body has more values than anybody wants")
	}
	*left--
	token, err := d.Token()
	if err != nil {
		return nil, badRequest("the body is not one JSON value")
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := anyValue(d, left, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, _ = d.Token()
		return list, nil
	case json.Delim('{'):
		fields := make(map[string]any)
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, badRequest("the body is not one JSON value")
			}
			text := name.(string)
			if _, twice := fields[text]; twice {
				return nil, badRequest("%s is there twice", clip(text))
			}
			if fields[text], err = anyValue(d, left, depth+1); err != nil {
				return nil, err
			}
		}
		_, _ = d.Token()
		return fields, nil
	}
	return token, nil
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
