package cluster

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The vectors hold for version 1: a change of one is a new version.
var rpcVectors = []struct {
	name string
	kind Kind
	from origin
	body interface {
		append([]byte) []byte
		read([]byte) error
	}
	hex string
}{
	{"a command for one node", KindCommand, origin{1, 0x0102030405060708},
		&commandFrame{to: 0x1112131415161718, flags: flagWantsAnswer, number: 7, payload: []byte("do")},
		"53010801" + "0102030405060708" + "1112131415161718" + "01" + "0000000000000007" + "00000000" + "646f"},
	{"the first part of one for all", KindCommand, origin{255, 1},
		&commandFrame{flags: flagMore, number: 1 << 40, payload: []byte{}},
		"530108ff" + "0000000000000001" + "0000000000000000" + "02" + "0000010000000000" + "00000000"},
	{"an answer", KindAnswer, origin{2, 3},
		&answerFrame{to: 4, number: 7, payload: []byte("done")},
		"53010902" + "0000000000000003" + "0000000000000004" + "00" + "0000000000000007" + "00000000" + "00" + "646f6e65"},
	{"busy, the last part", KindAnswer, origin{2, 3},
		&answerFrame{to: 4, number: 8, part: 3, status: statusBusy, payload: []byte{}},
		"53010902" + "0000000000000003" + "0000000000000004" + "00" + "0000000000000008" + "00000003" + "01"},
}

func TestRPCVectors(t *testing.T) {
	for _, tt := range rpcVectors {
		t.Run(tt.name, func(t *testing.T) {
			frame := tt.body.append(appendHeader(nil, tt.kind, tt.from))
			if got := hex.EncodeToString(frame); got != tt.hex {
				t.Errorf("encoded\n%s, want\n%s", got, tt.hex)
			}
			kind, from, body, err := parseHeader(frame)
			if err != nil || kind != tt.kind || from != tt.from {
				t.Fatalf("head %v %v: %v", kind, from, err)
			}
			read := map[Kind]func([]byte) ([]byte, error){
				KindCommand: func(b []byte) ([]byte, error) { var f commandFrame; err := f.read(b); return f.append(nil), err },
				KindAnswer:  func(b []byte) ([]byte, error) { var f answerFrame; err := f.read(b); return f.append(nil), err },
			}[kind]
			if again, err := read(body); err != nil || !bytes.Equal(again, body) {
				t.Errorf("read and encoded again: %x: %v", again, err)
			}
			head := map[Kind]int{KindCommand: commandHead, KindAnswer: answerHead}[kind] - headerLen
			for n := range head {
				if _, err := read(body[:n]); err != errShort {
					t.Errorf("the first %d bytes: %v", n, err)
				}
			}
		})
	}
}

// Whatever comes is read or refused, and what is read is encoded to the same.
func FuzzRPCFrames(f *testing.F) {
	for _, tt := range rpcVectors {
		b, err := hex.DecodeString(tt.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		kind, from, body, err := parseHeader(frame)
		if err != nil {
			return
		}
		dst := appendHeader(nil, kind, from)
		var c commandFrame
		var a answerFrame
		switch {
		case kind == KindCommand && c.read(body) == nil:
			dst = c.append(dst)
		case kind == KindAnswer && a.read(body) == nil:
			dst = a.append(dst)
		default:
			return
		}
		if !bytes.Equal(dst, frame) {
			t.Errorf("%x became %x", frame, dst)
		}
	})
}

func TestSplit(t *testing.T) {
	for n := range 25 {
		want := bytes.Repeat([]byte{'x'}, n)
		var a assembly
		var got []byte
		frames := 0
		split(want, 10, func(flags uint8, part uint32, b []byte) {
			frames++
			payload, whole, bad := a.add(flags, 5, part, b)
			if bad {
				t.Errorf("%d bytes: a part is missing", n)
			}
			if whole {
				got = payload
			}
		})
		if !bytes.Equal(got, want) || frames != max(1, (n+9)/10) || a.next != 0 {
			t.Errorf("%d bytes: %d frames, %d bytes", n, frames, len(got))
		}
	}
}
