package gzip

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Streams seen on the wire: Go's encoder ends with a sync flush and an empty block, the C++ one
// names Unix as its OS.
var streams = []struct {
	name, wire, text string
}{
	{"Go client Connect", `1f8b08000000000000ff aa562ac9cf4ecd53b2524a4c4a56aa05000000ffff010000ffff 72c6aed8 0f000000`, `{"token":"abc"}`},
	{"Go, nothing", `1f8b08000000000000ff 000000ffff010000ffff 00000000 00000000`, ""},
	{"Go, DATA", `1f8b08000000000000ff 72710c7104040000ffff d71e669b 04000000`, "DATA"},
	{"C++ Connect", `1f8b0800000000000003 ab562a51b232ac0500 5db41bfe 07000000`, `{"t":1}`},
	{"C++ empty object", `1f8b0800000000000003 abae0500 43bfa6a3 02000000`, `{}`},
}

func TestInflateStreams(t *testing.T) {
	for _, s := range streams {
		src := unhex(t, s.wire)
		got, err := Inflate([]byte("kept "), src, 100)
		if err != nil || string(got) != "kept "+s.text {
			t.Errorf("%s: %q, %v", s.name, got, err)
		}
	}
}

// dressed returns a member whose header has every optional field, holding text.
func dressed(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := stdgzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = strings.Repeat("n", 600), "remark", []byte("extra")
	w.ModTime = time.Unix(1, 0)
	w.Write([]byte(text))
	w.Close()
	m := b.Bytes()
	size, err := skipHeader(m)
	if err != nil {
		t.Fatal(err)
	}
	m[3] |= flagHeaderCRC
	sum := crc32.ChecksumIEEE(m[:size])
	return append(append(append([]byte(nil), m[:size]...), byte(sum), byte(sum>>8)), m[size:]...)
}

func TestInflateJoinsMembers(t *testing.T) {
	src := Deflate(nil, []byte("one "))
	src = append(src, dressed(t, "two ")...)
	src = Deflate(src, nil)
	src = Deflate(src, []byte("three"))
	got, err := Inflate(nil, src, len("one two three"))
	if err != nil || string(got) != "one two three" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := Inflate(nil, src, len("one two three")-1); err != ErrTooLarge {
		t.Errorf("one byte over the limit: %v", err)
	}
}

func TestInflateEveryPrefixIsCut(t *testing.T) {
	for name, src := range map[string][]byte{
		"plain":   Deflate(nil, []byte("a small payload")),
		"dressed": dressed(t, "a small payload"),
	} {
		for i := range src {
			got, err := Inflate([]byte("x"), src[:i], 100)
			if !errors.Is(err, ErrCorrupt) || !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "x" {
				t.Fatalf("%s, prefix of %d bytes: %q, %v", name, i, got, err)
			}
		}
		// The same as the second of two members.
		two := append(Deflate(nil, []byte("first")), src...)
		for i := len(two) - len(src) + 1; i < len(two); i++ {
			if _, err := Inflate(nil, two[:i], 100); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s as second member, prefix of %d bytes: %v", name, i, err)
			}
		}
	}
}

