package server

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

// What a client sends first, and the beginning of the answer it gets where it is served.
var greetings = map[string]struct{ first, answer string }{
	"gosoc":         {"\x10\x0d\x05GOSOC\x01\x00\x00\x00\x02{}", "\x20\x02\x00\x00"},
	"longbridge":    {"\x11\x09" + "\x01\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00", "\x02\x01\x00\x00\x00\x07"}, // a handshake has no answer, a heartbeat has
	"ws gosoc":      {upgradeTo("/gosoc"), "HTTP/1.1 101"},
	"ws netsvr":     {upgradeTo("/netsvr"), "HTTP/1.1 101"},
	"ws longbridge": {upgradeTo("/?version=1&codec=1&platform=9"), "HTTP/1.1 101"},
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func upgradeTo(target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
}

func TestListenersSpeak(t *testing.T) {
	for _, tc := range []struct {
		listen string
		serves []string
	}{
		{"tcp://127.0.0.1:0", []string{"gosoc", "longbridge", "ws gosoc", "ws netsvr", "ws longbridge"}},
		{"tcp://127.0.0.1:0?protocol=gosoc", []string{"gosoc", "ws gosoc"}},
		{"tcp://127.0.0.1:0?protocol=longbridge", []string{"longbridge", "ws longbridge"}},
		{"tcp://127.0.0.1:0?protocol=netsvr", []string{"ws netsvr"}},
		{"ws://127.0.0.1:0", []string{"ws gosoc", "ws netsvr", "ws longbridge"}},
		{"ws://127.0.0.1:0?protocol=gosoc", []string{"ws gosoc"}},
		{"ws://127.0.0.1:0?protocol=longbridge", []string{"ws longbridge"}},
		{"ws://127.0.0.1:0?protocol=netsvr", []string{"ws netsvr"}},
	} {
		t.Run(tc.listen, func(t *testing.T) {
			config := Config{Listen: []string{tc.listen}, WorkerListen: "tcp://127.0.0.1:0", Dev: true}
			config.Gateway.Login = login.Open{}
			config.Gateway.LoginTimeout = 5 * time.Minute
			s, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = s.Stop(ctx)
			})
			_, address, _ := strings.Cut(s.Addrs()[0], "://")
			for name, g := range greetings {
				want := false
				for _, n := range tc.serves {
					want = want || n == name
				}
				if got := served(t, address, g.first, g.answer); got != want {
					t.Errorf("%s: served is %v", name, got)
				}
			}
		})
	}
}

// served reports whether first is answered with answer, and not with something else or the end.
func served(t *testing.T, address, first, answer string) bool {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(first)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, len(answer))
	n, err := io.ReadFull(c, b)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("%q was not answered in %v", first, patience)
	}
	return n > 0 && string(b[:n]) == answer
}

