package link

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// feed gives wire to a reader in pieces, at most as long as piece says each time, and returns the
// bodies of the frames.
func feed(r *frameReader, wire []byte, piece func() int) (bodies []string, err error) {
	for {
		for {
			body, err := r.next()
			if err != nil {
				return bodies, err
			}
			if body == nil {
				break
			}
			bodies = append(bodies, string(body))
		}
		if len(wire) == 0 {
			return bodies, nil
		}
		space := r.space()
		if len(space) == 0 {
			return bodies, errors.New("no space")
		}
		n := copy(space[:min(len(space), piece())], wire)
		r.filled(n)
		wire = wire[n:]
	}
}

func wireOf(t testing.TB, payloads ...string) (wire []byte, bodies []string) {
	t.Helper()
	for _, p := range payloads {
		var err error
		start := len(wire)
		if wire, err = netsvr.V2.AppendFrame(wire, netsvr.CmdBroadcast, []byte(p), 0); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(wire[start+4:]))
	}
	return wire, bodies
}

func TestFramesSplit(t *testing.T) {
	wire, want := wireOf(t, "hello", "", strings.Repeat("x", 40), "end")
	for cut := range wire { // every way to cut it in two
		r := newFrameReader(1 << 20)
		pieces := []int{cut, len(wire)}
		got, err := feed(&r, wire, func() int { n := pieces[0]; pieces = pieces[min(1, len(pieces)-1):]; return n })
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("cut at %d: %q, %v", cut, got, err)
		}
	}
	for size := range 30 { // byte by byte, and in pieces of one size
		r := newFrameReader(1 << 20)
		got, err := feed(&r, wire, func() int { return size + 1 })
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("pieces of %d: %q, %v", size+1, got, err)
		}
	}
}

// Frames of all sizes in pieces of all sizes: the buffer is cut, moved and grown everywhere.
func TestFramesRandom(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var payloads []string
		for range 60 {
			n := rnd.IntN(100)
			if rnd.IntN(10) == 0 {
				n = rnd.IntN(3 * readBuffer)
			}
			payloads = append(payloads, strings.Repeat(string(rune('a'+rnd.IntN(26))), n))
		}
		wire, want := wireOf(t, payloads...)
		r := newFrameReader(4 * readBuffer)
		got, err := feed(&r, wire, func() int { return 1 + rnd.IntN(readBuffer) })
		if err != nil || len(got) != len(want) {
			t.Fatalf("seed %d: %d frames, want %d: %v", seed, len(got), len(want), err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("seed %d: frame %d differs", seed, i)
			}
		}
		if r.size() > 4*readBuffer+4 {
			t.Errorf("seed %d: a buffer of %d bytes", seed, r.size())
		}
	}
}

func TestFramesBad(t *testing.T) {
	for _, tc := range []struct {
		name, wire string
		err        error
	}{
		{"over the limit", "\x00\x00\x01\x01", netsvr.ErrFrameTooLarge},
		{"no command", "\x00\x00\x00\x03", netsvr.ErrNoCommand},
		{"HTTP", "GET / HTTP/1.1\r\n", netsvr.ErrFrameTooLarge},
	} {
		good, bodies := wireOf(t, "first")
		r := newFrameReader(256)
		got, err := feed(&r, append(good, tc.wire...), func() int { return 1 })
		if !errors.Is(err, tc.err) || fmt.Sprint(got) != fmt.Sprint(bodies) {
			t.Errorf("%s: %q, %v; want the first frame and %v", tc.name, got, err, tc.err)
		}
	}
}

// A frame that is announced and does not come costs what has come of it, and a big one nothing when
// it is over.
func TestFramesMemory(t *testing.T) {
	const limit = 16 << 20
	r := newFrameReader(limit)
	wire, _ := wireOf(t, strings.Repeat("x", limit-4))
	if _, err := feed(&r, wire[:1<<10], func() int { return 1 << 10 }); err != nil || r.size() > 2*readBuffer {
		t.Errorf("1 KiB of 16 MiB takes %d bytes: %v", r.size(), err)
	}
	got, err := feed(&r, wire[1<<10:], func() int { return 1 << 20 })
	if err != nil || len(got) != 1 || !bytes.HasPrefix(wire[4:], []byte(got[0])) {
		t.Fatalf("%d frames, %v", len(got), err)
	}
	if size := r.size(); size > limit+4 {
		t.Errorf("%d bytes for a frame of %d", size, limit)
	}
	if r.space(); r.size() != readBuffer {
		t.Errorf("%d bytes are kept", r.size())
	}
}
