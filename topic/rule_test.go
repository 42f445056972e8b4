package topic

import (
	"strings"
	"testing"
	"time"
)

func TestParseRule(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want Rule
		err  string // a part of it
	}{
		{"room.*=1000,5m", Rule{"room.*", 1000, 5 * time.Minute}, ""},
		{"news=1,1ms", Rule{"news", 1, time.Millisecond}, ""},
		{"*=10,1h", Rule{"*", 10, time.Hour}, ""},
		{"a=b=5,1s", Rule{"a=b", 5, time.Second}, ""},
		{"secret.*=0,0s", Rule{"secret.*", 0, 0}, ""},
		{"room.*", Rule{}, "there is no ="},
		{"", Rule{}, "there is no ="},
		{"=5,1s", Rule{}, "the pattern is empty"},
		{"room.*=5", Rule{}, "there is no comma"},
		{"room.*=,5m", Rule{}, `the count "" is no number`},
		{"room.*=many,5m", Rule{}, `the count "many" is no number`},
		{"room.*=-1,5m", Rule{}, "the count is -1, want 0 (no history) to 10000000"},
		{"room.*=10000001,5m", Rule{}, "the count is 10000001"},
		{"room.*=5,", Rule{}, `the age "" is no time`},
		{"room.*=5,300", Rule{}, `the age "300" is no time`},
		{"room.*=5,0s", Rule{}, "the age is 0s, want 1ms"},
		{"room.*=5,-1s", Rule{}, "the age is -1s"},
		{"room.*=5,9000h", Rule{}, "the age is 9000h0m0s"},
		{"ro*m=5,1s", Rule{}, "neither a name nor a beginning"},
		{"**=5,1s", Rule{}, "neither a name nor a beginning"},
	} {
		got, err := ParseRule(tt.text)
		switch {
		case tt.err == "" && (err != nil || got != tt.want):
			t.Errorf("%q: %v, %v, want %v", tt.text, got, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: %v, want an error with %q", tt.text, err, tt.err)
		}
	}
}

func TestCheckRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ rules, err string }{
		{"a=1,1s room.*=1,1s *=1,1s", ""},
		{"room.vip=9,1s room.*=1,1s", ""},
		{"room.*=1,1s room.vip=9,1s", `"room.vip" never matches: "room.*" before it takes all of it`},
		{"*=1,1s a=1,1s", `"a" never matches`},
		{"a=1,1s a=2,1s", `"a" never matches`},
		{"room.*=0,0s room.a*=5,1s", `"room.a*" never matches`},
		{"room.a*=5,1s room.*=0,0s", ""},
	} {
		var rules []Rule
		for _, text := range strings.Fields(tt.rules) {
			r, err := ParseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, r)
		}
		err := CheckRules(rules)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v, want %q", tt.rules, err, tt.err)
		}
	}
}
