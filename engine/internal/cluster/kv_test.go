package cluster

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A gateway ends at what trying again does not mend. A bucket or a stream that was made a moment ago, of
// which the server that is asked does not know yet, is none of that.
func TestFinalErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		final bool
	}{
		{"not found", &jetstream.APIError{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound}, false},
		{"no leader", &jetstream.APIError{Code: 503, ErrorCode: 10008}, false},
		{"no JetStream", jetstream.ErrJetStreamNotEnabled, true},
		{"refused", &jetstream.APIError{Code: 400, ErrorCode: 10052}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bucket, stream := (*BucketError)(nil), (*StreamError)(nil)
			s := &kvStore{bus: &natsBus{}, bucket: "b"}
			if err := s.explain(tc.err); errors.As(err, &bucket) != tc.final || !tc.final && !errors.Is(err, tc.err) {
				t.Errorf("bucket: %v: final is %v, want %v", err, bucket != nil, tc.final)
			}
			h := &natsStream{bus: &natsBus{}, name: "h"}
			if err := h.explain(tc.err, StreamLimits{}); errors.As(err, &stream) != tc.final || !tc.final && !errors.Is(err, tc.err) {
				t.Errorf("stream: %v: final is %v, want %v", err, stream != nil, tc.final)
			}
		})
	}
}

// startMuteNATS starts a NATS server whose JetStream answers nothing, as while it has no leader. The
// channel has the subject of each question.
func startMuteNATS(t *testing.T) (url string, asked chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	asked = make(chan string, 16)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serveMuteNATS(conn, asked)
		}
	}()
	return "nats://" + ln.Addr().String(), asked
}

func serveMuteNATS(conn net.Conn, asked chan<- string) {
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, `INFO {"server_id":"mute","version":"2.15.2","headers":true,"jetstream":true,"max_payload":1048576}`+"\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 0:
		case words[0] == "PING":
			_, _ = io.WriteString(conn, "PONG\r\n")
		case words[0] == "PUB" || words[0] == "HPUB":
			asked <- words[1]
		}
	}
}

// Who opens the bucket and gets no answer keeps nobody else beyond their own time: a lease that waited for
// the watch would look as if the process had stood still.
func TestOpeningKeepsNobody(t *testing.T) {
	url, asked := startMuteNATS(t)
	bus := newNATSBus(&NATSConfig{Name: "default", URLs: []string{url}, Logger: slog.New(slog.DiscardHandler)}, "control")
	if err := bus.start(); err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.await(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newKVStore(bus, "b", "", nodesLife, nodesLife, 0, bus.log)
	opener, stop := context.WithCancel(t.Context())
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		_, _ = s.Get(opener, "key") // without a deadline: the library's is 5 s
	}()
	defer func() { stop(); <-opened }()
	<-asked

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Update(ctx, "key", nil, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Update while another opens the bucket: %v, want its own deadline", err)
	}
	_ = s.unfit()
	select {
	case <-opened:
		t.Error("Update waited until the other had given up")
	default:
	}
}
