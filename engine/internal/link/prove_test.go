package link

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/lograte"
)

const (
	tokenA = "a-token-of-24-bytes-or-so"
	tokenB = "another-token-that-rotates"
)

// A connFrom is a connection that comes from an address.
type connFrom struct {
	net.Conn
	from net.Addr
}

func (c connFrom) RemoteAddr() net.Addr { return c.from }

// attachFrom opens a link over a pipe as from an IP address, or from a unix socket if it is empty.
func attachFrom(t testing.TB, h *Hub, ip string) *fakeWorker {
	t.Helper()
	ours, theirs := net.Pipe()
	from := net.Addr(&net.UnixAddr{Net: "unix"})
	if ip != "" {
		from = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 4711))
	}
	h.serve(connFrom{ours, from})
	t.Cleanup(func() { theirs.Close() })
	return &fakeWorker{t, theirs}
}

// registers sends a Register and returns the code of the answer.
func (w *fakeWorker) registers(req *netsvrpb.RegisterReq) (netsvrpb.RegisterResp_Code, error) {
	go func() { _ = w.send(netsvr.CmdRegister, req) }()
	_, payload, err := w.read()
	if err != nil {
		return -1, err
	}
	var resp netsvrpb.RegisterResp
	err = proto.Unmarshal(payload, &resp)
	return resp.Code, err
}

// wantEnd reads on until the end of the stream, which must come at once.
func (w *fakeWorker) wantEnd() {
	w.t.Helper()
	begun := time.Now()
	if _, _, err := w.read(); !errors.Is(err, io.EOF) {
		w.t.Errorf("not at the end: %v", err)
	} else if took := time.Since(begun); took > refusalTime {
		w.t.Errorf("the end came after %v", took)
	}
}

func mustAllow(texts ...string) Config {
	allow, unix, err := ParseAllow(texts)
	if err != nil {
		panic(err)
	}
	return Config{Allow: allow, AllowUnix: unix}
}

