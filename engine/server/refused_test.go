package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// Whoever is over the limit of connections, or not admitted, is answered where its protocol has an
// answer, however its first bytes are cut; who says nothing is let go within a second.
func TestRefusedConnections(t *testing.T) {
	full := Config{Engine: engine.Config{MaxConnections: 1, MaxRefusals: 1 << 10}}
	barred := Config{Engine: engine.Config{MaxRefusals: 1 << 10, Admit: func(netip.Addr) (engine.Reason, bool) {
		return engine.ReasonLoginBanned, false
	}}}
	const compact = "\x10\x0b\x05GOSOC\x01\x00\x00\x00\x00"
	const fixed6 = "\x01\x00\x00\x00\x0d\x00\x00\x05GOSOC\x01\x00\x00\x00\x00\x00"
	for name, config := range map[string]Config{"full": full, "not admitted": barred} {
		s, addr := begin(t, config)
		status, failure := "\x06", "\x08\x93\x03\x12\x0clogin-banned"
		if name == "full" {
			dialGOSOC(t, addr, "first")
			status, failure = "\x07", "\x08\xf7\x03\x12\x10too-many-clients"
		}
		var waiting sync.WaitGroup
		length := string([]byte{0, 0, byte(len(failure))})
		for _, tc := range []struct{ what, wire, want string }{
			{"compact", compact, "\x20\x02\x00\x01"},
			{"fixed6", fixed6, "\x02\x00\x00\x00\x02\x00\x00\x01"},
			{"with a request behind it", compact + "\x62\x06\x00\x01\x01a\x01x", "\x20\x02\x00\x01"},
			{"upgrade", "GET /gosoc HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 503 "},
			{"another name", "\x10\x0b\x05GOSOX\x01\x00\x00\x00\x00", ""},
			{"no protocol", "SSH-2.0\r\n", ""},
			{"Longbridge Auth", "\x11\x09\x01\x02\x00\x00\x00\x07\x00\x00\x00\x00\x05\x0a\x03abc",
				"\x02\x02\x00\x00\x00\x07" + status + length + failure},
			{"Longbridge Reconnect, its header", "\x11\x09\x01\x03\x00\x00\x00\x01\x00\x00\x00\x08\x00",
				"\x02\x03\x00\x00\x00\x01" + status + length + failure},
			{"Longbridge version 2", "\x12\x09\x01\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00",
				"\x02\x02\x00\x00\x00\x07" + status + "\x00\x00" + length + failure},
			{"Longbridge in JSON", "\x21\x09\x01\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00",
				"\x02\x02\x00\x00\x00\x07" + status + "\x00\x00"},
			{"Longbridge, a response", "\x11\x09\x02\x02\x00\x00\x00\x07\x00\x00\x00\x00", ""},
			{"Longbridge, no request", "\x11\x09\x01\x02\x00", ""},
			{"GOSOC, mistaken for Longbridge", "\x11\x0b\x05GOSOC\x01\x00\x00\x00\x00", ""},
			{"silence", "", ""},
			{"half", compact[:5], ""},
		} {
			for _, cut := range []int{len(tc.wire), 1} {
				waiting.Go(func() { // most for a second
					conn, err := net.Dial("tcp", addr)
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(patience))
					for wire := tc.wire; wire != ""; wire = wire[min(cut, len(wire)):] {
						_, _ = io.WriteString(conn, wire[:min(cut, len(wire))])
					}
					got, err := io.ReadAll(conn)
					if err != nil && !strings.Contains(err.Error(), "reset") || !strings.HasPrefix(string(got), tc.want) || tc.want == "" && len(got) > 0 {
						t.Errorf("%s, %s, %d bytes at a time: %q, %v, want %q", name, tc.what, cut, got, err, tc.want)
					}
				})
			}
		}
		waiting.Wait()
		end(t, s)
	}
}

// Only so many are kept for an answer, and of one address a quarter; a stop does not wait for them.
func TestRefusalsAreBounded(t *testing.T) {
	s, addr := begin(t, Config{Engine: engine.Config{MaxConnections: 1, MaxRefusals: 8}})
	dialGOSOC(t, addr, "first")
	var kept []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		kept = append(kept, conn)
	}
	deadline := time.Now().Add(patience)
	for i := uint64(0); i < 2; i = s.Engine().Stats().Refused[engine.ReasonTooManyClients] {
		if time.Now().After(deadline) {
			t.Fatal("nobody was refused")
		}
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	over := dial(t, addr)
	over.wantEnd() // at once: the others are kept for a second
	_ = kept[1].SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := kept[1].Read(make([]byte, 1))
	if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) && took < 900*time.Millisecond {
		t.Errorf("%v after %v: one within the limit is not kept", err, took)
	}
	end(t, s)
	for _, conn := range kept {
		_ = conn.SetDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(conn); len(b) > 0 {
			t.Error(fmt.Sprintf("%q", b), err)
		}
	}
}
