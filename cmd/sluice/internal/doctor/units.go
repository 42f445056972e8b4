package doctor

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// size is a number of bytes for people.
func size(n int64) string { return table.Bytes(uint64(max(n, 0))) }

// flagSize is a number of bytes as flags take it, rounded down to what can be read: four or more of a
// unit.
func flagSize(n int64) string {
	switch {
	case n >= 4<<30 || n >= 1<<30 && n%(1<<30) == 0:
		return strconv.FormatInt(n>>30, 10) + "GiB"
	case n >= 4<<20 || n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + "MiB"
	case n >= 1<<10:
		return strconv.FormatInt(n>>10, 10) + "KiB"
	}
	return strconv.FormatInt(n, 10)
}

// span is a time as flags take it, without units of which there are none.
func span(d time.Duration) string {
	text := d.String()
	for _, unit := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, unit) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// number is a whole number with commas.
func number[T int | int64 | uint64](n T) string {
	text := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, c := range text {
		if i > 0 && text[i-1] != '-' && (len(text)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// plural is a number of things.
func plural[T int | int64 | uint64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(n) + " " + thing + "s"
}

// powerAtLeast is the least power of two that is n or more.
func powerAtLeast(n int64) int64 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len64(uint64(n-1))
}

// powerAtMost is the greatest power of two that is n or less, n being 1 or more.
func powerAtMost(n int64) int64 { return 1 << (bits.Len64(uint64(n)) - 1) }

// roundUp is the least multiple of step that is n or more.
func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }

// sysctl is the line that sets one for now and for the next start.
func sysctl(name string, values ...int64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatInt(v, 10)
	}
	value := strings.Join(texts, " ")
	if len(values) > 1 {
		value = `"` + value + `"`
	}
	return fmt.Sprintf("sysctl -w %s=%s", name, value)
}

// agree has all findings that change one setting of the kernel give it one value, the largest: each
// check knows of its own need only.
func agree(list []Finding) {
	largest := make(map[string]string) // lines by their settings
	for _, f := range list {
		for _, line := range f.Fix {
			name, n := sysctlOf(line)
			if _, most := sysctlOf(largest[name]); name != "" && n > most {
				largest[name] = line
			}
		}
	}
	for _, f := range list {
		for i, line := range f.Fix {
			if name, _ := sysctlOf(line); largest[name] != "" {
				f.Fix[i] = largest[name]
			}
		}
	}
}

// sysctlOf returns the setting that a line changes, and the last number that it is given. Another line
// changes none.
func sysctlOf(line string) (name string, last int64) {
	rest, ok := strings.CutPrefix(line, "sysctl -w ")
	if !ok {
		return "", 0
	}
	rest, _, _ = strings.Cut(rest, " #")
	name, value, _ := strings.Cut(rest, "=")
	for part := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			last = n
		}
	}
	return name, last
}
