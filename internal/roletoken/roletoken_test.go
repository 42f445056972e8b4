package roletoken

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want []Line
		err  string
	}{
		{"", nil, ""},
		{"# a comment\n\n \t\n", nil, ""},
		{"alone", []Line{{1, "", "alone"}}, ""},
		{"# first\nfull a # mine\r\n\tread\tb\n", []Line{{2, Full, "a"}, {3, Read, "b"}}, ""},
		{"\ufefffull a\n", []Line{{1, Full, "a"}}, ""},
		{"read a#b", []Line{{1, Read, "a"}}, ""},
		{"read #b", []Line{{1, "", "read"}}, ""},
		{"read a b", nil, "line 1: 3 fields, want a role, read or full, and a token"},
		{"\nwrite secret", nil, "line 2: the first field is no role, want read or full"},
		{"FULL secret", nil, "no role"},
		{"full a\nread secret-ü", nil, "line 2: the token holds characters that no header can"},
		{"a\x00b", nil, "characters that no header can"},
		{"a\x7fb", nil, "characters that no header can"},
	} {
		got, err := Parse(tc.text)
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.err == "") {
			t.Errorf("%q: %v, %v; want %v", tc.text, got, err, tc.want)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %v, want %q and no secret", tc.text, err, tc.err)
		}
	}
}