// Workers may come through a proxy, and that is all there is to say.
func TestParseWorkerListen(t *testing.T) {
	for text, want := range map[string]Listen{
		"tcp://127.0.0.1:0":             {Scheme: "tcp", Address: "127.0.0.1:0"},
		"tcp://127.0.0.1:0/":            {Scheme: "tcp", Address: "127.0.0.1:0"},
		"tls://[::1]:0?proxy=on":        {Scheme: "tls", Address: "[::1]:0", Proxy: true},
		"tcp://h:1?proxy=off":           {Scheme: "tcp", Address: "h:1"},
		"unix:///run/s?proxy=on&mode=7": {Scheme: "unix", Address: "/run/s", Proxy: true, Mode: 0o7},
		"tcp://h:1?proxy=yes":           {},
		"tcp://h:1?proxy":               {},
		"tcp://h:1?proxy=on&proxy=on":   {},
		"tcp://h:1?mode=0600":           {},
		"tcp://h:1?tls=auto":            {},
		"tcp://h:1?protocol=gosoc":      {},
		"tcp://h:1#x":                   {},
		"tcp://h":                       {},
		"ws://h:1":                      {},
	} {
		if got, err := ParseWorkerListen(text); got != want || (err == nil) != (want.Scheme != "") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// An address without its scheme is told what it would be with one, in words of ours.
func TestSchemeMeant(t *testing.T) {
	for text, want := range map[string]string{
		"0.0.0.0:7000":               `listen "0.0.0.0:7000": want SCHEME://HOST:PORT; did you mean tcp://0.0.0.0:7000?`,
		"localhost:7000":             `listen "localhost:7000": want SCHEME://HOST:PORT; did you mean tcp://localhost:7000?`,
		"tls:10.0.0.1:7000?proxy=on": `listen "tls:10.0.0.1:7000?proxy=on": want SCHEME://HOST:PORT; did you mean tls://10.0.0.1:7000?proxy=on?`,
		":7000":                      `listen ":7000": want SCHEME://HOST:PORT; did you mean tcp://:7000?`,
		"[::1]:7000?protocol=gosoc":  `listen "[::1]:7000?protocol=gosoc": want SCHEME://HOST:PORT; did you mean tcp://[::1]:7000?protocol=gosoc?`,
		"7000":                       `listen "7000": want tcp://HOST:PORT, or tls, ws or wss in place of tcp, or unix:///PATH, or fd://NAME`,
		"localhost:http":             `listen "localhost:http": want tcp://HOST:PORT, or tls, ws or wss in place of tcp, or unix:///PATH, or fd://NAME`,
		"0.0.0.0:99999":              `listen "0.0.0.0:99999": it has no scheme; want SCHEME://HOST:PORT`,
		"unix:7":                     `listen "unix:7": want unix:///PATH, or unix:@NAME on Linux`,
		"tcp://h:x":                  `listen "tcp://h:x": invalid port ":x" after host; want SCHEME://HOST:PORT`,
		"worker 127.0.0.1:1":         `worker "127.0.0.1:1": want tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH; did you mean tcp://127.0.0.1:1?`,
		"worker tcp://h:x":           `worker "tcp://h:x": invalid port ":x" after host; want tcp://HOST:PORT or tls://HOST:PORT`,
		"admin tcp://127.0.0.1:1":    `admin "tcp://127.0.0.1:1": want HOST:PORT, https://HOST:PORT, unix:///PATH or fd://NAME; did you mean http://127.0.0.1:1?`,
		"admin ftp://127.0.0.1:1":    `admin "ftp://127.0.0.1:1": want HOST:PORT, https://HOST:PORT, unix:///PATH or fd://NAME`,
	} {
		read := func(text string) (Listen, error) { return ParseListen(text) }
		if rest, ok := strings.CutPrefix(text, "worker "); ok {
			text, read = rest, ParseWorkerListen
		} else if rest, ok := strings.CutPrefix(text, "admin "); ok {
			text, read = rest, ParseAdminListen
		}
		if _, err := read(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// Start says which listener could not be opened, and why, and leaves nothing behind.
func TestListenError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := ln.Addr().String()
	for field, set := range map[string]func(*Config){
		"Listen":       func(c *Config) { c.Listen = []string{"tcp://127.0.0.1:0", "tcp://" + busy} },
		"WorkerListen": func(c *Config) { c.WorkerListen = "tcp://" + busy },
		"Admin":        func(c *Config) { c.Admin.Address = busy },
	} {
		c := Config{Listen: []string{"tcp://127.0.0.1:0"}, Dev: true}
		c.Gateway.Login = login.Open{}
		set(&c)
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Start()
		var e *ListenError
		if !errors.As(err, &e) || e.Field != field || e.Index != map[string]int{"Listen": 1}[field] || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %#v", field, err)
			continue
		}
		if want := "server: " + field + ": listen tcp " + busy + ": bind: address already in use"; err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Nobody can come through a proxy that nobody trusts.
func TestProxiedWorkersUntrusted(t *testing.T) {
	c := base()
	c.WorkerListen = "tcp://127.0.0.1:0?proxy=on"
	if _, err := New(c); !errors.Is(err, ErrNoProxyTrust) {
		t.Errorf("New: %v", err)
	}
	c.WorkerListen = "unix://" + filepath.Join(t.TempDir(), "s") + "?proxy=on"
	if s, err := New(c); err != nil || !s.hub.Config().Proxy {
		t.Errorf("on a unix socket: %v", err)
	}
}

func TestParseUnix(t *testing.T) {
	for text, want := range map[string]Listen{
		"unix:///run/s":                          {Scheme: "unix", Address: "/run/s", Protocol: "auto"},
		"unix:/run/s":                            {Scheme: "unix", Address: "/run/s", Protocol: "auto"},
		"unix:///run/a%20b%3Fc":                  {Scheme: "unix", Address: "/run/a b?c", Protocol: "auto"},
		"unix:///run/s?mode=0660&protocol=gosoc": {Scheme: "unix", Address: "/run/s", Protocol: "gosoc", Mode: 0o660},
		"ws+unix:///run/s?mode=7&owner=0:0":      {Scheme: "ws+unix", Address: "/run/s", Protocol: "auto", Mode: 0o7, Owner: "0:0"},
		"unix:@name":                             {Scheme: "unix", Address: "@name", Protocol: "auto"},
		"unix://@name?protocol=netsvr":           {Scheme: "unix", Address: "@name", Protocol: "netsvr"},
		"unix://run/s":                           {},
		"unix://user@/run/s":                     {},
		"unix:///run/s#x":                        {},
		"unix:run/s":                             {},
		"unix://":                                {},
		"ws+unix:///run/s?protocol=smtp":         {},
		"unix:///run/s?client-cert=required":     {},
		"unix:///run/s?mode=0":                   {},
		"unix:///run/s?mode=rw":                  {},
		"tcp://127.0.0.1:0?owner=0":              {},
		"wss+unix:///run/s":                      {},
		"unix:///" + strings.Repeat("x", 300):    {},
	} {
		got, err := ParseListen(text)
		if got != want || (err == nil) != (want.Scheme != "") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, ok := range map[string]bool{
		"unix:///run/s": true, "unix:///run/s?mode=0600&owner=0:0": true, "unix:@x": true, "unix:///run/s?protocol=auto": false,
		"ws+unix:///run/s": false, "unix://": false, "unix:///run/s?mode=1&mode=1": false, "unix:///run/s?client-cert=none": false,
	} {
		if l, err := ParseWorkerListen(text); (err == nil) != ok || ok && !l.Unix() {
			t.Errorf("worker %s: %+v, %v", text, l, err)
		}
		if l, err := ParseAdminListen(text); (err == nil) != ok || ok && !l.Unix() {
			t.Errorf("admin %s: %+v, %v", text, l, err)
		}
	}
}
