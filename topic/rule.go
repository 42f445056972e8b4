package topic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Rule has the topics that match Pattern keep their last Count messages, each for Age at most. A
// pattern is a name, or a beginning and one * at the end; of several rules the first that matches
// counts.
type Rule struct {
	Pattern string
	Count   int           // 0: the topics have no history
	Age     time.Duration // in whole milliseconds
}

// Bounds of a Rule.
const (
	// MaxCount is the most messages that a topic may keep.
	MaxCount = 10_000_000
	// MaxAge is the longest time for which it may: a year.
	MaxAge = 366 * 24 * time.Hour
)

// ParseRule reads PATTERN=COUNT,AGE, such as room.*=1000,5m.
func ParseRule(text string) (Rule, error) {
	wrong := func(what string) (Rule, error) {
		return Rule{}, fmt.Errorf("%q: %s; want PATTERN=COUNT,AGE such as room.*=1000,5m", text, what)
	}
	at := strings.LastIndexByte(text, '=')
	if at < 0 {
		return wrong("there is no =")
	}
	count, age, ok := strings.Cut(text[at+1:], ",")
	if !ok {
		return wrong("there is no comma between count and age")
	}
	r := Rule{Pattern: text[:at]}
	var err error
	if r.Count, err = strconv.Atoi(count); err != nil {
		return wrong(fmt.Sprintf("the count %q is no number", count))
	}
	if r.Age, err = time.ParseDuration(age); err != nil {
		return wrong(fmt.Sprintf("the age %q is no time such as 30s or 5m", age))
	}
	if err := r.check(); err != nil {
		return wrong(err.Error())
	}
	return r, nil
}

// String is the text that ParseRule reads.
func (r Rule) String() string { return fmt.Sprintf("%s=%d,%v", r.Pattern, r.Count, r.Age) }

// check says what is wrong with r by itself.
func (r Rule) check() error {
	switch stem := strings.TrimSuffix(r.Pattern, "*"); {
	case r.Pattern == "":
		return errors.New("the pattern is empty")
	case strings.Contains(stem, "*"):
		return fmt.Errorf("the pattern %q is neither a name nor a beginning and one * at the end", r.Pattern)
	case r.Count < 0 || r.Count > MaxCount:
		return fmt.Errorf("the count is %d, want 0 (no history) to %d", r.Count, MaxCount)
	case r.Count > 0 && (r.Age < time.Millisecond || r.Age > MaxAge):
		return fmt.Errorf("the age is %v, want 1ms to %v", r.Age, MaxAge)
	}
	return nil
}

// CheckRules says what is wrong with a list of rules: one by itself, or one that no topic ever comes
// to, since an earlier one takes all that it matches.
func CheckRules(rules []Rule) error {
	for i, r := range rules {
		if err := r.check(); err != nil {
			return fmt.Errorf("%q: %w", r.Pattern, err)
		}
		for _, before := range rules[:i] {
			if before.covers(r) {
				return fmt.Errorf("%q never matches: %q before it takes all of it", r.Pattern, before.Pattern)
			}
		}
	}
	return nil
}

// covers reports whether r matches whatever other does.
func (r Rule) covers(other Rule) bool {
	stem, open := strings.CutSuffix(r.Pattern, "*")
	if open {
		return strings.HasPrefix(other.Pattern, stem)
	}
	return r.Pattern == other.Pattern
}

// A matcher is a Rule as publishes look at it.
type matcher struct {
	stem string // the name, or its beginning
	open bool   // the beginning
	list *ageList
}

func (m *matcher) matches(name []byte) bool {
	if m.open {
		return len(name) >= len(m.stem) && string(name[:len(m.stem)]) == m.stem
	}
	return string(name) == m.stem
}
