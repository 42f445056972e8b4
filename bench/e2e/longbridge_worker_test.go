package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// longbridgeClient is a client of version 1 over TCP, online.
func longbridgeClient(t *testing.T, p *process) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write([]byte("\x11\x09" + "\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x05\x0a\x03ann"))
	if head, body := longbridgePacket(t, conn); head[1] != 2 || head[6] != 0 {
		t.Fatalf("Auth was answered with %x %x", head, body)
	}
	return conn
}

// longbridgePacket reads a response or push: its header and its body.
func longbridgePacket(t *testing.T, conn net.Conn) (head, body []byte) {
	t.Helper()
	head = make([]byte, 10)
	read := func(b []byte) {
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatalf("want a packet: %v", err)
		}
	}
	read(head[:5])
	if head[0] == 2 {
		read(head[5:])
	} else {
		head = head[:5]
	}
	var size [4]byte
	copy(size[1:], head[len(head)-3:])
	body = make([]byte, binary.BigEndian.Uint32(size[:]))
	read(body)
	return head, body
}

// What a worker says of a failure reaches a Longbridge client as an Error; what a push cannot have for
// a command reaches nobody, and is counted.
func TestLongbridgeWorker(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l := p.workerServer(t, 1)
	conn := longbridgeClient(t, p)
	for _, tt := range []struct {
		reply  workerMsg
		status byte
		body   string
	}{
		{workerMsg(nil).num(3, 3).text(5, "no such symbol"), 3, "\x08\x90\x03\x12\x0eno such symbol"},
		{workerMsg(nil).num(3, 4).text(5, "refused"), 3, "\x08\x90\x03\x12\x07refused"},
		{workerMsg(nil).num(3, 6).text(5, "not yours"), 6, "\x08\x93\x03\x12\x09not yours"},
		{workerMsg(nil).num(3, 7).text(5, "broken"), 7, "\x08\xf4\x03\x12\x06broken"},
		{workerMsg(nil).num(3, 3), 3, "\x08\x90\x03\x12\x0erequest failed"},
		{workerMsg(nil).num(3, 3).text(4, "own").text(5, "not this"), 3, "own"},
		{workerMsg(nil).text(5, "all is well"), 0, ""},
	} {
		_, _ = conn.Write([]byte("\x01\x64\x00\x00\x00\x07\x00\x00\x00\x00\x00"))
		r := l.event(workerRequest)
		l.send(workerReply, append(workerMsg(nil).text(1, r.text(1)).num(2, r.num(6)), tt.reply...))
		head, body := longbridgePacket(t, conn)
		if head[6] != tt.status || string(body) != tt.body {
			t.Errorf("%x: status %d, %q, want %d, %q", tt.reply, head[6], body, tt.status, tt.body)
		}
	}

	_, _ = conn.Write([]byte("\x01\x64\x00\x00\x00\x07\x00\x00\x00\x00\x00"))
	r := l.event(workerRequest)
	for _, cmd := range []int64{1, 3, 256, 257, 1 << 31, 101} {
		l.send(workerPush, workerMsg(nil).text(1, r.text(1)).num(4, cmd).text(5, "push"))
	}
	if head, body := longbridgePacket(t, conn); head[0] != 3 || head[1] != 101 || !bytes.Equal(body, []byte("push")) {
		t.Errorf("got %x %q, want the push with command 101 alone", head, body)
	}
	if n := p.metrics()[`sluice_worker_bad_commands_total{reason="push-command"}`]; n != 5 {
		t.Errorf("%v refused pushes are counted, want 5", n)
	}
	l.wantAlive()
}
