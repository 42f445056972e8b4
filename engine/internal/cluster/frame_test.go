package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/topic"
)

const headHex = "53 01 %02x 07 0102030405060708 "

// frames are a frame of each kind of the data connection, byte by byte, and what it says.
var frames = []struct {
	what, wire, text string
}{
	{"two messages, of 3 and no bytes, an answer wanted",
		fmt.Sprintf(headHex, KindMessages) + "01 0001 61 0000000000000002 0000000000000005 0000000000000064 00000002" +
			"00000000 09 0300 03000000 6d7367 616263" + "00000000 00 0000 00000000",
		"messages a want=true series=2 first=5 offset=100 count=2 28 bytes"},
	{"one message, no answer wanted",
		fmt.Sprintf(headHex, KindMessages) + "00 0002 6162 0000000000000001 0000000000000001 0000000000000000 00000001" +
			"00000000 00 0000 01000000 78",
		"messages ab want=false series=1 first=1 offset=0 count=1 12 bytes"},
	{"a credit", fmt.Sprintf(headHex, KindCredit) + "0000000000000009 0000000000000002 0000000000040000 0001 61",
		"credit to=9 series=2 offset=262144 a"},
	{"a barrier of two topics", fmt.Sprintf(headHex, KindBarrier) + "0000000000000003 00000002 0001 61 0002 6263",
		"barrier 3 [a bc]"},
	{"a barrier of none", fmt.Sprintf(headHex, KindBarrier) + "0000000000000003 00000000", "barrier 3 []"},
	{"its answer", fmt.Sprintf(headHex, KindBarrierAnswer) + "0000000000000009 0000000000000003",
		"answer to=9 3"},
	{"a topic let go", fmt.Sprintf(headHex, KindLetGo) + "0000000000000004 00000001 0001 61", "let go 4 [a]"},
	{"a question", fmt.Sprintf(headHex, KindWhether) + "00000001 0001 61", "whether [a]"},
	{"its answer", fmt.Sprintf(headHex, KindInterest) + "0000000000000009 0000000000000005 00000001 0001 61 00000001 0001 62",
		"interest to=9 5 [a] [b]"},
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func (l list) strings() []string {
	all := []string{}
	for {
		name, ok := l.next()
		if !ok {
			return all
		}
		all = append(all, string(name))
	}
}

// read says what a frame is, and makes it anew.
func read(b []byte) (text string, again []byte, err error) {
	k, from, body, err := parseHeader(b)
	if err != nil {
		return "", nil, err
	}
	switch k {
	case KindMessages:
		r, err := readRun(body, new(topic.Message))
		if err != nil {
			return "", nil, err
		}
		again = append(appendRunHead(nil, from, r.name), r.records...)
		putRun(again, len(r.name), r.wantAck, r.series, r.first, r.offset, r.count)
		return fmt.Sprintf("messages %s want=%v series=%d first=%d offset=%d count=%d %d bytes", r.name, r.wantAck,
			r.series, r.first, r.offset, r.count, len(r.records)), again, nil
	case KindCredit:
		to, series, offset, name, err := readCredit(body)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("credit to=%d series=%d offset=%d %s", to, series, offset, name),
			appendCredit(nil, from, to, series, offset, string(name)), nil
	case KindBarrier, KindLetGo:
		number, names, err := readStatement(body)
		if err != nil {
			return "", nil, err
		}
		what := "barrier"
		if k == KindLetGo {
			what = "let go"
		}
		return fmt.Sprintf("%s %d %v", what, number, names.strings()),
			appendStatement(nil, k, from, number, names.strings()), nil
	case KindBarrierAnswer:
		to, number, err := readBarrierAnswer(body)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("answer to=%d %d", to, number), appendBarrierAnswer(nil, from, to, number), nil
	case KindWhether:
		names, err := readWhether(body)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("whether %v", names.strings()), appendWhether(nil, from, names.strings()), nil
	case KindInterest:
		to, number, some, none, err := readInterest(body)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("interest to=%d %d %v %v", to, number, some.strings(), none.strings()),
			appendInterest(nil, from, to, number, some.strings(), none.strings()), nil
	}
	return "", nil, errForeign
}

// TestFrames: each frame says what it should and is made byte for byte the same, and neither a part of
// it nor more than it can be read.
func TestFrames(t *testing.T) {
	for _, f := range frames {
		wire := unhex(f.wire)
		text, again, err := read(wire)
		if err != nil || text != f.text {
			t.Errorf("%s: %q, %v; want %q", f.what, text, err, f.text)
		}
		if !bytes.Equal(again, wire) {
			t.Errorf("%s: made as\n%x, want\n%x", f.what, again, wire)
		}
		for cut := range wire {
			if _, _, err := read(wire[:cut]); err == nil || cut > 0 && !errors.Is(err, errShort) {
				t.Errorf("%s, the first %d bytes: %v", f.what, cut, err)
			}
		}
		if _, _, err := read(append(slices.Clone(wire), 0)); !errors.Is(err, errBody) {
			t.Errorf("%s and a byte more: %v", f.what, err)
		}
	}
}

// TestFramesRefused: what nobody of ours sends.
func TestFramesRefused(t *testing.T) {
	for _, f := range []struct {
		what, wire string
		err        error
	}{
		{"another magic", "54 01 01 07 0102030405060708", errForeign},
		{"another version", "53 02 01 07 0102030405060708", errVersion},
		{"no kind", "53 01 00 07 0102030405060708", errForeign},
		{"a kind that there is not", "53 01 7f 07 0102030405060708", errForeign},
		{"a topic without a name", fmt.Sprintf(headHex, KindBarrier) + "0000000000000003 00000001 0000", errBody},
		{"more topics than there is room for", fmt.Sprintf(headHex, KindWhether) + "ffffffff 0001 61", errShort},
		{"a flag that there is not", fmt.Sprintf(headHex, KindMessages) + "02 0001 61 0000000000000001" +
			"0000000000000001 0000000000000000 00000001 00000000 00 0000 00000000", errBody},
		{"no message", fmt.Sprintf(headHex, KindMessages) + "00 0001 61 0000000000000001" +
			"0000000000000001 0000000000000000 00000000", errBody},
		{"numbers that wrap", fmt.Sprintf(headHex, KindMessages) + "00 0001 61 0000000000000001" +
			"ffffffffffffffff 0000000000000000 00000001 00000000 00 0000 00000000", errBody},
		{"fewer records than it says", fmt.Sprintf(headHex, KindMessages) + "00 0001 61 0000000000000001" +
			"0000000000000001 0000000000000000 00000002 00000000 00 0000 00000000", errShort},
	} {
		if _, _, err := read(unhex(f.wire)); !errors.Is(err, f.err) {
			t.Errorf("%s: %v, want %v", f.what, err, f.err)
		}
	}
}

// FuzzFrame: no bytes make it panic, and what can be read is the same when it is made anew.
func FuzzFrame(f *testing.F) {
	for _, frame := range frames {
		wire := unhex(frame.wire)
		f.Add(wire)
		f.Add(wire[:len(wire)-1])
		f.Add(wire[:headerLen])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, again, err := read(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is made anew as %x", b, again)
		}
	})
}
