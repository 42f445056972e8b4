package admin_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// history looks at what topics have kept.
func (a *apiClient) history(e *engine.Engine) {
	a.t.Helper()
	const path = "/api/v1/topics/{name}/history"
	get := func(query string, status int) (page struct {
		Position string
		Lost     bool
		Messages []struct {
			Position, Route, Payload string
			Sequence                 uint64
			Base64                   bool
		}
		Next *string
	}) {
		a.t.Helper()
		var v any
		if status == 200 {
			v = &page
		}
		a.get(path, "/api/v1/topics/kept/history"+query, status, v)
		return page
	}
	a.get(path, "/api/v1/topics/plain/history", 404, nil)
	a.get(path, "/api/v1/topics/kept/history?name=plain", 404, nil) // the parameter counts
	a.get(path, "/api/v1/topics/"+strings.Repeat("x", 2000)+"/history", 400, nil)
	rules := []topic.Rule{{Pattern: "kept", Count: 10, Age: time.Minute}}
	if err := e.SetHistory(engine.HistoryLimits{Rules: rules}); err != nil {
		a.t.Fatal(err)
	}
	if page := get("", 200); len(page.Messages) != 0 || page.Next != nil || page.Lost {
		a.t.Errorf("a topic to which nothing was published: %+v", page)
	}
	a.get(path, "/api/v1/topics/-/history?name=kept", 200, nil)
	pb := e.NewPublisher()
	for i := range 12 {
		_ = pb.Publish([]byte("kept"), engine.Push{Route: "push", Payload: fmt.Appendf(nil, "%d", i+1)})
	}
	pb.Flush()
	page := get("?limit=4", 200)
	if len(page.Messages) != 4 || page.Messages[0].Payload != "3" || page.Messages[0].Sequence != 3 || page.Next == nil {
		a.t.Fatalf("the first four: %+v", page)
	}
	page = get("?after="+*page.Next, 200)
	if len(page.Messages) != 6 || page.Messages[5].Payload != "12" || page.Messages[5].Position != page.Position || page.Next != nil || page.Lost {
		a.t.Errorf("the rest: %+v", page)
	}
	if page = get("?last=2", 200); len(page.Messages) != 2 || page.Messages[0].Payload != "11" {
		a.t.Errorf("the last two: %+v", page)
	}
	if page = get("?after="+strings.TrimSuffix(page.Position, "12")+"1", 200); !page.Lost || len(page.Messages) != 10 {
		a.t.Errorf("behind the first, which is gone with the second: %+v", page)
	}
	if page = get("?after=7-1", 200); !page.Lost || len(page.Messages) != 10 {
		a.t.Errorf("behind another history's: %+v", page)
	}
	for _, query := range []string{"?after=x", "?after=1", "?last=-1", "?last=x", "?after=1-1&last=2", "?since=1"} {
		get(query, 400)
	}
}
