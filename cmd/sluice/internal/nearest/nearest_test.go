package nearest

import "testing"

func TestWord(t *testing.T) {
	words := []string{"max-connections", "max-connections-per-address", "connect-rate", "lag", "backlog", "log-level"}
	for _, tc := range []struct{ word, want string }{
		{"max-conections", "max-connections"},
		{"MAX_CONNECTIONS", "max-connections"},
		{"max-conenctions", "max-connections"},
		{"leg", "lag"},
		{"log-lvel", "log-level"},
		{"level", "log-level"},
		{"backlogs", "backlog"},
		{"max-connections-per-adress", "max-connections-per-address"},
		{"max", ""}, // two begin so
		{"colour", ""},
		{"x", ""},
		{"", ""},
	} {
		if got := Word(tc.word, words); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.word, got, tc.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ä", "a", 1},
	} {
		if got := Distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q, %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
