package netsvr

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestSpecimenFrames(t *testing.T) {
	for _, s := range specimens {
		t.Run(s.name, func(t *testing.T) {
			wire := unhex(t, s.wire)

			buf := []byte("before")
			start := len(buf)
			buf = V2.BeginFrame(buf, s.cmd)
			buf = s.msg.Append(buf)
			buf, err := EndFrame(buf, start, len(wire)-lengthLen)
			if err != nil || !bytes.Equal(buf[start:], wire) || string(buf[:start]) != "before" {
				t.Errorf("written %x, %v\nwant    %x", buf[start:], err, wire)
			}

			if m, ok := s.msg.(*Request); ok { // also when its client is encoded before
				_, asker := m.Asker([]byte("before"))
				rest := *m
				rest.UniqID, rest.Session, rest.Protocol, rest.User, rest.Peer = nil, nil, nil, []byte("x"), nil
				if got := rest.AppendOf(nil, &asker); !bytes.Equal(got, wire[8:]) {
					t.Errorf("AppendOf %x\nwant    %x", got, wire[8:])
				}
			}

			whole, err := V2.AppendFrame(nil, s.cmd, wire[8:], 0)
			if err != nil || !bytes.Equal(whole, wire) {
				t.Errorf("AppendFrame %x, %v", whole, err)
			}

			body, n, err := ParseFrame(append(wire[:len(wire):len(wire)], "next"...), 0)
			if n != len(wire) || err != nil || cap(body) != len(body) {
				t.Fatalf("ParseFrame: n=%d, cap %d of %d, %v", n, cap(body), len(body), err)
			}
			cmd, payload := V2.Split(body)
			if cmd != s.cmd || !bytes.Equal(payload, wire[8:]) {
				t.Errorf("Split: %v %x", cmd, payload)
			}

			for i := range wire { // every prefix asks for more
				if body, n, err := ParseFrame(wire[:i], 0); body != nil || n != 0 || err != nil {
					t.Errorf("prefix of %d bytes: %x, n=%d, %v", i, body, n, err)
				}
			}
		})
	}
}

func TestParseFrameLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		src   string
		limit int
		n     int
		err   error
	}{
		{"no command, length 0", "00000000", 0, 0, ErrNoCommand},
		{"no command, length 3", "00000003", 0, 0, ErrNoCommand},
		{"no command, whole frame there", "00000003 010203", 0, 0, ErrNoCommand},
		{"command alone", "00000004 35a4f5bd", 0, 8, nil},
		{"equal to the limit", "00000005 35a4f0d3 00", 5, 9, nil},
		{"one over the limit", "00000006", 5, 0, ErrFrameTooLarge},
		{"default limit, equal: asks for more", "00200000", 0, 0, nil},
		{"default limit, one over", "00200001", 0, 0, ErrFrameTooLarge},
		{"negative limit is the default", "00200001", -1, 0, ErrFrameTooLarge},
		{"as a signed number negative", "80000000", math.MaxInt, 0, ErrFrameTooLarge},
		{"largest length", "ffffffff", math.MaxInt, 0, ErrFrameTooLarge},
		{"limit below a command refuses all", "00000004", 3, 0, ErrFrameTooLarge},
		{"HTTP by mistake", "47455420 2f", 0, 0, ErrFrameTooLarge},
		{"three bytes of a bad length", "ffffff", 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := unhex(t, c.src)
			body, n, err := ParseFrame(src, c.limit)
			if n != c.n || err != c.err || (body != nil) != (c.n > 0) {
				t.Errorf("got %x, n=%d, %v", body, n, err)
			}
		})
	}
}

func TestFrameSize(t *testing.T) {
	for _, c := range []struct {
		src  string
		size int
	}{{"", 0}, {"000000", 0}, {"00000010", 20}, {"00200000", DefaultFrameLimit + 4}} {
		if size, err := FrameSize(unhex(t, c.src), 0); size != c.size || err != nil {
			t.Errorf("%q: %d, %v", c.src, size, err)
		}
	}
}