// Who may register with which token, from where.
func TestWhoIsProven(t *testing.T) {
	const accepted, closed = netsvrpb.RegisterResp_Success, netsvrpb.RegisterResp_Code(-1)
	const missing, wrong = netsvrpb.RegisterResp_TokenMissing, netsvrpb.RegisterResp_TokenWrong
	nothing, tokens := Config{}, Config{Tokens: []string{tokenA, tokenB}}
	both := mustAllow("10.1.0.0/16", "unix")
	both.Tokens = tokens.Tokens
	for _, tc := range []struct {
		name, from, token string
		config            Config
		want              netsvrpb.RegisterResp_Code
		refusal           string
	}{
		{"loopback, nothing said", "127.0.0.1", "", nothing, accepted, ""},
		{"all of it", "127.9.9.9", "", nothing, accepted, ""},
		{"mapped", "::ffff:127.0.0.1", "", nothing, accepted, ""},
		{"of IPv6", "::1", "", nothing, accepted, ""},
		{"unix", "", "", nothing, accepted, ""},
		{"a token that nobody asks for", "127.0.0.1", tokenA, nothing, accepted, ""},
		{"another address, nothing said", "192.0.2.1", "", nothing, closed, "address-not-allowed"},
		{"no token helps it", "192.0.2.1", tokenA, nothing, closed, "address-not-allowed"},

		{"the first token", "192.0.2.1", tokenA, tokens, accepted, ""},
		{"the second", "192.0.2.1", tokenB, tokens, accepted, ""},
		{"loopback needs it, too", "127.0.0.1", "", tokens, missing, "no-token"},
		{"and unix", "", "", tokens, missing, "no-token"},
		{"unix with it", "", tokenB, tokens, accepted, ""},
		{"a beginning", "192.0.2.1", tokenA[:20], tokens, wrong, "wrong-token"},
		{"and more", "192.0.2.1", tokenA + "x", tokens, wrong, "wrong-token"},
		{"both at once", "192.0.2.1", tokenA + "\n" + tokenB, tokens, wrong, "wrong-token"},

		{"an allowed network", "10.1.2.3", "", both, accepted, ""},
		{"mapped again", "::ffff:10.1.2.3", "", both, accepted, ""},
		{"with a wrong token", "10.1.2.3", "x", both, accepted, ""},
		{"a neighbour", "10.2.0.1", "", both, missing, "no-token"},
		{"a neighbour with the token", "10.2.0.1", tokenA, both, accepted, ""},
		{"loopback is not in it", "127.0.0.1", "", both, missing, "no-token"},
		{"unix is", "", "", both, accepted, ""},

		{"an allowed network alone", "10.1.2.3", "", mustAllow("10.1.0.0/16"), accepted, ""},
		{"loopback beside it", "127.0.0.1", "", mustAllow("10.1.0.0/16"), closed, "address-not-allowed"},
		{"unix beside it", "", "", mustAllow("10.1.0.0/16"), closed, "address-not-allowed"},
		{"one address", "2001:db8::1", "", mustAllow("2001:db8::1"), accepted, ""},
		{"written as mapped", "10.1.2.3", "", mustAllow("::ffff:10.1.0.0/112"), accepted, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				var log lockedLog
				tc.config.Logger = logTo(&log)
				h, _ := newHubAtRest(t, tc.config)
				w := attachFrom(t, h, tc.from)
				got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tc.token})
				if got != tc.want || (err != nil) != (tc.want == closed) {
					t.Fatalf("the answer is %v, %v; want %v", got, err, tc.want)
				}
				if tc.refusal == "" {
					w.serves()
					if s := h.Stats(); s.Links != 1 || s.Registered != 1 || s.Unproven != 0 {
						t.Errorf("%+v", s)
					}
					return
				}
				w.wantEnd()
				synctest.Wait()
				s := h.Stats()
				if s.Links+s.Unproven+s.Registered != 0 || s.UnprovenClosed[tc.refusal] != 1 || s.Commands != 0 {
					t.Errorf("%+v", s)
				}
				if log.count(`"worker refused" reason=`+tc.refusal) != 1 {
					t.Errorf("the log says %q", log.text())
				}
				if strings.Contains(log.text(), tokenA[:8]) {
					t.Error("the log tells a token")
				}
			})
		})
	}
}

// Each reason has lines of its own, however many connections of the address were refused for others.
func TestRefusalsAreLoggedApart(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var log lockedLog
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}, Logger: lograte.Logger(logTo(&log))})
		for range 5 {
			w := attachFrom(t, h, "192.0.2.1")
			if _, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1}); err != nil {
				t.Fatal(err)
			}
			w.wantEnd()
			w = attachFrom(t, h, "192.0.2.1")
			if err := w.send(netsvr.CmdUniqIDCount, nil); err != nil {
				t.Fatal(err)
			}
			var resp netsvrpb.RegisterResp // so that a worker without a token learns what is amiss
			if cmd, payload, err := w.read(); err != nil || cmd != netsvr.CmdRegister || proto.Unmarshal(payload, &resp) != nil ||
				resp.Code != netsvrpb.RegisterResp_TokenMissing {
				t.Fatalf("%v, %v, %v", cmd, &resp, err)
			}
			w.wantEnd()
		}
		synctest.Wait()
		for _, reason := range []string{"no-token", "command-before-token"} {
			if n := log.count(`"worker refused" reason=` + reason); n != 2 { // a quarter of 10
				t.Errorf("%s: %d lines, want 2", reason, n)
			}
		}
	})
}

