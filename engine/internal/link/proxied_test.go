package link

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/codec/proxyproto"
	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

// A prefacedConn writes its head before all else.
type prefacedConn struct {
	net.Conn
	head string
}

func (p *prefacedConn) Write(b []byte) (int, error) {
	if head := p.head; head != "" {
		p.head = ""
		if _, err := io.WriteString(p.Conn, head); err != nil {
			return 0, err
		}
	}
	return p.Conn.Write(b)
}

// v2 is a header of version 2.
func v2(t testing.TB, h proxyproto.Header) string {
	t.Helper()
	h.Version = 2
	b, err := proxyproto.Append(nil, &h)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Who is a worker behind a proxy: by the address that the proxy says, never by the proxy's own.
func TestProxiedWorkers(t *testing.T) {
	const accepted, missing, closed = netsvrpb.RegisterResp_Success, netsvrpb.RegisterResp_TokenMissing, netsvrpb.RegisterResp_Code(-1)
	const of10, of192 = "PROXY TCP4 10.1.2.3 10.0.0.5 4711 6061\r\n", "PROXY TCP4 192.0.2.1 10.0.0.5 4711 6061\r\n"
	six := v2(t, proxyproto.Header{Command: proxyproto.Proxy, Family: proxyproto.Inet6, Transport: proxyproto.Stream,
		Source: netip.MustParseAddrPort("[::ffff:10.1.2.3]:4711"), Destination: netip.MustParseAddrPort("[2001:db8::1]:6061"),
		TLVs: proxyproto.AppendTLV(nil, 0xE0, bytes.Repeat([]byte("x"), 300))})
	path := v2(t, proxyproto.Header{Command: proxyproto.Proxy, Family: proxyproto.Unix, Transport: proxyproto.Stream, SourcePath: []byte("/run/x")})
	local := v2(t, proxyproto.Header{Command: proxyproto.Local})
	allow, tokens := mustAllow("10.1.0.0/16", "198.51.100.0/24", "unix"), Config{Tokens: []string{tokenA}}
	for _, tc := range []struct {
		name, proxy, head, token string
		config                   Config
		want                     netsvrpb.RegisterResp_Code
		refusal, peer            string
	}{
		{"an allowed address", "198.51.100.1", of10, "", allow, accepted, "", "10.1.2.3:4711"},
		{"in version 2, mapped", "198.51.100.1", six, "", allow, accepted, "", "10.1.2.3:4711"},
		{"through a unix socket", "", of10, "", allow, accepted, "", "10.1.2.3:4711"},
		{"another address", "198.51.100.1", of192, "", allow, closed, "address-not-allowed", "192.0.2.1:4711"},
		{"the proxy's own, though allowed", "198.51.100.1", "PROXY UNKNOWN\r\n", "", allow, closed, "closed", ""},
		{"a check of the proxy's", "198.51.100.1", local, "", allow, closed, "closed", ""},
		{"a unix socket of the proxy's", "198.51.100.1", path, "", allow, closed, "address-not-allowed", "unix"},
		{"loopback, as the proxy says", "198.51.100.1", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "", Config{}, accepted, "", "127.0.0.1:1"},
		{"not loopback, nothing said", "198.51.100.1", of10, "", Config{}, closed, "address-not-allowed", "10.1.2.3:4711"},
		{"a token", "198.51.100.1", of192, tokenA, tokens, accepted, "", "192.0.2.1:4711"},
		{"a token without an address", "198.51.100.1", path, tokenA, tokens, accepted, "", "unix"},
		{"no token", "198.51.100.1", of192, "", tokens, missing, "no-token", "192.0.2.1:4711"},
		{"no proxy", "192.0.2.9", of10, tokenA, tokens, closed, "proxy-untrusted", "192.0.2.9:4711"},
		{"no header", "198.51.100.1", "", tokenA, tokens, closed, "proxy-header", "198.51.100.1:4711"},
		{"a bad header", "198.51.100.1", "PROXY TCP4 10.1.2 10.0.0.5 4711 6061\r\n", tokenA, tokens, closed, "proxy-header", "198.51.100.1:4711"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				var log lockedLog
				tc.config.Logger, tc.config.Proxy = logTo(&log), true
				h, _ := newHubAtRest(t, tc.config)
				w := attachFrom(t, h, tc.proxy)
				w.Conn = &prefacedConn{w.Conn, tc.head}
				got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1, Token: tc.token})
				if got != tc.want || (err != nil) != (tc.want == closed) {
					t.Fatalf("the answer is %v, %v; want %v", got, err, tc.want)
				}
				if tc.refusal == "" {
					w.serves()
					if list := h.Links(); len(list) != 1 || list[0].Peer != tc.peer {
						t.Errorf("%+v, want one of %s", list, tc.peer)
					}
					return
				}
				w.wantEnd()
				synctest.Wait()
				if s := h.Stats(); s.Links+s.Unproven != 0 || s.UnprovenClosed[tc.refusal] != 1 || len(h.from) != 0 {
					t.Errorf("%+v, %v", s, h.from)
				}
				if tc.peer == "" { // a check, of which nobody is told
					if strings.Contains(log.text(), "refused") {
						t.Errorf("the log says %q", log.text())
					}
				} else if !strings.Contains(log.text(), "reason="+tc.refusal+" peer="+tc.peer) {
					t.Errorf("the log says %q", log.text())
				}
			})
		})
	}
}

