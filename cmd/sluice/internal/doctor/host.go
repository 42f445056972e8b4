package doctor

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// A host is what can be read of a machine. It notes what is there and cannot be read.
type host struct {
	root    fs.FS
	refused []string
}

// text returns a file's text without the blanks around it; false: it is not there.
func (h *host) text(name string) (string, bool) {
	b, err := fs.ReadFile(h.root, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !slices.Contains(h.refused, "/"+name) {
			h.refused = append(h.refused, "/"+name)
		}
		return "", false
	}
	return strings.TrimSpace(string(b)), true
}

// number returns the number that a file holds.
func (h *host) number(name string) (int64, bool) {
	list := h.numbers(name)
	if len(list) == 0 {
		return 0, false
	}
	return list[0], true
}

// numbers returns the numbers that a file begins with.
func (h *host) numbers(name string) (list []int64) {
	text, _ := h.text(name)
	for _, word := range strings.Fields(text) {
		n, err := strconv.ParseInt(word, 10, 64)
		if errors.Is(err, strconv.ErrRange) && n > 0 { // fs.file-max is 2^63-1 or more where it is none
			err = nil
		}
		if err != nil {
			break
		}
		list = append(list, n)
	}
	return list
}

// chosen returns which of a file's words stands in brackets.
func (h *host) chosen(name string) string {
	text, _ := h.text(name)
	for _, word := range strings.Fields(text) {
		if strings.HasPrefix(word, "[") && strings.HasSuffix(word, "]") {
			return strings.Trim(word, "[]")
		}
	}
	return ""
}

// meminfo returns a line of /proc/meminfo in bytes, 0 if there is none.
func (h *host) meminfo(name string) int64 {
	text, _ := h.text("proc/meminfo")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseInt(f[0], 10, 64)
				return n << 10
			}
		}
	}
	return 0
}

// limit returns a soft and a hard limit of this process, -1 for none.
func (h *host) limit(name string) (soft, hard int64, ok bool) {
	text, _ := h.text("proc/self/limits")
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, name)
		if !found {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			return 0, 0, false
		}
		read := func(word string) int64 {
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return -1 // unlimited
			}
			return n
		}
		return read(f[0]), read(f[1]), true
	}
	return 0, 0, false
}

// socketPages returns how many pages of memory TCP has now.
func (h *host) socketPages() (int64, bool) {
	text, _ := h.text("proc/net/sockstat")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(f); i += 2 {
			if f[i] == "mem" {
				n, err := strconv.ParseInt(f[i+1], 10, 64)
				return n, err == nil
			}
		}
	}
	return 0, false
}

// counters are those of the kernel that only grow: of TCP by their names, and of what was dropped
// before it.
type counters map[string]int64

// softnet is the name of the packets that a CPU had no room for.
const softnet = "softnet"

// counters reads them.
func (h *host) counters() counters {
	c := make(counters)
	text, _ := h.text("proc/net/netstat")
	var names []string
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "TcpExt:")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		if names == nil {
			names = f
			continue
		}
		for i, word := range f[:min(len(f), len(names))] {
			if n, err := strconv.ParseInt(word, 10, 64); err == nil {
				c[names[i]] = n
			}
		}
	}
	text, _ = h.text("proc/net/softnet_stat")
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 { // processed, dropped, ..., in hexadecimal
			if n, err := strconv.ParseInt(f[1], 16, 64); err == nil {
				c[softnet] += n
			}
		}
	}
	return c
}