// Before its token a connection may send heartbeats and a Register, little and soon.
func TestUnproven(t *testing.T) {
	big := frameOf(t, netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1, Token: strings.Repeat("x", unprovenFrame)})
	fair := frameOf(t, netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1, Token: tokenA})
	ping := netsvr.V2.AppendPing(nil)
	for _, tc := range []struct {
		name   string
		send   [][]byte
		every  time.Duration
		reason string
		after  time.Duration
	}{
		{"silent", nil, 0, "timeout", 10 * time.Second},
		{"one byte a second", slices.Collect(slices.Chunk(fair, 1)), time.Second, "timeout", 10 * time.Second},
		{"heartbeats", slices.Repeat([][]byte{ping}, 20), time.Second, "timeout", 10 * time.Second},
		{"heartbeats at once", slices.Repeat([][]byte{ping}, unprovenBytes), 0, "malformed", 0},
		{"a long frame", [][]byte{big}, 0, "malformed", 0},
		{"a query", [][]byte{frameOf(t, netsvr.CmdUniqIDList, nil)}, 0, "command-before-token", 0},
		{"a broadcast", [][]byte{frameOf(t, netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: []byte("x")})}, 0, "command-before-token", 0},
		{"no number", [][]byte{{0, 0, 0, 2, 'h', 'i'}}, 0, "malformed", 0},
		{"HTTP", [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}, 0, "malformed", 0},
		{"an empty Register", [][]byte{frameOf(t, netsvr.CmdRegister, nil)}, 0, "no-token", 0},
		{"half a message", [][]byte{append([]byte{0, 0, 0, byte(len(fair) - 5)}, fair[4:len(fair)-1]...)}, 0, "malformed", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				h, e := newHubAtRest(t, Config{Tokens: []string{tokenA}})
				w := attachFrom(t, h, "192.0.2.1")
				begun := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for _, b := range tc.send {
						if _, err := w.Write(b); err != nil {
							return
						}
						time.Sleep(tc.every)
					}
				}()
				synctest.Wait()
				if n := e.Stats().Accounts[engine.KindLinkInput]; n > 4<<10 {
					t.Errorf("%d bytes are charged for it", n)
				}
				_, _ = io.Copy(io.Discard, w)
				defer func() { <-sent }()
				if took := time.Since(begun); took < tc.after || took > tc.after+time.Second {
					t.Errorf("closed after %v, want %v", took, tc.after)
				}
				synctest.Wait()
				if s := h.Stats(); s.UnprovenClosed[tc.reason] != 1 || s.Unproven != 0 || s.Commands != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// A token that is right is so at once, cut into bytes and behind heartbeats, too; what comes with it
// is carried out. With worker id 0 it registers nothing.
func TestProofAlone(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}})
		w := attachFrom(t, h, "192.0.2.1")
		wire := netsvr.V2.AppendPing(nil)
		wire = append(wire, frameOf(t, netsvr.CmdRegister, &netsvrpb.RegisterReq{Token: tokenA})...)
		wire = append(wire, frameOf(t, netsvr.CmdUniqIDCount, nil)...)
		go func() {
			for _, b := range wire {
				_, _ = w.Write([]byte{b})
			}
		}()
		for _, want := range []netsvr.Command{netsvr.CmdPong, netsvr.CmdRegister, netsvr.CmdUniqIDCount} {
			cmd, payload, err := w.read()
			if err != nil || cmd != want {
				t.Fatalf("%v, %v; want %v", cmd, err, want)
			}
			if want == netsvr.CmdRegister && len(payload) > 0 {
				t.Errorf("the proof is answered with % x", payload)
			}
		}
		if s := h.Stats(); s.Links != 1 || s.Registered != 0 {
			t.Errorf("%+v", s)
		}
		// A link that has proven itself registers without saying it again.
		if got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1}); err != nil || got != netsvrpb.RegisterResp_Success {
			t.Errorf("%v, %v", got, err)
		}
		// An id of 0 without a token is what it always was.
		if got, err := w.registers(&netsvrpb.RegisterReq{}); err != nil || got != netsvrpb.RegisterResp_WorkerIdOverflow {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// Wrong tokens are refused later and later, and a right one from the same address at once.
func TestWrongTokens(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}})
		var total time.Duration
		for i := range 8 {
			w := attachFrom(t, h, "192.0.2.1")
			begun := time.Now()
			if got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tokenB}); err != nil || got != netsvrpb.RegisterResp_TokenWrong {
				t.Fatalf("%v, %v", got, err)
			}
			want := min(leastDelay<<i, mostDelay)
			if took := time.Since(begun); took != want {
				t.Errorf("wrong token %d: refused after %v, want %v", i, took, want)
			}
			total += want
			w.wantEnd()
		}
		begun := time.Now()
		for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
			w := attachFrom(t, h, from)
			if got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tokenA}); err != nil || got != netsvrpb.RegisterResp_Success {
				t.Fatalf("%v, %v", got, err)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("the right token took %v", took)
		}
		time.Sleep(failureMemory + time.Second)
		if d := h.failures.note(netip.MustParseAddr("192.0.2.1"), time.Now()); d != leastDelay {
			t.Errorf("a minute later a wrong token costs %v", d)
		}
		t.Logf("%v for 8 tokens", total)
	})
}

