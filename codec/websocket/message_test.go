package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// A wire is a client's stream put together frame by frame.
type wire []byte

func (w wire) frame(h FrameHeader, payload string) wire {
	h.Masked, h.Mask = true, [4]byte{0x37, 0xfa, 0x21, 0x3d}
	return h.AppendFrame(w, []byte(payload))
}

func (w wire) text(s string) wire   { return w.frame(FrameHeader{Fin: true, Opcode: OpText}, s) }
func (w wire) binary(s string) wire { return w.frame(FrameHeader{Fin: true, Opcode: OpBinary}, s) }
func (w wire) ping(s string) wire   { return w.frame(FrameHeader{Fin: true, Opcode: OpPing}, s) }
func (w wire) pong(s string) wire   { return w.frame(FrameHeader{Fin: true, Opcode: OpPong}, s) }
func (w wire) close(s string) wire  { return w.frame(FrameHeader{Fin: true, Opcode: OpClose}, s) }
func (w wire) start(op Opcode, s string) wire {
	return w.frame(FrameHeader{Opcode: op}, s)
}
func (w wire) more(s string) wire { return w.frame(FrameHeader{}, s) }
func (w wire) last(s string) wire { return w.frame(FrameHeader{Fin: true}, s) }
func (w wire) deflated(op Opcode, s string) wire {
	return w.frame(FrameHeader{Fin: true, RSV1: true, Opcode: op}, string(Deflate(nil, []byte(s))))
}

// feed gives a Reader a copy of stream as a loop would: in parts that end at the given offsets, not
// calling again before what it said to need is there. It returns a line per event.
func feed(t testing.TB, r Reader, stream []byte, cuts ...int) []string {
	t.Helper()
	var events []string
	var scratch Scratch
	held, need := []byte(nil), 1
	from := 0
	for _, to := range append(cuts, len(stream)) {
		held = append(held, stream[from:to]...)
		from = to
		for len(held) >= need {
			ev, n, err := r.Next(held, &scratch)
			if n < 0 || n > len(held) {
				t.Fatalf("%d of %d bytes consumed", n, len(held))
			}
			if err != nil {
				events = append(events, fmt.Sprintf("error %d %v", CodeOf(err), err))
			} else if ev.Kind != EventNeedMore {
				events = append(events, describe(ev))
			}
			held = append([]byte(nil), held[n:]...)
			need = 1
			if err == nil && ev.Kind == EventNeedMore {
				if need = ev.Need; need <= len(held) {
					t.Fatalf("needs %d bytes, has %d left", need, len(held))
				}
			}
			if len(held) == 0 {
				break
			}
		}
	}
	return events
}

func describe(ev Event) string {
	payload := string(ev.Payload)
	if len(payload) > 40 {
		payload = fmt.Sprintf("%s... (%d)", payload[:20], len(payload))
	}
	switch ev.Kind {
	case EventMessage:
		return fmt.Sprintf("message %d %q", ev.Opcode, payload)
	case EventPing:
		return fmt.Sprintf("ping %q", payload)
	case EventPong:
		return fmt.Sprintf("pong %q", payload)
	case EventClose:
		return fmt.Sprintf("close %d %q", ev.Code, payload)
	case EventTooLarge:
		return fmt.Sprintf("too large %d %d", ev.Opcode, ev.Size)
	}
	return fmt.Sprintf("%+v", ev)
}

var (
	small    = &ReaderConfig{MaxMessage: 100, MaxFragments: 4}
	skipping = &ReaderConfig{MaxMessage: 100, SkipLimit: 1000, MaxFragments: 4}
	guests   = &ReaderConfig{MaxMessage: 100, MaxFragmented: 50}
)

