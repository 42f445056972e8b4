package jsontext

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type document struct {
	User  string            `json:"user"`
	Key   *int              `json:"session_key,omitempty"`
	Notes map[string]string `json:"notes"`
	List  []any             `json:"list"`
}

// What can be read in two ways is refused, and says what it is.
func TestUnmarshal(t *testing.T) {
	t.Parallel()
	key := 5
	for _, tc := range []struct {
		what, text string
		want       document
		err        string // empty: it is read
	}{
		{"nothing", `{}`, document{}, ""},
		{"all", " {\"user\":\"ann\",\"session_key\":5,\"notes\":{\"a\":\"1\",\"A\":\"2\"}}\n",
			document{User: "ann", Key: &key, Notes: map[string]string{"a": "1", "A": "2"}}, ""},
		{"null", `{"user":null,"notes":null}`, document{}, ""},
		{"names that are not known, twice", `{"x":1,"x":{"y":1,"y":2},"user":"ann"}`, document{User: "ann"}, ""},
		{"a name with escapes", `{"\u0075ser":"ann"}`, document{User: "ann"}, ""},
		{"twice", `{"user":"ann","user":"ann"}`, document{}, `"user" is there twice`},
		{"twice, with escapes", `{"user":"ann","\u0075ser":"bob"}`, document{}, `"user" is there twice`},
		{"twice, null once", `{"user":"ann","user":null}`, document{}, `"user" is there twice`},
		{"in another case", `{"User":"ann"}`, document{}, `"User", want "user"`},
		{"in another case behind the right one", `{"user":"ann","USER":"bob"}`, document{}, `"USER", want "user"`},
		{"in another case, as Unicode folds", "{\"\u017fe\u017f\u017fion_\u212aey\":1}", document{}, `want "session_key"`},
		{"twice within", `{"notes":{"a":"1","b":"2","a":"3"}}`, document{}, `"notes" has a name twice`},
		{"not UTF-8", "{\"user\":\"\xff\"}", document{}, "invalid UTF-8"},
		{"half a character", `{"user":"\ud83d"}`, document{}, "invalid UTF-8"},
		{"null alone", `null`, document{}, "not a JSON object"},
		{"a list", `[]`, document{}, "cannot unmarshal array"},
		{"another type", `{"user":1}`, document{}, "cannot unmarshal number"},
		{"half", `{"user":"ann"`, document{}, "unexpected end"},
		{"nothing at all", ``, document{}, "unexpected end"},
		{"two", `{}{}`, document{}, "invalid character"},
	} {
		var got document
		err := Unmarshal([]byte(tc.text), &got)
		switch {
		case tc.err == "" && (err != nil || !reflect.DeepEqual(got, tc.want)):
			t.Errorf("%s: %+v, %v", tc.what, got, err)
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: %v, want %s", tc.what, err, tc.err)
		}
	}
}

// What is read is what any other reader sees who takes exact names, the first of two or the last.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{
		`{"user":"a"}`, `{"user":"a","User":"b"}`, `{"user":"a","user":"b"}`, `{"notes":{"a":"1"},"list":[{"a":1,"a":2}]}`,
		"{\"u\u017fer\":\"a\"}", `{"\u0075ser":"\ud83d\ude00"}`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got document
		if Unmarshal(text, &got) != nil {
			return
		}
		var first, last string
		seen := false
		if !Members(text, func(name, value []byte) bool {
			if string(name) == "user" {
				var s string
				if err := json.Unmarshal(value, &s); err != nil {
					t.Fatal(err)
				}
				if last = s; !seen {
					first, seen = s, true
				}
			}
			return true
		}) {
			t.Fatalf("%q is an object", text)
		}
		if got.User != first || got.User != last {
			t.Errorf("%q: %q, want %q or %q", text, got.User, first, last)
		}
	})
}
