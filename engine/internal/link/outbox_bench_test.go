package link

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/notsent"
)

// tcpPair is a connection over loopback.
func tcpPair(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if theirs, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// writing runs an outbox's writer on conn until the benchmark ends.
func writing(b *testing.B, o *outbox, conn net.Conn) {
	written := make(chan error, 1)
	go func() { written <- o.write(conn, patience, func(int) {}) }()
	b.Cleanup(func() { // before tcpPair's
		o.close()
		if err := <-written; err != nil {
			b.Error(err)
		}
		o.release()
	})
}

// A frame on its way to a worker that keeps up, and the worker's answer.
func BenchmarkOutboxRoundTrip(b *testing.B) {
	ours, theirs := tcpPair(b)
	o, frame, client := newOutbox(16<<20), make([]byte, 150), uint64(1)
	notsent.Limit(ours, batchSize)
	writing(b, o, ours)
	go func() {
		buf := make([]byte, len(frame))
		for {
			if _, err := io.ReadFull(theirs, buf); err != nil {
				return
			}
			if _, err := theirs.Write(buf[:1]); err != nil {
				return
			}
		}
	}()
	answer := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		o.putFor(client, len(frame), func(dst []byte) []byte { return append(dst, frame...) })
		if _, err := io.ReadFull(ours, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// Messages of 64 clients on two loops as fast as a worker takes them.
func BenchmarkOutboxFlood(b *testing.B) {
	ours, theirs := tcpPair(b)
	o, frame := newOutbox(16<<20), make([]byte, 150)
	notsent.Limit(ours, batchSize)
	writing(b, o, ours)
	go func() { _, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{theirs}, make([]byte, 64<<10)) }()
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	b.ResetTimer()
	var loops sync.WaitGroup
	for loop := range uint64(2) {
		loops.Go(func() {
			for i := range uint64(b.N / 2) {
				client := (loop<<32 | i%32) * 0x9E3779B97F4A7C15
				for !o.putFor(client, len(frame), func(dst []byte) []byte { return append(dst, frame...) }) {
					runtime.Gosched()
				}
			}
		})
	}
	loops.Wait()
}