// readerVectors are streams with the events they make, however they are cut.
var readerVectors = []struct {
	name    string
	config  *ReaderConfig
	deflate bool
	wire    wire
	want    string // events, one a line
}{
	{"masked text, RFC 6455 5.7", nil, false, unhexes(`81 85 37fa213d 7f9f4d5158`), `message 1 "Hello"`},
	{"empty messages", nil, false, wire{}.text("").binary(""), "message 1 \"\"\nmessage 2 \"\""},
	{"ping, pong, close", nil, false, wire{}.ping("a").pong("").close("\x03\xe8bye"), "ping \"a\"\npong \"\"\nclose 1000 \"bye\""},
	{"close without code", nil, false, wire{}.close(""), `close 1005 ""`},
	{"nothing counts behind a close", nil, false, append(wire{}.close("").text("late"), 0xff, 0xff, 0xff), `close 1005 ""`},
	{"close code not allowed", nil, false, wire{}.close("\x03\xed").text("late"), "error 1002 websocket: close code not allowed"},
	{"close with one byte", nil, false, wire{}.close("\x03"), "error 1002 websocket: close frame with half a code"},
	{"close reason not UTF-8", nil, false, wire{}.close("\x03\xe8\xff"), "error 1007 websocket: text is not UTF-8"},
	{"close within a message", nil, false, wire{}.start(OpText, "a").close("\x03\xe8").last("b"), `close 1000 ""`},

	{"two fragments, RFC 6455 5.7", nil, false, wire{}.start(OpText, "Hel").last("lo"), `message 1 "Hello"`},
	{"many fragments", nil, false, wire{}.start(OpBinary, "a").more("").more("b").last(""), `message 2 "ab"`},
	{"only the last holds something", nil, false, wire{}.start(OpText, "").last("x"), `message 1 "x"`},
	{"control frames between fragments", nil, false, wire{}.start(OpText, "Hel").ping("1").more("l").pong("2").last("o").text("next"),
		"ping \"1\"\npong \"2\"\nmessage 1 \"Hello\"\nmessage 1 \"next\""},
	{"continuation of nothing", nil, false, wire{}.more("x"), "error 1002 websocket: continuation of nothing"},
	{"last of nothing", nil, false, wire{}.text("a").last("x"), "message 1 \"a\"\nerror 1002 websocket: continuation of nothing"},
	{"continuation behind a whole message", nil, false, wire{}.start(OpText, "a").last("b").last("c"), "message 1 \"ab\"\nerror 1002 websocket: continuation of nothing"},
	{"message within a message", nil, false, wire{}.start(OpText, "a").text("b"), "error 1002 websocket: new message within a fragmented one"},
	{"start within a message", nil, false, wire{}.start(OpText, "a").start(OpBinary, "b"), "error 1002 websocket: new message within a fragmented one"},
	{"too many fragments", small, false, wire{}.start(OpBinary, "a").more("b").more("c").more("").last("d"), "error 1008 websocket: too many small fragments"},
	{"as many fragments as allowed", small, false, wire{}.start(OpBinary, "a").more("b").more("c").last("d"), `message 2 "abcd"`},
	{"more fragments for more bytes", small, false, wire{}.start(OpBinary, strings.Repeat("a", 32)).more("").more("").more("").last("d"), `message 2 "` + strings.Repeat("a", 32) + `d"`},

	{"not masked", nil, false, unhexes(`81 05 48656c6c6f`), "error 1002 websocket: frame of a client is not masked"},
	{"ping not masked", nil, false, unhexes(`89 00`), "error 1002 websocket: frame of a client is not masked"},
	{"client: not masked, RFC 6455 5.7", &ReaderConfig{Client: true}, false, unhexes(`81 05 48656c6c6f 88 02 03f4`), "message 1 \"Hello\"\nclose 1012 \"\""},
	{"client: masked", &ReaderConfig{Client: true}, false, wire{}.text("a"), "error 1002 websocket: frame of a server is masked"},
	{"unknown opcode", nil, false, append(wire{}.text("a"), 0x83, 0x80), "message 1 \"a\"\nerror 1002 websocket: unknown opcode"},
	{"RSV1 without an agreement", nil, false, wire{}.deflated(OpText, "a"), "error 1002 websocket: reserved bit set"},
	{"RSV1 on a ping", nil, true, wire{}.frame(FrameHeader{Fin: true, RSV1: true, Opcode: OpPing}, ""), "error 1002 websocket: reserved bit set"},
	{"RSV1 on a continuation", nil, true, wire{}.start(OpText, "a").frame(FrameHeader{Fin: true, RSV1: true}, ""), "error 1002 websocket: reserved bit set"},

	{"text not UTF-8", nil, false, wire{}.text("a\xff"), "error 1007 websocket: text is not UTF-8"},
	{"text ends in a code point", nil, false, wire{}.text("a\xe2\x82"), "error 1007 websocket: text is not UTF-8"},
	{"binary need not be UTF-8", nil, false, wire{}.binary("a\xff").start(OpBinary, "\xff").last("\xff"), "message 2 \"a\\xff\"\nmessage 2 \"\\xff\\xff\""},
	{"code point cut by fragments", nil, false, wire{}.start(OpText, "a\xe2").more("\x82").more("\xac\xf0\x9f").last("\x98\x80"), "message 1 \"a\u20ac\U0001f600\""},
	{"text ends in a code point, in fragments", nil, false, wire{}.start(OpText, "a\xe2").last("\x82"), "error 1007 websocket: text is not UTF-8"},
	{"cut code point, last fragment empty", nil, false, wire{}.start(OpText, "\xe2\x82").last(""), "error 1007 websocket: text is not UTF-8"},
	{"bad fragment is told at once", nil, false, wire{}.start(OpText, "a").more("\xff").ping("late"), "error 1007 websocket: text is not UTF-8"},
	{"cut code point gone wrong is told at once", nil, false, wire{}.start(OpText, "\xe2").more("x").ping("late"), "error 1007 websocket: text is not UTF-8"},

	{"just fits", small, false, wire{}.binary(strings.Repeat("a", 100)), `message 2 "aaaaaaaaaaaaaaaaaaaa... (100)"`},
	{"too big", small, false, wire{}.binary(strings.Repeat("a", 101)), "error 1009 websocket: message too big"},
	{"too big on the header alone", small, false, unhexes(`82 ff 7fffffffffffffff 00000000`), "error 1009 websocket: message too big"},
	{"fragments just fit", small, false, wire{}.start(OpBinary, strings.Repeat("a", 60)).last(strings.Repeat("b", 40)), `message 2 "aaaaaaaaaaaaaaaaaaaa... (100)"`},
	{"fragments too big", small, false, wire{}.start(OpBinary, strings.Repeat("a", 60)).last(strings.Repeat("b", 41)), "error 1009 websocket: message too big"},
	{"fragments too big, 63 bits", small, false, append(wire{}.start(OpBinary, "a"), unhexes(`80 ff 7fffffffffffffff 00000000`)...), "error 1009 websocket: message too big"},

	{"more in one frame than in fragments", guests, false, wire{}.binary(strings.Repeat("a", 100)), `message 2 "aaaaaaaaaaaaaaaaaaaa... (100)"`},
	{"fragments just fit their own limit", guests, false, wire{}.start(OpBinary, strings.Repeat("a", 20)).last(strings.Repeat("b", 30)), `message 2 "aaaaaaaaaaaaaaaaaaaa... (50)"`},
	{"fragments over their own limit", guests, false, wire{}.start(OpBinary, strings.Repeat("a", 20)).last(strings.Repeat("b", 31)), "error 1009 websocket: message too big"},
	{"first fragment over their own limit", guests, false, wire{}.start(OpBinary, strings.Repeat("a", 51)), "error 1009 websocket: message too big"},
	{"a limit of fragments above that of messages", &ReaderConfig{MaxMessage: 50, MaxFragmented: 100}, false, wire{}.start(OpBinary, strings.Repeat("a", 20)).last(strings.Repeat("b", 31)), "error 1009 websocket: message too big"},

	{"skip", skipping, false, wire{}.text("a").text(strings.Repeat("b", 101)).text("c"), "message 1 \"a\"\ntoo large 1 101\nmessage 1 \"c\""},
	{"skip what is no UTF-8", skipping, false, wire{}.text(strings.Repeat("\xff", 500)).text("c"), "too large 1 500\nmessage 1 \"c\""},
	{"skip just allowed", skipping, false, wire{}.binary(strings.Repeat("b", 1000)).text("c"), "too large 2 1000\nmessage 1 \"c\""},
	{"beyond the skip limit", skipping, false, wire{}.binary(strings.Repeat("b", 1001)).text("c"), "error 1009 websocket: message too big"},
	{"skip the rest of the fragments", skipping, false, wire{}.start(OpBinary, strings.Repeat("a", 60)).ping("1").more(strings.Repeat("b", 60)).ping("2").more("").last("c").text("d"),
		"ping \"1\"\ntoo large 2 120\nping \"2\"\nmessage 1 \"d\""},
	{"skip from the first fragment", skipping, false, wire{}.start(OpText, strings.Repeat("a", 101)).more(strings.Repeat("b", 500)).last("").text("d"), "too large 1 101\nmessage 1 \"d\""},
	{"fragments beyond the skip limit", skipping, false, wire{}.start(OpText, strings.Repeat("a", 600)).last(strings.Repeat("b", 401)).text("d"), "too large 1 600\nerror 1009 websocket: message too big"},
	{"too many skipped fragments", skipping, false, wire{}.start(OpText, strings.Repeat("a", 128)).more("").more("").more("").more("").more("").more("").more("").more("").text("d"), "too large 1 128\nerror 1008 websocket: too many small fragments"},
	{"message within a skipped one", skipping, false, wire{}.start(OpText, strings.Repeat("a", 128)).text("d"), "too large 1 128\nerror 1002 websocket: new message within a fragmented one"},

	{"compressed", nil, true, wire{}.deflated(OpText, "Hello").text("plain").deflated(OpBinary, ""), "message 1 \"Hello\"\nmessage 1 \"plain\"\nmessage 2 \"\""},
	{"compressed, in fragments, RFC 7692 7.2.3.1", nil, true, wire{}.frame(FrameHeader{RSV1: true, Opcode: OpText}, "\xf2\x48\xcd").ping("").last("\xc9\xc9\x07\x00"), "ping \"\"\nmessage 1 \"Hello\""},
	{"compressed text not UTF-8", nil, true, wire{}.deflated(OpText, "a\xff"), "error 1007 websocket: text is not UTF-8"},
	{"compressed binary need not be UTF-8", nil, true, wire{}.deflated(OpBinary, "a\xff"), "message 2 \"a\\xff\""},
	{"corrupt", nil, true, wire{}.frame(FrameHeader{Fin: true, RSV1: true, Opcode: OpBinary}, "\xff\xff"), "error 1007 websocket: compressed message is corrupt"},
	{"inflated just fits", small, true, wire{}.deflated(OpBinary, strings.Repeat("a", 100)), `message 2 "aaaaaaaaaaaaaaaaaaaa... (100)"`},
	{"inflated too big", small, true, wire{}.deflated(OpBinary, strings.Repeat("a", 101)), "error 1009 websocket: message too big"},
	{"inflated too big, skip", skipping, true, wire{}.deflated(OpText, strings.Repeat("a", 2000)).text("b"), fmt.Sprintf("too large 1 %d\nmessage 1 \"b\"", len(Deflate(nil, bytes.Repeat([]byte("a"), 2000))))},
}

