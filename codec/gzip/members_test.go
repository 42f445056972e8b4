package gzip

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// A body of very many members is refused at the one that is too many, whatever the members hold.
func TestManyMembers(t *testing.T) {
	empty, word := Deflate(nil, nil), Deflate(nil, []byte("word"))
	for _, tt := range []struct {
		name          string
		member        []byte
		count, within int
		err           error
	}{
		{"as many as allowed", word, 3, 3, nil},
		{"one more", word, 4, 3, ErrManyMembers},
		{"empty ones count", empty, 4, 3, ErrManyMembers},
		{"one alone", word, 1, 1, nil},
		{"the default", empty, DefaultMembers, 0, nil},
		{"one more than the default", empty, DefaultMembers + 1, 0, ErrManyMembers},
		{"less than none is the default", empty, DefaultMembers + 1, -1, ErrManyMembers},
	} {
		src := bytes.Repeat(tt.member, tt.count)
		got, _, err := InflateMembers([]byte("kept"), src, 1<<20, tt.within)
		want := "kept"
		if err == nil && bytes.Equal(tt.member, word) {
			want += string(bytes.Repeat([]byte("word"), tt.count))
		}
		if err != tt.err || string(got) != want {
			t.Errorf("%s: %q, %v, want %v", tt.name, got, err, tt.err)
		}
	}
	if _, err := Inflate(nil, bytes.Repeat(empty, DefaultMembers+1), 100); err != ErrManyMembers {
		t.Errorf("Inflate: %v", err)
	}
}

// What is paid for is what comes out, and what costs time though nothing comes out.
func TestInflateCost(t *testing.T) {
	text := []byte("a text that is as long as it is, as long as it is")
	word, empty := Deflate(nil, text), Deflate(nil, nil)
	noise := make([]byte, 60_000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(r.Uint32())
	}
	blocks := func(n int) []byte { // of nothing, each with Huffman codes of its own
		body := bytes.Repeat(unhex(t, dynamic), n/2)
		return []byte(header + string(body) + "\x01\x00\x00\xff\xff" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00")
	}
	for _, tt := range []struct {
		name        string
		src         []byte
		least, most int
	}{
		{"one member", word, len(text), len(text) + 500},
		{"one of nothing", empty, 0, 1000},
		{"zeros", Deflate(nil, make([]byte, 1<<20)), 1 << 20, 1 << 20},
		{"noise", Deflate(nil, noise), len(noise), len(noise) + 5000},
		{"members", bytes.Repeat(word, 100), 100*len(text) + 99*1024, 100*(len(text)+500) + 99*1024},
		{"members of nothing", bytes.Repeat(empty, 100), 99 * 1024, 99*1024 + 100*1000},
		{"blocks of nothing", blocks(4000), 4000 * 700, 4000 * 800},
		{"in a long source", append(Deflate(nil, noise), blocks(4000)...), 4000*700 + len(noise) + 1024, 4000*800 + len(noise) + 5000},
	} {
		out, cost, err := InflateMembers(nil, tt.src, 1<<20, 0)
		if err != nil || cost < tt.least || cost > tt.most {
			t.Errorf("%s, %d bytes to %d: %d, %v; want %d to %d", tt.name, len(tt.src), len(out), cost, err, tt.least, tt.most)
		}
	}
	for _, src := range [][]byte{nil, word[:len(word)-1], append(word, 0)} {
		if _, cost, err := InflateMembers(nil, src, 1<<20, 0); err == nil || cost != 0 {
			t.Errorf("%x: %d, %v", src, cost, err)
		}
	}
}

// 16 MiB of empty members took half a second of a loop. What counts is the quickest of several tries:
// in the others the machine may have stood still.
func TestManyMembersCostLittle(t *testing.T) {
	src := bytes.Repeat(Deflate(nil, nil), 800_000)
	quickest := time.Duration(1<<63 - 1)
	for try := 0; try < 20 && quickest > 250*time.Millisecond; try++ {
		begun := time.Now()
		if _, err := Inflate(nil, src, 4<<20); err != ErrManyMembers {
			t.Fatal(err)
		}
		quickest = min(quickest, time.Since(begun))
	}
	if quickest > 250*time.Millisecond {
		t.Errorf("refused after %v, the quickest of many tries", quickest)
	}
}
