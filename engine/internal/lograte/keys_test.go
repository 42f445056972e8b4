package lograte

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// Of what a place may say, lines about one peer are a quarter, so that it does not drown the others'.
func TestOnePeerDrownsNobody(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name  string
			about func(i int) []any // of the flood: all of one peer
		}{
			{"an address, from many ports", func(i int) []any {
				return []any{"peer", netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i))}
			}},
			{"the same as text", func(i int) []any { return []any{"peer", fmt.Sprintf("192.0.2.1:%d", i)} }},
			{"an IPv6 network", func(i int) []any { return []any{"n", i, "peer", fmt.Sprintf("[2001:db8::%x]:1", i)} }},
			{"a process on a unix socket", func(int) []any { return []any{"peer", "unix(pid=1,uid=2)"} }},
			{"a user, from many connections", func(i int) []any { return []any{"uniqId", fmt.Sprint(i), "user", "ann"} }},
			{"a connection of nobody", func(int) []any { return []any{"uniqId", "00A", "user", ""} }},
			{"an address with many users", func(i int) []any { return []any{"user", fmt.Sprint(i), "peer", "192.0.2.1:1"} }},
		} {
			var out syncbuf.Buffer
			log := textLog(&out)
			say := func(n int, about func(i int) []any, text string) {
				for i := range n {
					log.Warn("line", append(about(i), "who", text)...)
				}
			}
			say(1000, tt.about, "flood")
			say(3, func(i int) []any { return []any{"peer", fmt.Sprintf("198.51.100.%d:1", i)} }, "honest")
			say(1, func(int) []any { return nil }, "nobody")
			count := func(who string) int { return strings.Count(out.String(), "who="+who) }
			if flood, honest, none := count("flood"), count("honest"), count("nobody"); flood != perSecondWarn/keyParts || honest != 3 || none != 1 {
				t.Errorf("%s: %d lines of a flood, %d honest ones of 3, %d about nobody of 1", tt.name, flood, honest, none)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if want := fmt.Sprintf("omitted=%d\n", 1000-perSecondWarn/keyParts); !strings.HasSuffix(out.String(), want) {
				t.Errorf("%s: no %q in %q", tt.name, want, out.String())
			}
			out.Reset()
			say(1, tt.about, "flood")
			if count("flood") != 1 {
				t.Errorf("%s: nothing is said in the next second", tt.name)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

// With says whom lines are about, too, and what is remembered of a second is bounded.
func TestKeyOfWith(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := textLog(&out)
		for range 100 {
			log.With("peer", "192.0.2.1:1").WithGroup("g").Info("line", "user", "ann")
		}
		if n := strings.Count(out.String(), "msg=line"); n != perSecondInfo/keyParts {
			t.Errorf("%d lines, want %d", n, perSecondInfo/keyParts)
		}
		for i := range 10_000 {
			log.Debug("line", "user", fmt.Sprint(i))
		}
		for _, w := range log.Handler().(*handler).seen {
			if len(w.keyed) > perSecondDebug {
				t.Errorf("%d keys of a place are remembered", len(w.keyed))
			}
		}
		time.Sleep(2 * time.Second)
	})
}

// A Kind is about peers, too.
func TestKindOfOnePeer(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		k := NewKind(textLog(&out), KindConfig{Level: slog.LevelInfo, PerSecond: 100, Message: "end"})
		say := func(n int, peer string) {
			for range n {
				k.Log(netip.MustParseAddr(peer), func() []slog.Attr { return []slog.Attr{slog.String("peer", peer)} })
			}
		}
		say(1000, "192.0.2.1")
		say(10, "192.0.2.2")
		if a, b := strings.Count(out.String(), "peer=192.0.2.1\n"), strings.Count(out.String(), "peer=192.0.2.2\n"); a != 25 || b != 10 {
			t.Errorf("%d and %d lines, want 25 and 10", a, b)
		}
		time.Sleep(2 * time.Second)
	})
}

// Lines that do not say where they are from, and say something else each time, are of one place.
func TestTextsOfAPeer(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := slog.NewLogLogger(textLog(&out).Handler(), slog.LevelWarn)
		for i := range 1000 {
			log.Printf("http: TLS handshake error from 192.0.2.1:%d", i)
		}
		if n := strings.Count(out.String(), "handshake"); n != perSecondWarn {
			t.Errorf("%d lines, want %d", n, perSecondWarn)
		}
		time.Sleep(2 * time.Second)
	})
}
