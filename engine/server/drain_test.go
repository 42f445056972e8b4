package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// stopWithin stops s in the background.
func stopWithin(t *testing.T, s *Server, d time.Duration) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		done <- s.Stop(ctx)
	}()
	deadline := time.Now().Add(patience)
	for !s.Gateway().Draining() {
		if time.Now().After(deadline) {
			t.Fatal("the stop does not begin")
		}
		time.Sleep(time.Millisecond)
	}
	return done
}

// A stop has deferred requests answered, refuses new ones in their turn, and says goodbye then.
func TestStopAnswersFirst(t *testing.T) {
	tickets := make(chan Ticket, 1)
	s, addr := begin(t, Config{}, func(s *Server) {
		if err := s.Handle("later", func(r *Request) { tickets <- r.Defer() }); err != nil {
			t.Fatal(err)
		}
	})
	ann := dialGOSOC(t, addr, "ann")
	ann.ask("later", "")
	ticket := receive(t, tickets)
	done := stopWithin(t, s, patience)
	bob := len(tickets)
	ann.ask("later", "")
	s.Gateway().Answer(ticket, 0, []byte(`"late"`))
	ann.wantReply(`"late"`)
	if bob != 0 || len(tickets) != 0 {
		t.Error("a request was served during the stop")
	}
	h, body := ann.next()
	if h.Type == gosoc.TypeSendResp { // it came before the goodbye
		if !strings.Contains(string(body), "shutting down") {
			t.Errorf("a request during the stop: %q", body)
		}
		h, _ = ann.next()
	}
	if h.Type != gosoc.TypeDisconnect {
		t.Errorf("%v, want a Disconnect", h.Type)
	}
	ann.wantEnd()
	ann.Close()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// What nobody answers is refused when most of the time is over.
func TestStopWithoutAnswers(t *testing.T) {
	tickets := make(chan Ticket, 1)
	s, addr := begin(t, Config{}, func(s *Server) {
		if err := s.Handle("never", func(r *Request) { tickets <- r.Defer() }); err != nil {
			t.Fatal(err)
		}
	})
	ann := dialGOSOC(t, addr, "ann")
	ann.ask("never", "")
	receive(t, tickets)
	done := stopWithin(t, s, time.Second)
	ann.wantReply(`{"status":5,"message":"shutting down","data":null}`)
	ann.wantDisconnect()
	ann.Close()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// A client that was told and stays is no error; one to which something is unsent is, whether the stop's
// time ends it or its own.
func TestStopTells(t *testing.T) {
	for _, tt := range []struct {
		reads  bool
		linger time.Duration
		want   string // in the error
	}{
		{true, patience, ""},
		{true, 100 * time.Millisecond, ""},
		{false, patience, "1 connections left"},
		{false, 100 * time.Millisecond, "1 connections cut off with something unsent"},
	} {
		var log syncbuf.Buffer
		config := Config{Engine: engine.Config{Linger: tt.linger, SendBuffer: 16 << 10}}
		config.Gateway.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s, addr := begin(t, config)
		ann := dialGOSOC(t, addr, "ann")
		if !tt.reads {
			if n, err := s.Send(t.Context(), User("ann"), bytes.Repeat([]byte("x"), 8<<20)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		done := stopWithin(t, s, time.Second)
		err := receive(t, done) // ann has not closed her side
		if (err == nil) != (tt.want == "") || err != nil && strings.Count(err.Error(), tt.want) != 1 {
			t.Errorf("reads %v, linger %v: %v, want %q once", tt.reads, tt.linger, err, tt.want)
		}
		if tt.want != "" && !strings.Contains(log.String(), tt.want) {
			t.Errorf("reads %v, linger %v: no line", tt.reads, tt.linger)
		}
		ann.Close()
	}
}
