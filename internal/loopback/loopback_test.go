package loopback

import (
	"net"
	"testing"
)

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost":           true,
		"LocalHost":           true,
		"localhost.":          true,
		"127.0.0.1":           true,
		"127.9.9.9":           true,
		"::1":                 true,
		"::1%lo":              true,
		"::ffff:127.0.0.1":    true,
		"":                    false,
		".":                   false,
		"0.0.0.0":             false,
		"::":                  false,
		"10.0.0.1":            false,
		"localhost.localhost": false,
		"a.localhost":         false,
		"localhost.example":   false,
		"localhost..":         false,
		"127.1":               false,
		"[::1]":               false,
	} {
		if got := Host(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestHostPort(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:80": true,
		"[::1]:80":     true,
		"localhost:":   true,
		":80":          false,
		"[::]:80":      false,
		"127.0.0.1":    false,
		"::1:80":       false,
	} {
		if got := HostPort(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func TestAddr(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, true},
		{&net.TCPAddr{IP: net.IPv6loopback}, true},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, false},
		{&net.TCPAddr{IP: net.IPv6zero}, false},
		{&net.TCPAddr{}, false},
		{&net.UnixAddr{Name: "/run/s", Net: "unix"}, true},
	} {
		if got := Addr(tt.addr); got != tt.want {
			t.Errorf("%v: %v", tt.addr, got)
		}
	}
}
