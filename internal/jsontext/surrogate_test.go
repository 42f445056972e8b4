package jsontext

import "testing"

func TestLoneSurrogate(t *testing.T) {
	for _, tc := range []struct {
		text string
		want int
	}{
		{`"plain"`, -1},
		{`"\u00e9\n\\"`, -1},
		{`"\ud83d\ude00"`, -1},
		{`"\ud83d"`, 1},
		{`"a\ude00\ud83d"`, 2},
		{`"\ud83d\ud83d\ude00"`, 1},
		{`"\ud83dx"`, 1},
		{`"\\ud83d"`, -1},
		{`"\\\uD83D"`, 3},
	} {
		if got := LoneSurrogate([]byte(tc.text)); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.text, got, tc.want)
		}
	}
}