// One address has so many connections that are unproven, however fast they come; others come in, and
// hanging up does not give it more.
func TestUnprovenOfOneAddress(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}, MaxUnproven: 4})
		for i := range 4 {
			// Addresses of one /64 are one.
			w := attachFrom(t, h, []string{"2001:db8::1", "2001:db8::2"}[i%2])
			go func() { _ = w.send(netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1, Token: tokenB}) }()
			synctest.Wait()
			w.Close()
		}
		refused := attachFrom(t, h, "2001:db8::3")
		refused.wantEnd()
		if s := h.Stats(); s.UnprovenClosed["too-many-of-address"] != 1 || s.Unproven != 4 {
			t.Errorf("%+v", s)
		}
		other := attachFrom(t, h, "2001:db8:1::1")
		if got, err := other.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tokenA}); err != nil || got != netsvrpb.RegisterResp_Success {
			t.Errorf("another address: %v, %v", got, err)
		}
		// One that has been there for a while makes room.
		for range 4 {
			attachFrom(t, h, "192.0.2.1")
		}
		time.Sleep(evictAfter)
		honest := attachFrom(t, h, "192.0.2.1")
		if got, err := honest.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tokenA}); err != nil || got != netsvrpb.RegisterResp_Success {
			t.Errorf("the same address: %v, %v", got, err)
		}
		time.Sleep(time.Minute)
		if s := h.Stats(); s.Unproven != 0 || len(h.from) != 0 || s.UnprovenClosed["made-room"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Connections that are unproven give way to those that are not, where there is a limit for all.
func TestUnprovenMakesRoom(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		config := mustAllow("10.0.0.0/8")
		config.Tokens, config.MaxLinks = []string{tokenA}, 3
		h, _ := newHubAtRest(t, config)
		for _, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
			attachFrom(t, h, from)
		}
		early := attachFrom(t, h, "10.0.0.1")
		early.wantEnd()
		time.Sleep(evictAfter)
		attachFrom(t, h, "10.0.0.1").register(1)
		attachFrom(t, h, "192.0.2.4").wantRegistered(tokenA)
		synctest.Wait()
		if s := h.Stats(); s.Links != 2 || s.Unproven != 1 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func (w *fakeWorker) wantRegistered(token string) {
	w.t.Helper()
	if got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: token}); err != nil || got != netsvrpb.RegisterResp_Success {
		w.t.Fatalf("%v, %v", got, err)
	}
}

// SetTrust holds for those that come; who is there stays.
func TestSetTrust(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}})
		old := attachFrom(t, h, "192.0.2.1")
		old.wantRegistered(tokenA)
		waiting := attachFrom(t, h, "192.0.2.1")
		synctest.Wait()
		trust := func(c Config) {
			t.Helper()
			next, err := c.Trust()
			if err != nil {
				t.Fatal(err)
			}
			h.SetTrust(next)
		}
		trust(Config{Tokens: []string{tokenB}})
		if got, _ := attachFrom(t, h, "192.0.2.1").registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tokenA}); got != netsvrpb.RegisterResp_TokenWrong {
			t.Errorf("the old token: %v", got)
		}
		waiting.wantRegistered(tokenB)
		old.serves()
		trust(mustAllow("10.0.0.0/8"))
		attachFrom(t, h, "192.0.2.1").wantEnd()
		attachFrom(t, h, "10.9.9.9").wantRegistered("")
		old.serves()
		if _, err := (&Config{Tokens: []string{"short"}}).Trust(); err == nil {
			t.Error("a short token is taken")
		}
	})
}

