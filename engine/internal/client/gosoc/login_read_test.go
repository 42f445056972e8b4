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
		{"a character in two escapes", `{"token":"\ud83d\ude00"}`, loginInfo{token: "😀"}, true},
		{"half a character", `{"token":"\ud83d"}`, loginInfo{}, false},
		{"a token that is not UTF-8", "{\"token\":\"a\xff\"}", loginInfo{}, false},
		{"a session that is not UTF-8", "{\"session_id\":\"a\\n\xff\"}", loginInfo{}, false},
		{"a member of the application's that is not UTF-8", "{\"x\":\"\xff\",\"token\":\"a\"}", loginInfo{token: "a"}, true},
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

// A login is read without garbage, but for its texts.
func TestReadLoginAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, tc := range []struct {
		payload string
		most    float64
	}{
		{`{}`, 0},
		{`{"username":"haha","password":"xxxxx","more":[1,{"a":"b"}]}`, 0},
		{`{"token":"00ff00ff"}`, 1},
	} {
		p := []byte(tc.payload)
		if n := testing.AllocsPerRun(100, func() {
			if _, ok := readLogin(p); !ok {
				t.Error("refused")
			}
		}); n > tc.most {
			t.Errorf("%s: %v allocations, want at most %v", tc.payload, n, tc.most)
		}
	}
}
