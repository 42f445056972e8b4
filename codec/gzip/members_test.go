package gzip

import (
	"bytes"
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
		got, err := InflateMembers([]byte("kept"), src, 1<<20, tt.within)
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
