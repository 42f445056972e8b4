package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// a0…af is the session id of all vectors.
var vectorID = SessionID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}

// ticketVectors were made with Python's hmac and base64 from the layout in ticket.go, under testKey.
var ticketVectors = []struct {
	name   string
	ticket Ticket
	text   string
}{
	{"no user", Ticket{vectorID, 0, 1700000000000, 1699999000000, Login{}},
		// 02 | a0…af | 00000000 | 0000018bcfe56800 | 0000018bcfd625c0 | 0000000000000000 | 0000000000000000 |  | 4ac364bbf3b5b8c18b17932ff2643d48
		"AqChoqOkpaanqKmqq6ytrq8AAAAAAAABi8_laAAAAAGLz9YlwAAAAAAAAAAAAAAAAAAAAABKw2S787W4wYsXky_yZD1I"},
	{"alice, rotated once, with the end and the proof of her login", Ticket{vectorID, 1, 1700000600000, 1700000000000, Login{"alice", 1700000700000, 0x0123456789abcdef}},
		// 02 | a0…af | 00000001 | 0000018bcfee8fc0 | 0000018bcfe56800 | 0000018bcff01660 | b06bd2403bcbe7e1 | 616c696365 | fd539ad52e2d67ef81640218664ebabc
		"AqChoqOkpaanqKmqq6ytrq8AAAABAAABi8_uj8AAAAGLz-VoAAAAAYvP8BZgsGvSQDvL5-FhbGljZf1TmtUuLWfvgWQCGGZOurw"},
	{"largest numbers, any bytes", Ticket{vectorID, math.MaxUint32 - 1, math.MaxInt64, math.MaxInt64, Login{"\x00\xff\xfe", math.MaxInt64, math.MaxUint64}},
		// 02 | a0…af | fffffffe | 7fffffffffffffff | 7fffffffffffffff | 7fffffffffffffff | 4eb768d84d9fd5f1 | 00fffe | cbdb3ec717170e5fe314d5b7b8d1fd2b
		"AqChoqOkpaanqKmqq6ytrq_____-f_________9__________3__________Trdo2E2f1fEA__7L2z7HFxcOX-MU1be40f0r"},
}

func TestTicketVectors(t *testing.T) {
	s := NewSealer(testKey())
	for _, v := range ticketVectors {
		got, err := s.Seal([]byte("x"), v.ticket)
		if err != nil || string(got) != "x"+v.text {
			t.Errorf("%s: Seal = %s, %v", v.name, got, err)
		}
		ticket, err := s.Open([]byte(v.text), t0.Add(-time.Millisecond))
		if err != nil || ticket != v.ticket {
			t.Errorf("%s: Open = %+v, %v", v.name, ticket, err)
		}
	}
}

func TestTicketUserLength(t *testing.T) {
	s := NewSealer(testKey())
	longest := Ticket{ID: vectorID, Expires: math.MaxInt64, Login: Login{User: strings.Repeat("u", MaxUserLen)}}
	text, err := s.Seal(nil, longest)
	if err != nil || len(text) != MaxTicketLen {
		t.Fatalf("longest: %d bytes, %v", len(text), err)
	}
	if got, err := s.Open(text, t0); err != nil || got != longest {
		t.Errorf("longest: %v", err)
	}
	longest.User += "u"
	if got, err := s.Seal([]byte("x"), longest); !errors.Is(err, ErrUserTooLong) || string(got) != "x" {
		t.Errorf("too long: %q, %v", got, err)
	}
}

func TestTicketExpiry(t *testing.T) {
	s := NewSealer(testKey())
	text := []byte(ticketVectors[0].text)
	for _, v := range []struct {
		after time.Duration
		want  error
	}{{-time.Hour, nil}, {-time.Millisecond, nil}, {0, ErrExpired}, {time.Hour, ErrExpired}} {
		ticket, err := s.Open(text, after(v.after))
		if !errors.Is(err, v.want) || ticket != ticketVectors[0].ticket {
			t.Errorf("%v after expiry: %+v, %v, want %v", v.after, ticket, err, v.want)
		}
	}
	last, _ := s.Seal(nil, Ticket{Serial: math.MaxUint32, Expires: math.MaxInt64})
	if _, err := s.Open(last, t0); !errors.Is(err, ErrExpired) {
		t.Errorf("last serial: %v", err)
	}
}