func TestReader(t *testing.T) {
	for _, v := range readerVectors {
		t.Run(v.name, func(t *testing.T) {
			if got := strings.Join(feed(t, NewReader(v.config, v.deflate), v.wire), "\n"); got != v.want {
				t.Fatalf("got  %s\nwant %s", got, v.want)
			}
			for cut := range v.wire { // every two-way split
				if got := strings.Join(feed(t, NewReader(v.config, v.deflate), v.wire, cut), "\n"); got != v.want {
					t.Fatalf("cut at %d: got  %s\nwant %s", cut, got, v.want)
				}
			}
			everywhere := make([]int, len(v.wire))
			for i := range everywhere {
				everywhere[i] = i
			}
			if got := strings.Join(feed(t, NewReader(v.config, v.deflate), v.wire, everywhere...), "\n"); got != v.want {
				t.Fatalf("byte by byte: got  %s\nwant %s", got, v.want)
			}
		})
	}
}

// TestReaderPrefixes: every prefix of a message asks for more and leaves what it does not consume
// alone.
func TestReaderPrefixes(t *testing.T) {
	whole := wire{}.text(strings.Repeat("x", 200))
	for i := range whole {
		r := NewReader(nil, false)
		prefix := bytes.Clone(whole[:i])
		ev, n, err := r.Next(prefix, nil)
		if ev.Kind != EventNeedMore || n != 0 || err != nil || ev.Need <= i || ev.Need > len(whole) {
			t.Errorf("prefix of %d bytes: %+v, n=%d, err=%v", i, ev, n, err)
		}
		if !bytes.Equal(prefix, whole[:i]) {
			t.Errorf("prefix of %d bytes was changed", i)
		}
		if i >= 8 && ev.Need != len(whole) {
			t.Errorf("the header is there, Need = %d, want %d", ev.Need, len(whole))
		}
	}
}

