// Package nearest finds the word that somebody meant who has misspelt it.
package nearest

import (
	"strings"
	"unicode/utf8"
)

// Word returns the one of words that is nearest to word, empty if none is near. That is what Misspelt
// finds, or else the only one that word is the beginning or the end of, however much is missing.
func Word(word string, words []string) string {
	best := Misspelt(word, words)
	plain := fold(word)
	if best != "" || len(plain) < 3 {
		return best
	}
	for _, w := range words {
		if f := fold(w); !strings.HasPrefix(f, plain) && !strings.HasSuffix(f, plain) {
			continue
		}
		if best != "" {
			return ""
		}
		best = w
	}
	return best
}

// Related returns what Word does, or else the shortest of words whose parts, between hyphens, begin with
// those of word, in their order: max-connections for max-conns and for connections. It is a guess, for
// those who only hint.
func Related(word string, words []string) string {
	best := Word(word, words)
	if best != "" {
		return best
	}
	for _, w := range words {
		parts, all := strings.Split(fold(w), "-"), true
		for part := range strings.SplitSeq(fold(word), "-") {
			part = strings.TrimSuffix(part, "s")
			for len(parts) > 0 && (len(part) < 3 || !strings.HasPrefix(parts[0], part)) {
				parts = parts[1:]
			}
			if all = len(parts) > 0; !all {
				break
			}
			parts = parts[1:]
		}
		if all && (best == "" || len(w) < len(best)) {
			best = w
		}
	}
	return best
}

// Misspelt returns the one of words that word is a misspelling of, empty if it is none: if more than a
// third of it would have to change. Case does not count, and _ is -. Among equals the first is taken.
func Misspelt(word string, words []string) string {
	best, least := "", max(1, utf8.RuneCountInString(word)/3)+1
	plain := fold(word)
	if plain == "" {
		return ""
	}
	for _, w := range words {
		if d := Distance(plain, fold(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

func fold(word string) string { return strings.ReplaceAll(strings.ToLower(word), "_", "-") }

// Distance is how many characters have to be inserted, left out, replaced, or swapped with their
// neighbour to make b of a.
func Distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	// Rows of the table of distances between the beginnings of both: the one before the last, the last,
	// and this one.
	older, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
		older, last, row = last, row, older
	}
	return last[len(y)]
}