// A header is waited for as long as --proxy-timeout says; who comes and goes is no warning. The share of
// an address is the worker's, not the proxy's.
func TestProxiedPhases(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var log lockedLog
		h, _ := newHubAtRest(t, Config{Tokens: []string{tokenA}, Proxy: true, MaxUnproven: 2, Logger: logTo(&log)})
		begun := time.Now()
		var silent []*fakeWorker
		for range 10 { // none of them has an address of its own yet
			silent = append(silent, attachFrom(t, h, "198.51.100.1"))
		}
		attachFrom(t, h, "198.51.100.1").Close()
		synctest.Wait()
		if s := h.Stats(); s.Unproven != 10 || s.UnprovenClosed["closed"] != 1 || strings.Contains(log.text(), "WARN") {
			t.Errorf("%+v, the log says %q", s, log.text())
		}
		for i := range 3 {
			w := attachFrom(t, h, "198.51.100.1")
			if _, err := io.WriteString(w, "PROXY TCP4 192.0.2.1 10.0.0.5 4711 6061\r\n"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if i == 2 {
				w.wantEnd()
			}
		}
		if s := h.Stats(); s.UnprovenClosed["too-many-of-address"] != 1 || s.Unproven != 12 {
			t.Errorf("%+v", s)
		}
		silent[0].wantTimeout(begun, 5*time.Second)
		time.Sleep(time.Minute)
		if s := h.Stats(); s.UnprovenClosed["timeout"] != 12 || s.Unproven != 0 || len(h.from) != 0 {
			t.Errorf("%+v, %v", s, h.from)
		}
		if !strings.Contains(log.text(), `err="in the PROXY header"`) {
			t.Errorf("the log says %q", log.text())
		}
	})
}

// wantTimeout reads on until the end, which must come d after begun.
func (w *fakeWorker) wantTimeout(begun time.Time, d time.Duration) {
	w.t.Helper()
	_, _ = io.Copy(io.Discard, w)
	if took := time.Since(begun); took != d {
		w.t.Errorf("closed after %v, want %v", took, d)
	}
}

// TLS begins where the header ends.
func TestProxiedTLS(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	config := mustAllow("10.1.0.0/16")
	config.Proxy, config.TLS = true, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{}).TLS(t)}}
	h, _ := newHub(t, config)
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	h.serve(connFrom{ours, &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1}})
	client := tls.Client(&prefacedConn{theirs, "PROXY TCP4 10.1.2.3 10.0.0.5 4711 6061\r\n"}, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	w := &fakeWorker{t, client}
	if got, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1}); err != nil || got != netsvrpb.RegisterResp_Success {
		t.Fatalf("%v, %v", got, err)
	}
	w.serves()
}

// A header is read to its end and no further, however it comes.
func TestReadHeader(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"PROXY UNKNOWN\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n",
		"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:6666 65535 65535\r\n",
		v2(t, proxyproto.Header{Command: proxyproto.Local}),
		v2(t, proxyproto.Header{Command: proxyproto.Proxy, Family: proxyproto.Unix, Transport: proxyproto.Stream}),
		v2(t, proxyproto.Header{Command: proxyproto.Proxy, TLVs: proxyproto.AppendTLV(nil, 4, make([]byte, 60_000))}),
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "in bytes": iotest.OneByteReader, "with the end": iotest.DataErrReader,
		} {
			behind := strings.NewReader(head + "behind")
			if _, err := readHeader(wrap(behind)); err != nil {
				t.Errorf("%.20q %s: %v", head, name, err)
			}
			if name == "with the end" {
				continue // it reads ahead
			}
			if rest, _ := io.ReadAll(behind); string(rest) != "behind" {
				t.Errorf("%.20q %s: %.20q is left", head, name, rest)
			}
		}
		for cut := range min(len(head), 200) {
			if _, err := readHeader(strings.NewReader(head[:cut])); err == nil {
				t.Errorf("%q is taken for a header", head[:cut])
			}
		}
	}
	for _, text := range []string{"GET / HTTP/1.1\r\n", "\x00\x00\x00\x05", "PROXY TCP5 ", "\r\n\r\n\x00\r\nQUIT\n\x11"} {
		if h, err := readHeader(strings.NewReader(text + strings.Repeat("x", 200))); err == nil {
			t.Errorf("%q: %+v", text, h)
		}
	}
}
