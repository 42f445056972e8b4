package jsontext

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// Members are told as encoding/json tells them.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, ` { "a" : 1 , "b":[{"c":"}"},"]"] ,"":{}}`, `{"a\"b":"\\","c":-1.5e+9,"d":null,"e":true}`,
		`{"\u0061":"\ud800","b" :false }`, `[]`, `1`, `"a"`, `null`, "\t{\r\n}\n", "{\"\xff\":\"\xff\"}", `{"a":{"b":[1,2,{"c":[]}]},"a":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if !json.Valid(doc) {
			return
		}
		type pair struct{ name, value string }
		var got []pair
		ok := Members(doc, func(name, value []byte) bool {
			got = append(got, pair{string(name), string(value)})
			text, err := String(value)
			unicode := utf8.Valid(value) && LoneSurrogate(value) < 0
			if (err == nil) != ((value[0] == '"' || value[0] == 'n') && unicode) {
				t.Errorf("%q as a text: %v", value, err)
			}
			var same string
			if err == nil && (json.Unmarshal(value, &same) != nil || same != text) {
				t.Errorf("%q is the text %q, want %q", value, text, same)
			}
			return true
		})
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		begin, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		if ok != (begin == json.Delim('{')) {
			t.Fatalf("%q: an object: %v", doc, ok)
		}
		if !ok {
			return
		}
		n := 0
		for ; d.More(); n++ {
			name, err := d.Token()
			var value json.RawMessage
			if err != nil || d.Decode(&value) != nil {
				t.Fatal(err)
			}
			if n >= len(got) {
				t.Fatalf("%q: %d members, and then %q", doc, len(got), name)
			}
			if got[n].value != string(value) || utf8.Valid(doc) && got[n].name != name {
				t.Fatalf("%q: member %d is %q, want %q: %q", doc, n, got[n], name, value)
			}
		}
		if n != len(got) {
			t.Fatalf("%q: %d members, want %d", doc, len(got), n)
		}
	})
}