func TestEndFrameLimit(t *testing.T) {
	batch, err := V2.AppendFrame(nil, CmdBroadcast, []byte("one"), 7)
	if err != nil {
		t.Fatal(err)
	}
	if over, err := V2.AppendFrame(batch, CmdBroadcast, []byte("four"), 7); err != ErrFrameTooLarge || !bytes.Equal(over, batch) {
		t.Errorf("over the limit: %x, %v", over, err)
	}
}

func TestHeartbeats(t *testing.T) {
	ping := unhex(t, "00000009 7e3379 50766d6e7a7e")
	pong := unhex(t, "00000008 7e7533 384e765a7e")
	if got := V2.AppendPing(nil); !bytes.Equal(got, ping) {
		t.Errorf("ping %x", got)
	}
	if got := V2.AppendPong(nil); !bytes.Equal(got, pong) {
		t.Errorf("pong %x", got)
	}
	for i := range ping {
		if _, n, err := ParseFrame(ping[:i], 0); n != 0 || err != nil {
			t.Errorf("prefix of %d bytes: n=%d, %v", i, n, err)
		}
	}
	for _, c := range []struct {
		name, body string
		cmd        Command
	}{
		{"ping", "~3yPvmnz~", CmdPing},
		{"pong", "~u38NvZ~", CmdPong},
		{"ping and more", "~3yPvmnz~ ", 0x7e337950},
		{"half a ping", "~3yP", 0x7e337950},
		{"v6 ping", "~6YOt5rW35piO~", 0x7e36594f},
		{"number of CmdPing", "\x00\x00\x00\x01", CmdNone},
		{"number of CmdPong", "\x00\x00\x00\x02", CmdNone},
		{"number 0", "\x00\x00\x00\x00", CmdNone},
		{"no command", "~3y", CmdNone},
		{"nothing", "", CmdNone},
	} {
		cmd, payload := V2.Split([]byte(c.body))
		if cmd != c.cmd {
			t.Errorf("%s: %v", c.name, cmd)
		}
		if cmd == CmdPing || cmd == CmdPong {
			if payload != nil || cmd.Class() != ClassHeartbeat {
				t.Errorf("%s: payload %q, class %d", c.name, payload, cmd.Class())
			}
		} else if cmd.Class() != ClassUnknown {
			t.Errorf("%s: class %d, want the link to end", c.name, cmd.Class())
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range specimens {
		f.Add(unhex(f, s.wire), 0)
	}
	f.Add([]byte("\x00\x00\x00\x09~3yPvmnz~"), 9)
	f.Add([]byte("\x00\x00\x00\x03abc"), 100)
	f.Add([]byte("\xff\xff\xff\xff"), -1)
	f.Fuzz(func(t *testing.T, src []byte, limit int) {
		body, n, err := ParseFrame(src, limit)
		if err != nil {
			if n != 0 || body != nil || !errors.Is(err, ErrNoCommand) && !errors.Is(err, ErrFrameTooLarge) {
				t.Fatalf("n=%d, %d bytes, %v", n, len(body), err)
			}
			if again, m, err2 := ParseFrame(src[:lengthLen], limit); again != nil || m != 0 || err2 != err {
				t.Fatalf("the length alone says n=%d, %v; the frame %v", m, err2, err)
			}
			return
		}
		if n == 0 {
			if size, err := FrameSize(src, limit); err != nil || size != 0 && size <= len(src) {
				t.Fatalf("asks for more than %d bytes, size %d, %v", len(src), size, err)
			}
			return
		}
		if n != lengthLen+len(body) || n > len(src) || len(body) < commandLen {
			t.Fatalf("n=%d, body %d of %d bytes", n, len(body), len(src))
		}
		var again []byte
		switch cmd, payload := V2.Split(body); cmd {
		case CmdPing:
			again = V2.AppendPing(nil)
		case CmdPong:
			again = V2.AppendPong(nil)
		case CmdNone:
			return
		default:
			if again, err = V2.AppendFrame(nil, cmd, payload, limit); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, src[:n]) {
			t.Fatalf("written again %x, was %x", again, src[:n])
		}
	})
}