func TestTicketEveryBitFlip(t *testing.T) {
	s := NewSealer(testKey())
	now := after(-time.Second)
	for _, v := range ticketVectors {
		raw, err := base64.RawURLEncoding.DecodeString(v.text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(raw) * 8 {
			flipped := bytes.Clone(raw)
			flipped[i/8] ^= 1 << (i % 8)
			want := ErrForged
			if i < 8 {
				want = ErrMalformed // the version
			}
			text := []byte(base64.RawURLEncoding.EncodeToString(flipped))
			if _, err := s.Open(text, now); !errors.Is(err, want) {
				t.Errorf("%s: bit %d flipped: %v, want %v", v.name, i, err, want)
			}
		}
		for i := range len(v.text) * 8 {
			text := []byte(v.text)
			text[i/8] ^= 1 << (i % 8)
			if _, err := s.Open(text, now); err == nil {
				t.Errorf("%s: text bit %d flipped: accepted %q", v.name, i, text)
			}
		}
		for n := range v.text {
			if _, err := s.Open([]byte(v.text[:n]), now); err == nil {
				t.Errorf("%s: prefix of %d bytes accepted", v.name, n)
			}
		}
	}
}

func TestTicketMalformed(t *testing.T) {
	s := NewSealer(testKey())
	good := ticketVectors[1].text
	for _, v := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrMalformed},
		{"a plain session id", "sess-1", ErrMalformed},
		{"padded", ticketVectors[2].text + "=", ErrMalformed},
		{"a line break inside", good[:30] + "\n" + good[30:], ErrMalformed},
		{"a line break behind", good + "\r\n", ErrMalformed},
		{"standard alphabet", strings.ReplaceAll(good, "_", "/"), ErrMalformed},
		{"one character more", good + "A", ErrForged},
		{"stray bits in the last character", good[:len(good)-1] + "d", ErrMalformed},
		{"over the longest", strings.Repeat("A", MaxTicketLen+1), ErrMalformed},
		{"version 0", strings.Repeat("A", minTicketLen), ErrMalformed},
		{"as long as can be", "Ag" + strings.Repeat("A", MaxTicketLen-2), ErrForged},
		{"as short as can be", "Ag" + strings.Repeat("A", minTicketLen-2), ErrForged},
		{"two tickets", ticketVectors[0].text + ticketVectors[0].text, ErrForged},
	} {
		if ticket, err := s.Open([]byte(v.text), after(-time.Second)); !errors.Is(err, v.want) || ticket != (Ticket{}) {
			t.Errorf("%s: %+v, %v, want %v", v.name, ticket, err, v.want)
		}
	}
	other := testKey()
	other[31] ^= 1
	if _, err := NewSealer(other).Open([]byte(good), t0); !errors.Is(err, ErrForged) {
		t.Errorf("another key: %v", err)
	}
}

func TestSealerConcurrent(t *testing.T) {
	s := NewSealer(testKey())
	inParallel(8, func(i int) {
		v := ticketVectors[i%len(ticketVectors)]
		for range 300 {
			text, err := s.Seal(nil, v.ticket)
			if err != nil || string(text) != v.text {
				t.Errorf("Seal = %s, %v", text, err)
			}
			if got, err := s.Open(text, after(-time.Second)); err != nil || got != v.ticket {
				t.Errorf("Open = %+v, %v", got, err)
			}
		}
	})
}

func TestSealerAllocations(t *testing.T) {
	s := NewSealer(testKey())
	buf := make([]byte, 0, MaxTicketLen)
	wantNoAllocs(t, "Seal", func() { s.Seal(buf, ticketVectors[1].ticket) })
	noUser := []byte(ticketVectors[0].text)
	wantNoAllocs(t, "Open without user", func() { s.Open(noUser, after(-time.Second)) })
	forged := []byte("Ag" + strings.Repeat("A", MaxTicketLen-2))
	wantNoAllocs(t, "Open of a forgery", func() { s.Open(forged, t0) })
}

// Only what Seal writes opens: whatever opens must be, byte for byte, the seal of what it says.
func FuzzSealerOpen(f *testing.F) {
	for _, v := range ticketVectors {
		f.Add([]byte(v.text))
		f.Add([]byte(v.text + "\n"))
		f.Add([]byte(v.text[:len(v.text)-1]))
	}
	f.Add([]byte(strings.Repeat("A", MaxTicketLen)))
	s := NewSealer(testKey())
	f.Fuzz(func(t *testing.T, text []byte) {
		ticket, err := s.Open(text, time.UnixMilli(0))
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForged) && !errors.Is(err, ErrExpired) {
				t.Fatalf("unnamed error %v", err)
			}
			if !errors.Is(err, ErrExpired) {
				return
			}
		}
		again, err := s.Seal(nil, ticket)
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q opens as %+v, which seals as %q (%v)", text, ticket, again, err)
		}
	})
}

// Any ticket survives the round trip, and none opens under another key.
func FuzzTicketRoundTrip(f *testing.F) {
	for _, v := range ticketVectors {
		f.Add(v.ticket.ID[:], v.ticket.Serial, v.ticket.Expires, v.ticket.User)
	}
	s := NewSealer(testKey())
	other := NewSealer([KeySize]byte{1})
	f.Fuzz(func(t *testing.T, id []byte, serial uint32, expires int64, user string) {
		want := Ticket{Serial: serial, Expires: expires, Began: expires / 2, Login: Login{User: user, Until: expires / 3, Proof: uint64(expires)}}
		copy(want.ID[:], id)
		text, err := s.Seal(nil, want)
		if err != nil {
			if len(user) <= MaxUserLen {
				t.Fatal(err)
			}
			return
		}
		if got, err := s.Open(text, time.UnixMilli(math.MinInt64)); got != want || err != nil && !errors.Is(err, ErrExpired) {
			t.Fatalf("%+v came back as %+v, %v", want, got, err)
		}
		if _, err := other.Open(text, t0); !errors.Is(err, ErrForged) {
			t.Fatalf("another key: %v", err)
		}
	})
}

func BenchmarkTicket(b *testing.B) {
	s := NewSealer(testKey())
	for _, user := range []string{"alice", strings.Repeat("u", MaxUserLen)} {
		ticket := Ticket{ID: vectorID, Expires: math.MaxInt64, Login: Login{User: user}}
		text, _ := s.Seal(nil, ticket)
		buf := make([]byte, 0, MaxTicketLen)
		b.Run("seal/"+user[:5], func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s.Seal(buf, ticket)
			}
		})
		b.Run("open/"+user[:5], func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s.Open(text, t0)
			}
		})
	}
}