// TestReaderZeroCopy: an unfragmented message is delivered where it lies, and nothing behind it is
// touched.
func TestReaderZeroCopy(t *testing.T) {
	b := wire{}.text("Hello").text("World")
	first := len(b) / 2
	rest := bytes.Clone(b[first:])
	var r Reader
	ev, n, err := r.Next(b, nil)
	if err != nil || n != first || string(ev.Payload) != "Hello" || &ev.Payload[0] != &b[first-5] {
		t.Fatalf("%+v, n=%d, err=%v", ev, n, err)
	}
	if _ = append(ev.Payload, "overwritten"...); !bytes.Equal(b[first:], rest) {
		t.Error("the bytes behind the message were changed")
	}
}

func TestReaderIdle(t *testing.T) {
	if size := unsafe.Sizeof(Reader{}); size > 32 {
		t.Errorf("a Reader is %d bytes, doc comment says 32", size)
	}
	r := NewReader(nil, false)
	r.Next(wire{}.start(OpText, strings.Repeat("a", 1000)), nil)
	if held := r.Buffered(); held < 1000 || held > 2000 {
		t.Errorf("%d bytes held by a fragment of 1000", held)
	}
	r.Next(wire{}.last(""), nil)
	if r.fragments != nil || r.Buffered() != 0 {
		t.Error("state kept behind the end of a message")
	}
	r.Next(wire{}.start(OpText, "a"), nil)
	if _, _, err := r.Next(wire{}.text("a"), nil); err == nil || r.fragments != nil {
		t.Error("state kept behind an error")
	}
}

