package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCloseCodes(t *testing.T) {
	for _, v := range []struct {
		from, to CloseCode
		server   bool // a server takes it from a client
		client   bool // and the other way round
	}{
		{0, 999, false, false},
		{1000, 1003, true, true},
		{1004, 1006, false, false},
		{1007, 1011, true, true},
		{1012, 1014, false, true},
		{1015, 2999, false, false},
		{3000, 4999, true, true},
		{5000, 65535, false, false},
	} {
		for _, code := range []CloseCode{v.from, (v.from + v.to) / 2, v.to} {
			payload := binary.BigEndian.AppendUint16(nil, uint16(code))
			if _, _, err := parseClose(payload, false); (err == nil) != v.server {
				t.Errorf("server, %d: %v", code, err)
			}
			if _, _, err := parseClose(payload, true); (err == nil) != v.client {
				t.Errorf("client, %d: %v", code, err)
			}
			if code.Valid() != v.server {
				t.Errorf("%d.Valid() = %v", code, code.Valid())
			}
		}
	}
}

func TestParseClose(t *testing.T) {
	for _, v := range []struct {
		name, payload string
		code          CloseCode
		reason        string
		err           error
	}{
		{"nothing", ``, CloseNoStatus, "", nil},
		{"half a code", `03`, 0, "", ErrClosePayload},
		{"code", `03e8`, CloseNormal, "", nil},
		{"code and reason", `03e9 627965`, CloseGoingAway, "bye", nil},
		{"reason not UTF-8", `03e8 cec0ff`, 0, "", ErrUTF8},
		{"reason cut in a code point", `03e8 ce`, 0, "", ErrUTF8},
		{"no status on the wire", `03ed`, 0, "", ErrCloseCode},
		{"code 0", `0000`, 0, "", ErrCloseCode},
	} {
		code, reason, err := parseClose(unhexes(v.payload), false)
		if code != v.code || string(reason) != v.reason || err != v.err {
			t.Errorf("%s: %d, %q, %v", v.name, code, reason, err)
		}
	}
}

func TestAppendClose(t *testing.T) {
	for _, v := range []struct {
		name, reason string
		want         int // bytes of the reason that remain
	}{
		{"empty", "", 0},
		{"short", "bye", 3},
		{"just fits", strings.Repeat("a", 123), 123},
		{"one too many", strings.Repeat("a", 124), 123},
		{"cut after two bytes of three", strings.Repeat("a", 121) + "\u20ac", 121},
		{"cut after one byte of four", strings.Repeat("a", 122) + "\U0001f600", 122},
		{"code point ends at the limit", strings.Repeat("a", 120) + "\u20ac\u20ac", 123},
	} {
		wire := AppendClose(nil, 4001, v.reason)
		h, n, err := ParseHeader(wire)
		if err != nil || h.Opcode != OpClose || int(h.Length) != len(wire)-n {
			t.Fatalf("%s: %+v, %v", v.name, h, err)
		}
		code, reason, err := parseClose(wire[n:], false)
		if err != nil || code != 4001 || string(reason) != v.reason[:v.want] {
			t.Errorf("%s: %d, %q, %v", v.name, code, reason, err)
		}
		if !bytes.Equal(AppendClosePayload(nil, 4001, v.reason), wire[n:]) {
			t.Errorf("%s: AppendClosePayload differs", v.name)
		}
	}
	if wire := AppendClose(nil, CloseNoStatus, "ignored"); !bytes.Equal(wire, unhexes(`8800`)) {
		t.Errorf("no status: %x", wire)
	}
	if payload := AppendClosePayload(nil, 0, "ignored"); len(payload) != 0 {
		t.Errorf("no status: %x", payload)
	}
	if wire := AppendClose(nil, CloseNormal, "a\xffb"); !utf8.Valid(wire[4:]) || len(wire) != 7 {
		t.Errorf("reason not UTF-8: %q", wire)
	}
}

func TestCodeOf(t *testing.T) {
	for _, v := range []struct {
		err  error
		want CloseCode
	}{
		{ErrUTF8, CloseInvalidPayload},
		{fmt.Errorf("conn 7: %w", ErrTooBig), CloseMessageTooBig},
		{errors.New("anything else"), CloseInternalError},
	} {
		if got := CodeOf(v.err); got != v.want {
			t.Errorf("%v: %d, want %d", v.err, got, v.want)
		}
	}
}
