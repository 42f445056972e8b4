package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/topic"
)

// An answeringLog answers with what it has behind a position.
type answeringLog struct {
	fill engine.Fill
	err  error
	mute bool
}

func (l *answeringLog) Append([]byte, []byte, int, func(topic.Position, error)) {}
func (l *answeringLog) Full([]byte) bool                                        { return false }
func (l *answeringLog) Away() error                                             { return nil }
func (l *answeringLog) Now() time.Time                                          { return time.Now() }

func (l *answeringLog) Fetch(_ string, after topic.Position, _ int64, _ uint64, done func(engine.Fill, error)) {
	if l.mute {
		return
	}
	f := l.fill
	if after.Epoch == f.Epoch {
		f.Frames = nil
		f.First = max(f.First, after.Seq+1)
		for _, m := range l.fill.Frames {
			if m.Seq > after.Seq {
				f.Frames = append(f.Frames, m)
			}
		}
	}
	go done(f, l.err)
}

// In a cluster, what a topic has kept is what the log has, as far as the topic's rule here wants it.
func TestLoggedHistory(t *testing.T) {
	t.Parallel()
	g, err := New(Config{Login: login.Open{}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	log := &answeringLog{fill: engine.Fill{Epoch: 7, First: 900, Last: 9999}}
	for i, n := range []int{1, 2, 3} { // messages 1000; 1999, 2000; 2998, 2999, 3000
		var records []byte
		for k := range n {
			records = topic.AppendRecord(records, "", 0, fmt.Append(nil, i+1, k))
		}
		at := now - 50_000
		if i == 0 {
			at -= 20_000
		}
		log.fill.Frames = append(log.fill.Frames, engine.Frame{Seq: uint64(1000 * (i + 1)), At: at, Records: records})
	}
	e, err := engine.New(engine.Config{Log: log, Loops: 1, History: engine.HistoryLimits{Rules: []topic.Rule{
		{Pattern: "few", Count: 4, Age: time.Hour}, {Pattern: "new", Count: 100, Age: time.Minute}, {Pattern: "all", Count: 100, Age: time.Hour},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	g.Bind(e)
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	for _, tt := range []struct {
		topic string
		q     HistoryQuery
		want  string
	}{
		{"all", HistoryQuery{}, "lost=false end=7-3000 1000 1999 2000 2998 2999 3000"},
		{"few", HistoryQuery{}, "lost=false end=7-3000 2000 2998 2999 3000"},
		{"new", HistoryQuery{}, "lost=false end=7-3000 1999 2000 2998 2999 3000"},
		{"all", HistoryQuery{Limit: 2}, "lost=false end=7-3000 1000 1999"},
		{"all", HistoryQuery{Bytes: 5}, "lost=false end=7-3000 1000"},
		{"all", HistoryQuery{Last: 3}, "lost=false end=7-3000 2998 2999 3000"},
		{"few", HistoryQuery{Last: 5}, "lost=false end=7-3000 2000 2998 2999 3000"},
		{"all", HistoryQuery{After: &topic.Position{Epoch: 7, Seq: 2000}}, "lost=false end=7-3000 2998 2999 3000"},
		{"all", HistoryQuery{After: &topic.Position{Epoch: 7, Seq: 950}}, "lost=false end=7-3000 1000 1999 2000 2998 2999 3000"},
		{"all", HistoryQuery{After: &topic.Position{Epoch: 7, Seq: 800}}, "lost=true end=7-3000 1000 1999 2000 2998 2999 3000"},
		{"few", HistoryQuery{After: &topic.Position{Epoch: 7, Seq: 1000}}, "lost=true end=7-3000 2000 2998 2999 3000"},
		{"new", HistoryQuery{After: &topic.Position{Epoch: 7, Seq: 999}}, "lost=true end=7-3000 1999 2000 2998 2999 3000"},
		{"all", HistoryQuery{After: &topic.Position{Epoch: 6, Seq: 3000}}, "lost=true end=7-3000 1000 1999 2000 2998 2999 3000"},
		{"all", HistoryQuery{After: &topic.Position{Epoch: 7, Seq: 3000}}, "lost=false end=7-3000"},
	} {
		if tt.q.Bytes == 0 {
			tt.q.Bytes = 1 << 20
		}
		h, ok, err := g.History(t.Context(), []byte(tt.topic), tt.q)
		got := []string{fmt.Sprintf("lost=%v end=%d-%d", h.Lost, h.End.Epoch, h.End.Seq)}
		for _, m := range h.Messages {
			got = append(got, fmt.Sprint(m.Seq))
			if m.Time.UnixMilli() > now-50_000 {
				t.Errorf("%s: message %d is of %v", tt.topic, m.Seq, m.Time)
			}
		}
		if all := strings.Join(got, " "); !ok || err != nil || all != tt.want {
			t.Errorf("%s, %+v: %s (%v, %v), want %s", tt.topic, tt.q, all, ok, err, tt.want)
		}
	}
	if _, ok, _ := g.History(t.Context(), []byte("plain"), HistoryQuery{}); ok {
		t.Error("a topic without a rule has history")
	}
	log.err = errors.New("refused")
	if _, _, err := g.History(t.Context(), []byte("all"), HistoryQuery{}); !errors.Is(err, log.err) {
		t.Errorf("an error is %v", err)
	}
	log.mute = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := g.History(ctx, []byte("all"), HistoryQuery{}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}