// A Hub that closes ends what is unproven, in a delay, too.
func TestCloseUnproven(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}})
		attachFrom(t, h, "192.0.2.1")
		w := attachFrom(t, h, "192.0.2.1")
		for range 10 {
			h.failures.note(netip.MustParseAddr("192.0.2.1"), time.Now())
		}
		go func() { _ = w.send(netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1, Token: tokenB}) }()
		synctest.Wait()
		begun := time.Now()
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 2*refusalTime {
			t.Errorf("Close took %v", took)
		}
		if n := h.Stats().UnprovenClosed["shutdown"]; n != 2 {
			t.Errorf("%d closed by the shutdown, want 2", n)
		}
	})
}

func TestFailuresBounded(t *testing.T) {
	var f failures
	now := time.Unix(1e9, 0)
	addr := netip.MustParseAddr("10.0.0.0")
	for range 3 * maxFailures {
		addr = addr.Next()
		f.note(addr, now)
	}
	if n := len(f.byAddr); n > maxFailures {
		t.Errorf("%d addresses are remembered", n)
	}
	if d := f.note(addr, now); d != 2*leastDelay {
		t.Errorf("the last of them pays %v", d)
	}
	f.note(netip.MustParseAddr("10.255.0.0"), now.Add(2*failureMemory))
	for range maxFailures {
		addr = addr.Next()
		f.note(addr, now.Add(2*failureMemory))
	}
	if n := len(f.byAddr); n > maxFailures {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestParseTokens(t *testing.T) {
	long := strings.Repeat("x", MaxToken)
	for _, tc := range []struct {
		name, text string
		want       []string
		fails      string
	}{
		{"one", tokenA, []string{tokenA}, ""},
		{"several", "# old\n" + tokenA + "\r\n\n  " + tokenB + "  \n", []string{tokenA, tokenB}, ""},
		{"behind a byte order mark", "\ufeff" + tokenA + "\n" + tokenB, []string{tokenA, tokenB}, ""},
		{"a mark alone", "\ufeff", nil, "no token"},
		{"the longest", long, []string{long}, ""},
		{"none", "\n# nothing\n", nil, "no token"},
		{"empty", "", nil, "no token"},
		{"short", tokenA + "\nfifteen-bytes-x", nil, "line 2: a token of 15 bytes, want 16 to 1024"},
		{"too long", long + "x", nil, "line 1: a token of 1025 bytes"},
		{"two on a line", tokenA + " " + tokenB, nil, "line 1: want one token"},
		{"no text", "\xff\xfe" + tokenA, nil, "line 1: want one token"},
		{"a control character", tokenA + "\x00", nil, "line 1: want one token"},
		{"too many", strings.Repeat(tokenA+"\n", maxTokens+1), nil, "65 tokens, want at most 64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseTokens([]byte(tc.text))
			switch {
			case tc.fails == "" && (err != nil || !slices.Equal(got, tc.want)):
				t.Errorf("%q, %v", got, err)
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("%q, %v; want %q", got, err, tc.fails)
			}
		})
	}
}

func TestParseAllow(t *testing.T) {
	for _, bad := range []string{"", "10.0.0.0/33", "localhost", "fe80::1%eth0", "10.0.0.0/8,10.0.0.1", "unix:"} {
		if _, _, err := ParseAllow([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	allow, unix, err := ParseAllow([]string{"0.0.0.0/0", "::/0", "192.0.2.1", "2001:db8::/32", "unix"})
	if err != nil || !unix || len(allow) != 4 || allow[2].Bits() != 32 {
		t.Errorf("%v, %v, %v", allow, unix, err)
	}
}
