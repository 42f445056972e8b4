package gosoc

import "testing"

// TestReadLogin: a login is read as it is written, and what can be read in two ways is none.
func TestReadLogin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		what, payload string
		want          loginInfo
		ok            bool
	}{
		{"nothing", "", loginInfo{}, true},
		{"an object without members, as the Go client sends", `{}`, loginInfo{}, true},
		{"as the server's authors send it", `{"auth_key":"YQ==","token":"00ff"}`, loginInfo{token: "00ff"}, true},
		{"of an application", `{"username":"haha", "password":"xxxxx"}`, loginInfo{}, true},
		{"all of it, with space around", " {\"token\":\"a\", \"session_id\":\"b\",\"session\":true,\"traceparent\":\"c\"}\r\n",
			loginInfo{"a", "b", true, "c"}, true},
		{"a name with escapes", `{"\u0074oken":"a"}`, loginInfo{token: "a"}, true},
		{"null", `{"token":null,"session":null}`, loginInfo{}, true},
		{"a trace of another type", `{"token":"a","traceparent":{"x":[1]}}`, loginInfo{token: "a", traceparent: "another type"}, true},
		{"names in another case", `{"Token":"a","TOKEN":"b","SESSION":1}`, loginInfo{}, true},
		{"a name in another case behind the right one", `{"token":"a","Token":"b"}`, loginInfo{token: "a"}, true},
		{"members of the application's twice", `{"x":1,"x":2,"token":"a"}`, loginInfo{token: "a"}, true},
		{"two tokens", `{"token":"a","token":"b"}`, loginInfo{}, false},
		{"two tokens, one with escapes", `{"token":"a","\u0074oken":"a"}`, loginInfo{}, false},
		{"two sessions", `{"session":true,"x":1,"session":true}`, loginInfo{}, false},
		{"a number for a token", `{"token":1}`, loginInfo{}, false},
		{"a list", `["token"]`, loginInfo{}, false},
		{"a text", `"token"`, loginInfo{}, false},
		{"null alone", `null`, loginInfo{}, false},
		{"blanks", "  ", loginInfo{}, false},
		{"no JSON", `token`, loginInfo{}, false},
		{"half", `{"token":"a"`, loginInfo{}, false},
		{"half a member", `{"token":`, loginInfo{}, false},
		{"something behind it", `{"token":"a"}x`, loginInfo{}, false},
		{"another object behind it", `{"token":"a"}{}`, loginInfo{}, false},
		{"a comma too many", `{"token":"a",}`, loginInfo{}, false},
	} {
		if got, ok := readLogin([]byte(tc.payload)); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", tc.what, got, ok, tc.want, tc.ok)
		}
	}
}
