package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Description is the OpenAPI description, as far as tests look at it. It notes which of its answers
// were seen.
type Description struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Responses map[string]response       `json:"responses"`
		Schemas   map[string]map[string]any `json:"schemas"`
	} `json:"components"`
	seen map[string]bool
}

type operation struct {
	OperationID string                `json:"operationId"`
	Security    []map[string][]string `json:"security"`
	Responses   map[string]response   `json:"responses"`
	Parameters  []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema map[string]any `json:"schema"`
	} `json:"content"`
}

// ReadDescription returns the embedded description.
func ReadDescription(t testing.TB) *Description {
	t.Helper()
	d := &Description{seen: make(map[string]bool)}
	if err := json.Unmarshal(openAPI, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve returns a response, which may be named only.
func (d *Description) resolve(r response) response {
	if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
		return d.Components.Responses[name]
	}
	return r
}

// Check holds an answer against what is described for a path of the description.
func (d *Description) Check(t testing.TB, path, method string, status int, contentType string, body []byte) {
	t.Helper()
	op, ok := d.Paths[path][strings.ToLower(method)]
	if !ok {
		t.Errorf("%s %s is not described", method, path)
		return
	}
	r, ok := op.Responses[fmt.Sprint(status)]
	if !ok {
		t.Errorf("%s %s: status %d is not described: %s", method, path, status, body)
		return
	}
	d.seen[fmt.Sprintf("%s %s %d", strings.ToLower(method), path, status)] = true
	kind, _, _ := strings.Cut(contentType, ";")
	content, ok := d.resolve(r).Content[kind]
	if !ok {
		t.Errorf("%s %s: content type %q of status %d is not described", method, path, contentType, status)
		return
	}
	if kind != "application/json" {
		return
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s %s: %v in %s", method, path, err, body)
		return
	}
	for _, problem := range d.validate("", content.Schema, v) {
		t.Errorf("%s %s, status %d: %s", method, path, status, problem)
	}
}

// Unseen lists the answers that are described and were not seen, but for those of the statuses given.
func (d *Description) Unseen(but ...int) (list []string) {
	for path, ops := range d.Paths {
		for method, op := range ops {
			for status := range op.Responses {
				if key := method + " " + path + " " + status; !d.seen[key] && !slices.ContainsFunc(but, func(n int) bool { return status == fmt.Sprint(n) }) {
					list = append(list, key)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// keywords are those of JSON Schema that validate knows; another is an error, so that nothing in the
// description goes unchecked.
var keywords = []string{
	"$ref", "type", "properties", "required", "additionalProperties", "items", "enum", "pattern", "format", "minimum", "description",
}

// validate says what is wrong with a value. What is not described, and objects that are not closed, is
// wrong, too.
func (d *Description) validate(at string, schema map[string]any, v any) (problems []string) {
	wrong := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s: ", at)+fmt.Sprintf(format, args...))
	}
	for k := range schema {
		if !slices.Contains(keywords, k) {
			wrong("the keyword %s is unknown", k)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, ok := d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
		if !ok {
			wrong("%s is not there", ref)
			return problems
		}
		return append(problems, d.validate(at, target, v)...)
	}
	types := []any{schema["type"]}
	if list, ok := schema["type"].([]any); ok {
		types = list
	}
	if types[0] == nil {
		return problems // anything
	}
	if !slices.ContainsFunc(types, func(name any) bool { return isA(v, name) }) {
		wrong("%v is no %v", v, types)
		return problems
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		wrong("%v is none of %v", v, enum)
	}
	switch v := v.(type) {
	case string:
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			wrong("%q does not match %s", v, p)
		}
		if schema["format"] == "date-time" {
			if at, err := time.Parse(time.RFC3339Nano, v); err != nil || at.Location() != time.UTC {
				wrong("%q is no time in UTC", v)
			}
		}
	case float64:
		if least, ok := schema["minimum"].(float64); ok && v < least {
			wrong("%v is below %v", v, least)
		}
	case []any:
		items, ok := schema["items"].(map[string]any)
		if !ok {
			wrong("a list of what is not said")
			break
		}
		for i, item := range v {
			problems = append(problems, d.validate(fmt.Sprintf("%s[%d]", at, i), items, item)...)
		}
	case map[string]any:
		problems = append(problems, d.validateObject(at, schema, v)...)
	}
	return problems
}

func (d *Description) validateObject(at string, schema map[string]any, v map[string]any) (problems []string) {
	properties, _ := schema["properties"].(map[string]any)
	more, open := schema["additionalProperties"].(map[string]any)
	if properties == nil && !open {
		return nil // anything
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			problems = append(problems, fmt.Sprintf("%s: %v is missing", at, name))
		}
	}
	for name, value := range v {
		s, ok := properties[name].(map[string]any)
		if !ok {
			s = more
		}
		if s == nil {
			problems = append(problems, fmt.Sprintf("%s: %s is not described", at, name))
			continue
		}
		problems = append(problems, d.validate(at+"."+name, s, value)...)
	}
	return problems
}

func isA(v, name any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

// TestDescribesItsRoutes: what is served is described, method by method and parameter by parameter,
// and the other way round.
func TestDescribesItsRoutes(t *testing.T) {
	d := ReadDescription(t)
	s := newServer(t, newOTP(t), nil)
	served := make(map[string]Role)
	for _, rt := range s.routes() {
		if rt.get != nil || rt.stream != nil {
			served["get "+rt.path] = rt.role
		}
		if rt.post != nil {
			served["post "+rt.path] = rt.role
		}
		if rt.patch != nil {
			served["patch "+rt.path] = FullRole
		}
		if rt.del != nil {
			served["delete "+rt.path] = FullRole
		}
	}
	described, ids := make(map[string]Role), make(map[string]bool)
	for path, ops := range d.Paths {
		for method, op := range ops {
			role := ReadRole
			if slices.Equal(op.Security[0]["token"], []string{"full"}) {
				role = FullRole
			}
			described[method+" "+path] = role
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operationId %q", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			for _, want := range []string{"401", "403", "405", "429"} {
				if _, ok := op.Responses[want]; !ok {
					t.Errorf("%s %s: no answer %s", method, path, want)
				}
			}
		}
	}
	if !maps.Equal(served, described) {
		t.Errorf("served    %v\ndescribed %v", served, described)
	}
}

// TestDescribesItsParameters: a parameter that is described is taken, and the error for another lists
// just those.
func TestDescribesItsParameters(t *testing.T) {
	s := newServer(t, newOTP(t), func(c *Config) { c.Dev = true })
	for path, ops := range ReadDescription(t).Paths {
		op, ok := ops["get"]
		if !ok || strings.HasSuffix(path, "/tail") {
			continue
		}
		target := strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path)
		var want []string
		for _, p := range op.Parameters {
			if p.In == "query" {
				want = append(want, p.Name)
			}
		}
		w := ask(s, "GET", target+"?nobodyKnows=1")
		var e struct{ Code, Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusBadRequest || e.Code != codeBadRequest {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
			continue
		}
		_, list, _ := strings.Cut(e.Message, "want ")
		got := strings.Split(list, ", ")
		if list == "" {
			got = nil
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s takes %v, described are %v", path, got, want)
		}
	}
}

// TestValidator: it finds what it is to find.
func TestValidator(t *testing.T) {
	d := &Description{}
	schema := map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"a"},
		"properties": map[string]any{"a": map[string]any{"type": "integer", "minimum": 0.0}},
	}
	for text, want := range map[string]string{
		`{"a":1}`: "", `{}`: "a is missing", `{"a":1.5}`: "is no", `{"a":-1}`: "below", `{"a":null}`: "is no", `{"a":1,"b":2}`: "b is not described", `[]`: "is no",
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(d.validate("", schema, v), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := d.validate("", map[string]any{"maxLength": 1.0}, ""); len(got) == 0 {
		t.Error("a keyword that is not checked goes by")
	}
}

// targetOf is a path of the description with something in place of its parameters.
func targetOf(path string) string {
	return strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path)
}

// TestRefusalsAreDescribed: what every path answers to those who may not ask, to other methods, and
// while the loops stand still.
func TestRefusalsAreDescribed(t *testing.T) {
	d := ReadDescription(t)
	tokens := testTokens(t)
	for path, ops := range d.Paths {
		for method := range ops {
			method := strings.ToUpper(method)
			s := newServer(t, newOTP(t), func(c *Config) { c.Tokens = tokens })
			closed := newServer(t, newOTP(t), nil)
			check := func(s *Server, method string, status int, headers ...string) {
				t.Helper()
				w := ask(s, method, targetOf(path), headers...)
				if w.Code != status {
					t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
				}
				if status == http.StatusMethodNotAllowed { // which each of the others describes
					for described := range ops {
						d.Check(t, path, described, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
					}
					return
				}
				d.Check(t, path, method, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
			}
			check(closed, method, 403)
			check(s, method, 401)
			check(s, "PUT", 405, "Authorization", "Bearer "+fullToken)
			for range guessBurst {
				check(s, method, 401, "X-Api-Key", "wrong")
			}
			check(s, method, 429, "X-Api-Key", "wrong")

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			r := httptest.NewRequestWithContext(ctx, method, targetOf(path), strings.NewReader(bodyFor[path]))
			r.Header.Set("Authorization", "Bearer "+fullToken)
			r.Header.Set("Content-Type", "application/json")
			r = atLoop(r, path)
			s.guesses = guesses{}
			for _, places := range []chan struct{}{s.queries, s.streams, s.tails} { // others have them all
				for len(places) < cap(places) {
					places <- struct{}{}
				}
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if _, ok := ops[strings.ToLower(method)].Responses["503"]; ok && w.Code != 503 {
				t.Errorf("%s %s while nobody answers: %d %s", method, path, w.Code, w.Body)
			}
			if w.Code == 503 {
				d.Check(t, path, method, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
			}
		}
	}
	for _, key := range d.Unseen(200, 202, 400, 404, 410, 413, 415, 422, 501) {
		t.Errorf("%s is described and was not seen", key)
	}
}

// bodyFor are bodies that are right.
var bodyFor = map[string]string{
	"/api/v1/publish":     `{"topic":"x","payload":""}`,
	"/api/v1/kick":        `{"connection":"0000000000000001"}`,
	"/api/v1/disconnect":  `{"connection":"0000000000000001"}`,
	"/api/v1/subscribe":   `{"connection":"0000000000000001","topics":["x"]}`,
	"/api/v1/unsubscribe": `{"connection":"0000000000000001","topics":["x"]}`,
}

// atLoop has a request ask for a connection that could be there.
func atLoop(r *http.Request, path string) *http.Request {
	if path == "/api/v1/connections/{id}" {
		r.URL.Path = "/api/v1/connections/0000000000000001"
	}
	return r
}
