package clustertest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/cluster"
)

// ack waits for the answer to a frame.
func ack(t *testing.T, s cluster.Stream) cluster.StreamAck {
	t.Helper()
	select {
	case k := <-s.Acks():
		return k
	case <-time.After(patience):
		t.Fatal("no answer to a frame")
		return cluster.StreamAck{}
	}
}

// A stream keeps frames once each, tells the last ones, and gives them back in order.
func TestStream(t *testing.T) {
	t.Parallel()
	server := startNATS(t, nil)
	s := connect(t, cluster.NATSConfig{URLs: []string{server.url()}}).History()
	if _, err := s.State(t.Context()); !errors.Is(err, cluster.ErrNoStream) {
		t.Errorf("there is none yet: %v", err)
	}
	limits := cluster.StreamLimits{PerSubject: 100, Age: time.Minute, Bytes: 64 << 20}
	st, err := s.Open(t.Context(), limits)
	if err != nil || st.Epoch == 0 || st.Last != 0 || st.First != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
	subject := func(i int) string { return fmt.Sprintf("sluice.test.h.t%d", i) }
	for i := range 3000 {
		if err := s.Append(subject(i%30), fmt.Sprint("id-", i), fmt.Appendf(nil, "frame %d", i), uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3000 {
		if k := ack(t, s); k.Err != nil || k.Ticket != uint64(i+1) || k.Seq != uint64(i+1) || k.Duplicate {
			t.Fatalf("%+v", k)
		}
	}
	if err := s.Append(subject(1), "id-7", []byte("again"), 9999); err != nil {
		t.Fatal(err)
	}
	if k := ack(t, s); k.Err != nil || !k.Duplicate || k.Seq != 8 || k.Ticket != 9999 {
		t.Errorf("the same again: %+v", k)
	}
	last, err := s.Last(t.Context(), []string{subject(3), subject(4), subject(77)}, 1)
	if err != nil || len(last) != 2 || last[subject(3)] != 2974 || last[subject(4)] != 2975 {
		t.Errorf("%v, %v", last, err)
	}
	if last, err := s.Last(t.Context(), []string{subject(3), subject(4)}, 2975); err != nil || len(last) != 1 {
		t.Errorf("from 2975: %v, %v", last, err)
	}
	if last, err := s.Last(t.Context(), []string{subject(88)}, 1); err != nil || len(last) != 0 {
		t.Errorf("of none: %v, %v", last, err)
	}
	var subjects []string
	for i := range 30 {
		subjects = append(subjects, subject(i))
	}
	next := uint64(100)
	err = s.Read(t.Context(), subjects, next, func(f cluster.Stored) bool {
		if f.Seq != next || f.Subject != subject(int(next-1)%30) || string(f.Frame) != fmt.Sprintf("frame %d", next-1) ||
			time.Since(f.At) > patience {
			t.Fatalf("%+v, want %d", f, next)
		}
		next++
		return true
	})
	if err != nil || next != 3001 {
		t.Errorf("read up to %d, %v", next, err)
	}
	n := 0
	err = s.Read(t.Context(), subjects[:1], 1, func(cluster.Stored) bool { n++; return n < 5 })
	if err != nil || n != 5 {
		t.Errorf("%d frames, %v", n, err)
	}
	err = s.Read(t.Context(), []string{subject(77)}, 1, func(cluster.Stored) bool { t.Error("a frame"); return true })
	if err != nil {
		t.Error(err)
	}

	// It keeps more if that is wanted, and never less; and remembers what it has kept before.
	limits.PerSubject = 200
	if st, err = s.Open(t.Context(), limits); err != nil || len(st.Low) != 1 || len(st.Wrong)+len(st.Other) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if changed, err := s.Mend(t.Context(), limits); err != nil || !changed {
		t.Errorf("%v, %v", changed, err)
	}
	if st, err = s.State(t.Context()); err != nil || st.Limits.PerSubject != 200 || st.Kept != 100 || st.Last != 3000 || len(st.Low) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	limits.PerSubject = 10
	if st, err = s.Open(t.Context(), limits); err != nil || st.Limits.PerSubject != 200 || len(st.Low) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if changed, err := s.Mend(t.Context(), limits); err != nil || changed {
		t.Errorf("%v, %v", changed, err)
	}
	limits.PerSubject = 300
	if _, err := s.Mend(t.Context(), limits); err != nil {
		t.Error(err)
	}
	if st, err = s.State(t.Context()); err != nil || st.Limits.PerSubject != 300 || st.Kept != 100 {
		t.Errorf("%+v, %v", st, err)
	}
}