func TestInflateCorrupt(t *testing.T) {
	member := Deflate(nil, []byte("payload"))
	change := func(at int, to byte) []byte {
		b := bytes.Clone(member)
		b[(at+len(b))%len(b)] ^= to
		return b
	}
	fancy := dressed(t, "payload")
	fancy[headerSize+2] ^= 1 // inside the extra field, so only the header's own checksum notices
	for _, c := range []struct {
		name  string
		src   []byte
		cause error
	}{
		{"plain text", []byte(`{"token":"abc"}`), errNotGzip},
		{"method 9", change(2, 1), errMethod},
		{"reserved flag", change(3, 0x20), errFlags},
		{"header checksum", fancy, errHeaderCRC},
		{"checksum", change(-8, 1), errChecksum},
		{"length", change(-4, 1), errLength},
		{"trailer claims 4 GiB", change(-1, 0xff), errLength},
		{"zero byte behind", append(bytes.Clone(member), 0), io.ErrUnexpectedEOF},
		{"junk behind", append(bytes.Clone(member), "junk"...), errNotGzip},
		{"block type 3", append([]byte(header), 0x07), nil},
	} {
		got, err := Inflate([]byte("x"), c.src, 100)
		if !errors.Is(err, ErrCorrupt) || c.cause != nil && !errors.Is(err, c.cause) || string(got) != "x" {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestInflateLimit(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, 65, 511, 512, 513, 4095, 70_000, 1 << 20} {
		text := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		src := Deflate(nil, text)
		for _, room := range []int{0, 1, size / 2, size, size + 1, 2 * size} {
			dst := append(make([]byte, 0, 3+room), "abc"...)
			got, err := Inflate(dst, src, size)
			if err != nil || string(got[:3]) != "abc" || !bytes.Equal(got[3:], text) {
				t.Fatalf("size %d, room %d: %d bytes, %v", size, room, len(got), err)
			}
			if room >= size && unsafe.SliceData(got) != unsafe.SliceData(dst) {
				t.Errorf("size %d, room %d: moved although it fits", size, room)
			}
			if size == 0 {
				continue
			}
			got, err = Inflate(dst, src, size-1)
			if err != ErrTooLarge || string(got) != "abc" {
				t.Fatalf("size %d, room %d, limit one less: %q, %v", size, room, got, err)
			}
		}
	}
	if _, err := Inflate(nil, Deflate(nil, []byte("x")), -1); err != ErrTooLarge {
		t.Errorf("negative limit: %v", err)
	}
	if got, err := Inflate(nil, Deflate(nil, nil), -1); err != nil || len(got) != 0 {
		t.Errorf("nothing under a negative limit: %q, %v", got, err)
	}
}

// A bomb must not cost more than its limit, a small payload under a large limit next to nothing.
func TestInflateMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("pools leak under the race detector")
	}
	spent := func(src []byte, limit int, want error) uint64 {
		t.Helper()
		if _, err := Inflate(nil, src, limit); err != want {
			t.Fatalf("got %v, want %v", err, want)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Inflate(nil, src, limit)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	bomb := Deflate(nil, make([]byte, 64<<20))
	// All buffers of a doubling together are twice the last; a collection in between may cost a
	// pooled inflater more.
	if n := spent(bomb, 1<<20, ErrTooLarge); n > 2<<20+200<<10 {
		t.Errorf("64 MiB bomb under a limit of 1 MiB allocates %d bytes", n)
	}
	if n := spent(Deflate(nil, make([]byte, 100)), 4<<20, nil); n > 100<<10 {
		t.Errorf("100 bytes under a limit of 4 MiB allocate %d bytes", n)
	}
	got, _ := Inflate(nil, Deflate(nil, make([]byte, 100_000)), 100_000)
	if cap(got) > 110_000 {
		t.Errorf("capacity %d for 100,000 bytes", cap(got))
	}
}

// A pooled inflater or deflater that held on to its source or output would keep a read buffer
// of megabytes alive.
func TestPoolsForget(t *testing.T) {
	freed := make(chan string, 2)
	func() {
		src, dst := new([1 << 16]byte), new([1 << 16]byte)
		runtime.AddCleanup(src, func(name string) { freed <- name }, "src")
		runtime.AddCleanup(dst, func(name string) { freed <- name }, "dst")
		wire := Deflate(src[:0], bytes.Repeat([]byte("payload"), 1000))
		if _, err := Inflate(dst[:0], wire, 7000); err != nil {
			t.Error(err)
		}
	}()
	runtime.GC() // one collection only moves the pools aside: what they hold lives on
	for range 2 {
		select {
		case <-freed:
		case <-time.After(time.Minute):
			t.Fatal("a buffer is still held")
		}
	}
}

func TestInflateAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("pools leak under the race detector")
	}
	text := bytes.Repeat([]byte(`{"message":"hi"}`), 200)
	src := Deflate(nil, text)
	dst := make([]byte, 0, len(text))
	if n := testing.AllocsPerRun(200, func() {
		if _, err := Inflate(dst, src, len(text)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHasMagic(t *testing.T) {
	for wire, want := range map[string]bool{"": false, "1f": false, "1f8b": true, "1f8b08": true, "1f8c": false, "001f8b": false} {
		if got := HasMagic(unhex(t, wire)); got != want {
			t.Errorf("%q: %v", wire, got)
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, s := range streams {
		f.Add(unhex(f, s.wire), 100)
	}
	f.Add(dressed(f, "dressed"), 7)
	f.Add(Deflate(Deflate(nil, []byte("one")), make([]byte, 5000)), 5002)
	f.Fuzz(func(t *testing.T, src []byte, limit int) {
		limit %= 1 << 16
		got, err := Inflate([]byte("x"), src, limit)
		if len(got) > 1+max(limit, 0) || got[0] != 'x' {
			t.Fatalf("%d bytes under a limit of %d", len(got), limit)
		}
		if err != nil {
			if len(got) != 1 || !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			return
		}
		// Whatever inflates here, the standard library must read the same way. It refuses names
		// over 512 bytes, which RFC 1952 does not.
		r, err := stdgzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return
		}
		want, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got[1:], want) {
			t.Fatalf("got %q, want %q", got[1:], want)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			text := sample(s.n)
			src, dst := Deflate(nil, text), make([]byte, 0, s.n)
			b.SetBytes(int64(s.n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Inflate(dst, src, s.n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
