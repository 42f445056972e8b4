package session

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// idVectors: server id, unix seconds, counter, uniqId.
var idVectors = []struct {
	name   string
	server byte
	key    Key
	id     string
}{
	{"zero", 0, 0, "00" + "00000000" + "00000000"},
	{"one of each", 1, 1<<32 | 1, "01" + "00000001" + "00000001"},
	{"1700000000 s, counter deadbeef", 0xAB, 0x6553F100_DEADBEEF, "AB" + "6553F100" + "DEADBEEF"},
	{"all ones", 0xFF, 0xFFFFFFFF_FFFFFFFF, "FF" + "FFFFFFFF" + "FFFFFFFF"},
	{"every digit", 0x01, 0x23456789_ABCDEF01, "01" + "23456789" + "ABCDEF01"},
}

func TestID(t *testing.T) {
	for _, v := range idVectors {
		if got := FormatID(v.server, v.key); got != v.id {
			t.Errorf("%s: FormatID = %q, want %q", v.name, got, v.id)
		}
		if got := AppendID([]byte("x"), v.server, v.key); string(got) != "x"+v.id {
			t.Errorf("%s: AppendID = %q", v.name, got)
		}
		if server, k, ok := ParseID(v.id); !ok || server != v.server || k != v.key {
			t.Errorf("%s: ParseID = %#x %#x %v", v.name, server, k, ok)
		}
		if server, k, ok := ParseID([]byte(v.id)); !ok || server != v.server || k != v.key {
			t.Errorf("%s: ParseID of bytes = %#x %#x %v", v.name, server, k, ok)
		}
		for n := range v.id {
			if _, _, ok := ParseID(v.id[:n]); ok {
				t.Errorf("%s: prefix of %d bytes accepted", v.name, n)
			}
		}
	}
}

func TestParseIDNotCanonical(t *testing.T) {
	const good = "AB6553F100DEADBEEF"
	for _, id := range []string{
		"", good + "0", strings.ToLower(good), " " + good[1:], good[:17] + "f", "0x" + good[2:],
		"ab" + good[2:], good[:8] + "١" + good[10:], // an Arabic digit has two bytes
	} {
		if server, k, ok := ParseID(id); ok || server != 0 || k != 0 {
			t.Errorf("ParseID(%q) = %#x %#x %v, want zeros and false", id, server, k, ok)
		}
	}
	for i := range good { // every byte that is no upper-case hex digit, at every position
		for c := range 256 {
			b := []byte(good)
			b[i] = byte(c)
			_, _, ok := ParseID(b)
			if want := strings.IndexByte(upperHex, byte(c)) >= 0; ok != want {
				t.Errorf("byte %#x at %d: ok = %v", c, i, ok)
			}
		}
	}
}

func TestGenerator(t *testing.T) {
	g := NewGenerator(0xFFFFFFFE)
	now := time.Unix(0x6553F100, 999)
	for _, want := range []string{"076553F100FFFFFFFF", "076553F10000000000", "076553F10000000001"} {
		if got := FormatID(7, g.Next(now)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestGeneratorConcurrent(t *testing.T) {
	g := NewGenerator(42)
	var seen sync.Map
	inParallel(8, func(int) {
		for range 1000 {
			if k := g.Next(t0); !firstSeen(&seen, k) {
				t.Errorf("key %#x twice", k)
			}
		}
	})
}

func firstSeen(m *sync.Map, k any) bool {
	_, loaded := m.LoadOrStore(k, true)
	return !loaded
}

func FuzzParseID(f *testing.F) {
	for _, v := range idVectors {
		f.Add([]byte(v.id))
		f.Add([]byte(strings.ToLower(v.id)))
		f.Add([]byte(v.id[1:]))
	}
	f.Fuzz(func(t *testing.T, id []byte) {
		server, k, ok := ParseID(id)
		if s, ks, oks := ParseID(string(id)); s != server || ks != k || oks != ok {
			t.Fatalf("string and bytes differ on %q", id)
		}
		if ok && FormatID(server, k) != string(id) {
			t.Fatalf("%q parses, but formats as %q", id, FormatID(server, k))
		}
		if !ok && (server != 0 || k != 0) {
			t.Fatalf("%q refused with values %d %d", id, server, k)
		}
	})
}
