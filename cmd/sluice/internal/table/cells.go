package table

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text returns s for a terminal. What does not print, and what changes how text runs, is escaped, as
// \n or \u202e.
func Text(s string) string {
	clean := true
	for i, r := range s {
		if !prints(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case prints(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

func prints(r rune) bool { return unicode.IsPrint(r) }

// Bytes returns a size as 999B, 1.2KiB or 15MiB.
func Bytes(n uint64) string {
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + "B"
	}
	v, unit := float64(n)/(1<<10), 0
	const units = "KMGTPE"
	for ; v >= 1023.5 && unit < len(units)-1; unit++ {
		v /= 1 << 10
	}
	digits := 1
	if v >= 9.95 {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[unit:unit+1] + "iB"
}

// Duration returns a time as 350ms, 4.2s, 7m05s, 3h07m or 12d04h.
func Duration(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch s := d.Seconds(); {
	case d == 0:
		return "0s"
	case s < .001:
		return sign + strconv.FormatFloat(s*1e6, 'f', 0, 64) + "µs"
	case s < .9995:
		return sign + strconv.FormatFloat(s*1e3, 'f', 0, 64) + "ms"
	case s < 9.95:
		return sign + strconv.FormatFloat(s, 'f', 1, 64) + "s"
	case s < 59.5:
		return sign + strconv.FormatFloat(s, 'f', 0, 64) + "s"
	}
	n := uint64(math.Round(d.Seconds()))
	switch {
	case n < 3600:
		return fmt.Sprintf("%s%dm%02ds", sign, n/60, n%60)
	case n < 24*3600:
		return fmt.Sprintf("%s%dh%02dm", sign, n/3600, n/60%60)
	}
	return fmt.Sprintf("%s%dd%02dh", sign, n/86400, n/3600%24)
}

// Seconds is Duration for a number of seconds.
func Seconds(s float64) string { return Duration(time.Duration(s * float64(time.Second))) }

// Width returns how many columns of a terminal s takes.
func Width(s string) (n int) {
	for _, r := range s {
		switch {
		case r < 0x300:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me):
		case wide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// wide reports whether a terminal gives r two columns: the blocks of CJK and of pictures.
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
		r >= 0xffe0 && r <= 0xffe6 || r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd
}

// Rate returns a number of things per second as 0, 0.4, 87, 12.3k or 4.5M.
func Rate(n float64) string {
	n = max(n, 0)
	for _, unit := range []string{"", "k", "M"} {
		switch {
		case n < 9.95 && (unit != "" || n != math.Trunc(n)):
			return strconv.FormatFloat(n, 'f', 1, 64) + unit
		case n < 99.95 && unit != "":
			return strconv.FormatFloat(n, 'f', 1, 64) + unit
		case n < 999.5:
			return strconv.FormatFloat(n, 'f', 0, 64) + unit
		}
		n /= 1000
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + "G"
}

// Cut returns as much of s as has room in so many columns of a terminal.
func Cut(s string, columns int) string {
	if len(s) <= columns {
		return s
	}
	n := 0
	for i, r := range s {
		if n += Width(string(r)); n > columns {
			return s[:i]
		}
	}
	return s
}
