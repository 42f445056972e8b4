package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// Who names more topics than may have history reaches their subscribers, and takes history from nobody.
// Who comes back to such a topic is told that messages may be gone.
func TestMoreTopicsThanMayHaveHistory(t *testing.T) {
	t.Parallel()
	e, addr, s := startKeeper(t, Config{History: HistoryLimits{Topics: 2}}, ListenConfig{}, "*=10,1m")
	publishNumbers(t, e, "a", 1, 3)
	publishNumbers(t, e, "b", 1, 3)
	k := dialKeeper(t, addr, "NAME ann", "LAST 2 a")
	k.want("RESUMED 0", "SUBSCRIBED true", "2", "3")
	k.send("LAST 5 c")
	k.want("SUBSCRIBED true")
	for _, name := range []string{"c", "d", "e", "f"} {
		publishNumbers(t, e, name, 1, 2)
	}
	k.want("1", "2") // of c, live
	if _, ok, err := e.NewPublisher().PublishAt([]byte("d"), Push{}); ok || err != nil {
		t.Errorf("a topic that has no history gives a position, %v", err)
	}
	k.cut(s, "ann")
	publishNumbers(t, e, "a", 4, 5)
	publishNumbers(t, e, "c", 3, 4)
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 2")
	var got []string
	for range 3 {
		line, err := k.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(line))
	}
	if all := strings.Join(got, " "); all != "GAP c 4 5" && all != "4 GAP c 5" && all != "4 5 GAP c" {
		t.Errorf("received %q", all)
	}
	if st := e.History().Stats(); st.Topics != 2 || st.Refused == 0 {
		t.Errorf("%d topics, %d refused", st.Topics, st.Refused)
	}
	if err := e.SetHistory(HistoryLimits{Rules: []topic.Rule{{Pattern: "*", Count: 10, Age: time.Second}}}); err != nil {
		t.Fatal(err)
	}
	publishNumbers(t, e, "c", 5, 5)
	k.want("5")
}

func TestTopicsWithoutHistoryAreLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	e, err := New(Config{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		History: HistoryLimits{Topics: 1, Rules: []topic.Rule{{Pattern: "*", Count: 10, Age: time.Minute}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	record := topic.AppendRecord(nil, "", 0, []byte("kept"))
	for _, name := range []string{"a", "b", "c"} {
		if st := e.streamOf([]byte(name)); st != nil {
			st.Lock()
			e.history.Append(st, e.Now(), record)
			st.Unlock()
		}
		e.ExpireHistory()
	}
	if n := strings.Count(log.String(), "topics get no history"); n != 1 {
		t.Errorf("it was logged %d times: %s", n, log.String())
	}
}