// TestReaderUnfinished: it tells how much has come of a message in fragments, kept or skipped.
func TestReaderUnfinished(t *testing.T) {
	r := NewReader(&ReaderConfig{MaxMessage: 10, SkipLimit: 1000}, false)
	long := wire{}.more(strings.Repeat("d", 20))
	for _, step := range []struct {
		name string
		wire []byte
		want int
	}{
		{"a whole message", wire{}.text("whole"), 0},
		{"half a frame", wire{}.start(OpText, "half")[:7], 0},
		{"an empty fragment", wire{}.start(OpText, ""), 1},
		{"a fragment", wire{}.more("abc"), 5},
		{"a ping between", wire{}.ping("p"), 5},
		{"the last", wire{}.last("d"), 0},
		{"a fragment again", wire{}.start(OpText, "12345"), 6},
		{"the beginning of one that is skipped", long[:len(long)-15], 12},
	} {
		if _, _, err := r.Next(bytes.Clone(step.wire), nil); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := r.Unfinished(); got != step.want {
			t.Errorf("%s: %d unfinished, want %d", step.name, got, step.want)
		}
	}
	r = NewReader(nil, false)
	r.Next(wire{}.start(OpText, "abc"), nil)
	r.Drop()
	if r.Unfinished() != 0 || r.Buffered() != 0 {
		t.Errorf("dropped: %d unfinished, %d buffered", r.Unfinished(), r.Buffered())
	}
	if ev, n, err := r.Next(wire{}.last("abc"), nil); ev.Kind != EventNeedMore || n != 9 || err != nil {
		t.Errorf("behind Drop: %+v, %d, %v", ev, n, err)
	}
}

// TestReaderSkipHoldsNothing: of a message that is skipped no byte stays in the loop's buffer.
func TestReaderSkipHoldsNothing(t *testing.T) {
	r := NewReader(&ReaderConfig{MaxMessage: 10, SkipLimit: 1 << 30}, false)
	b := FrameHeader{Fin: true, Opcode: OpBinary, Masked: true, Length: 1 << 29}.Append(nil)
	ev, n, err := r.Next(append(b, 1, 2, 3), nil)
	if ev.Kind != EventTooLarge || ev.Size != 1<<29 || n != len(b)+3 || err != nil {
		t.Fatalf("%+v, n=%d, err=%v", ev, n, err)
	}
	chunk := make([]byte, 1<<20)
	for left := 1<<29 - 3; left > 0; left -= len(chunk) {
		chunk = chunk[:min(left, len(chunk))]
		ev, n, err = r.Next(chunk, nil)
		if n != len(chunk) || ev.Kind != EventNeedMore || err != nil {
			t.Fatalf("%+v, n=%d, err=%v", ev, n, err)
		}
	}
	if got := feed(t, r, wire{}.text("next")); len(got) != 1 || got[0] != `message 1 "next"` {
		t.Errorf("behind the skipped message: %q", got)
	}
}

func TestReaderSetConfig(t *testing.T) {
	r := NewReader(&ReaderConfig{MaxMessage: 10}, false)
	r.SetConfig(small)
	if got := feed(t, r, wire{}.text(strings.Repeat("a", 100))); !strings.HasPrefix(got[0], "message") {
		t.Errorf("limit raised: %q", got)
	}
	// Lowered while a message is under way: what is there already is over it.
	r.Next(wire{}.start(OpText, strings.Repeat("a", 50)), nil)
	r.SetConfig(&ReaderConfig{MaxMessage: 10})
	if _, _, err := r.Next(wire{}.last(""), nil); err != ErrTooBig {
		t.Errorf("limit lowered: %v", err)
	}
}

