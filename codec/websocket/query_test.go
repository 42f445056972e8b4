package websocket

import (
	"net/url"
	"testing"
)

var queries = []struct {
	query, key, want string
	ok               bool
}{
	{"version=1&codec=1&platform=9", "codec", "1", true},
	{"version=1&codec=1&platform=9", "platform", "9", true},
	{"version=1&codec=1&platform=9", "version", "1", true},
	{"version=1", "codec", "", false},
	{"", "a", "", false},
	{"a", "a", "", true},
	{"a=", "a", "", true},
	{"a=b=c", "a", "b=c", true},
	{"a=1&a=2", "a", "1", true},
	{"&&a=1&", "a", "1", true},
	{"ab=1&a=2", "a", "2", true},
	{"a=x%20y+z%2b", "a", "x y z+", true},
	{"a=%E4%BD%A0", "a", "\u4f60", true},
	{"%61=1", "a", "1", true},
	{"a+b=1", "a b", "1", true},
	{"a=%", "a", "", false},
	{"a=%2", "a", "", false},
	{"a=%2g", "a", "", false},
	{"a=%zz&a=2", "a", "2", true},
	{"%zz=1&a=2", "a", "2", true},
	{"a=1;a=2&a=3", "a", "3", true},
	{"=1", "", "1", true},
	{"&", "", "", false},
}

func TestQueryGet(t *testing.T) {
	for _, v := range queries {
		got, ok := QueryGet([]byte(v.query), v.key)
		if string(got) != v.want || ok != v.ok {
			t.Errorf("%q of %q: %q, %v, want %q, %v", v.key, v.query, got, ok, v.want, v.ok)
		}
	}
}

// FuzzQueryGet compares with net/url, whose reading of a query others rely on.
func FuzzQueryGet(f *testing.F) {
	for _, v := range queries {
		f.Add(v.query, v.key)
	}
	f.Fuzz(func(t *testing.T, query, key string) {
		got, ok := QueryGet([]byte(query), key)
		values, _ := url.ParseQuery(query)
		want, has := values[key]
		if ok != has || ok && string(got) != want[0] {
			t.Fatalf("%q of %q: %q, %v, net/url %q", key, query, got, ok, want)
		}
	})
}