// TestReaderManyReads: what a partial frame costs does not grow with it. A message of 8 MiB in
// pieces of 64 bytes is looked at 131072 times; going over it each time would be 500 GiB.
func TestReaderManyReads(t *testing.T) {
	b := wire{}.binary(string(make([]byte, 8<<20)))
	var r Reader
	for i := 0; i < len(b); i += 64 {
		if ev, n, err := r.Next(b[:i], nil); ev.Kind != EventNeedMore || n != 0 || err != nil {
			t.Fatalf("%+v, n=%d, err=%v", ev, n, err)
		}
	}
	if ev, n, err := r.Next(b, nil); ev.Kind != EventMessage || n != len(b) || err != nil {
		t.Fatalf("n=%d, err=%v", n, err)
	}
}

// TestReaderRandomStreams cuts streams of random messages at random places.
func TestReaderRandomStreams(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var stream wire
		var want []string
		for range 1 + rnd.IntN(8) {
			payload := strings.Repeat("\u20acx", rnd.IntN(100))
			switch rnd.IntN(4) {
			case 0:
				stream = stream.text(payload)
			case 1:
				stream = stream.deflated(OpText, payload)
			default:
				a, b := rnd.IntN(len(payload)+1), rnd.IntN(len(payload)+1)
				a, b = min(a, b), max(a, b)
				stream = stream.start(OpText, payload[:a]).ping("p").more(payload[a:b]).last(payload[b:])
				want = append(want, `ping "p"`)
			}
			want = append(want, describe(Event{Kind: EventMessage, Opcode: OpText, Payload: []byte(payload)}))
		}
		var cuts []int
		for at := 0; at < len(stream); at += 1 + rnd.IntN(40) {
			cuts = append(cuts, at)
		}
		if got := feed(t, NewReader(nil, true), stream, cuts...); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

func ExampleReader() {
	var r Reader // a server's, with default limits
	var scratch Scratch

	// What OnBytes of a connection does with the bytes the loop holds for it.
	onBytes := func(b []byte) (n, need int) {
		for {
			ev, used, err := r.Next(b[n:], &scratch)
			n += used
			if err != nil {
				fmt.Printf("send % x and close\n", AppendClose(nil, CodeOf(err), ""))
				return n, 1
			}
			switch ev.Kind {
			case EventNeedMore:
				return n, ev.Need
			case EventMessage:
				fmt.Printf("message: %s\n", ev.Payload)
			case EventPing:
				fmt.Printf("send % x\n", AppendFrame(nil, OpPong, ev.Payload))
			}
		}
	}
	b := AppendMaskedFrame(nil, OpText, [4]byte{1, 2, 3, 4}, []byte("Hello"))
	b = AppendMaskedFrame(b, OpPing, [4]byte{5, 6, 7, 8}, []byte("?"))
	b = AppendMaskedFrame(b, OpText, [4]byte{9, 9, 9, 9}, []byte("World"))
	n, need := onBytes(b[:len(b)-3])
	fmt.Printf("%d bytes used, %d needed\n", n, need)
	onBytes(b[n:])

	// Output:
	// message: Hello
	// send 8a 01 3f
	// 18 bytes used, 11 needed
	// message: World
}

// Text of no UTF-8 is taken where the protocol above asks for it, whole and in fragments.
func TestAnyText(t *testing.T) {
	whole := AppendFrame(nil, OpText, []byte("\xff\xfe"))
	first := AppendFrame(nil, OpText, []byte("\xc3"))
	first[0] &^= 0x80
	split := append(first, AppendFrame(nil, OpContinuation, []byte("\x28"))...)
	for _, wire := range [][]byte{whole, split} {
		for _, any := range []bool{false, true} {
			r := NewReader(&ReaderConfig{Client: true, AnyText: any}, false)
			ev, _, err := r.Next(wire, nil)
			if any && (err != nil || ev.Kind != EventMessage || ev.Opcode != OpText) || !any && err != ErrUTF8 {
				t.Errorf("%x, any text %v: %+v, %v", wire, any, ev, err)
			}
		}
	}
}
