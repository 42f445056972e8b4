package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// A topicRow is a topic that has subscribers.
type topicRow struct {
	Topic       string  `json:"topic"`
	Subscribers int     `json:"subscribers"`
	Messages    uint64  `json:"messages"`   // published since it has subscribers
	Deliveries  uint64  `json:"deliveries"` // of these, once for each subscriber
	PerSecond   float64 `json:"messagesPerSecond"`
}

type topicsPage struct {
	Topics []topicRow `json:"topics"`
	Next   *string    `json:"next"`
	Total  int        `json:"total"` // topics in all
}

func (s *Server) apiTopics(r *http.Request) (any, error) {
	q := parameters(r, "limit", "cursor", "prefix", "search", "sort")
	limit, after := q.limit(), q.text("cursor")
	prefix, search := q.text("prefix"), strings.ToLower(q.text("search"))
	order := q.oneOf("sort", topicSorts...)
	key, down := strings.CutPrefix(order, "-")
	byName := key == "" || key == "name"
	if after != "" && !byName {
		q.fail("cursor: goes with sort=name and sort=-name only")
	}
	if q.err != nil {
		return nil, q.err
	}
	dir := s.engine.Topics()
	names := slices.DeleteFunc(dir.Names(nil), func(name string) bool {
		before := down && name >= after || !down && name <= after
		return after != "" && before || !strings.HasPrefix(name, prefix) || search != "" && !strings.Contains(strings.ToLower(name), search)
	})
	page := topicsPage{Topics: []topicRow{}, Total: dir.Len()}
	if !byName {
		rows, err := s.firstTopics(r.Context(), names, topicOrder(key, down), limit)
		page.Topics = append(page.Topics, rows...)
		return page, err
	}
	slices.Sort(names)
	if down {
		slices.Reverse(names)
	}
	if len(names) > limit {
		names = names[:limit]
		page.Next = &names[limit-1]
	}
	rows, err := s.topicRows(r.Context(), names)
	page.Topics = append(page.Topics, rows...)
	return page, err
}

// topicKeys are what topics may be sorted by, besides their names.
var topicKeys = map[string]func(*topicRow) float64{
	"subscribers":       func(r *topicRow) float64 { return float64(r.Subscribers) },
	"messages":          func(r *topicRow) float64 { return float64(r.Messages) },
	"deliveries":        func(r *topicRow) float64 { return float64(r.Deliveries) },
	"messagesPerSecond": func(r *topicRow) float64 { return r.PerSecond },
}

var topicSorts = func() []string {
	names := []string{"name", "-name"}
	for name := range topicKeys {
		names = append(names, name, "-"+name)
	}
	slices.Sort(names)
	return names
}()

// topicOrder compares topics, those that are equal by their names.
func topicOrder(key string, down bool) func(a, b topicRow) int {
	of := topicKeys[key]
	return func(a, b topicRow) int {
		n := cmp.Compare(of(&a), of(&b))
		if down {
			n = -n
		}
		return cmp.Or(n, strings.Compare(a.Topic, b.Topic))
	}
}

// topicsAtOnce is how many topics are described to find the first of them.
const topicsAtOnce = 4096

// firstTopics describes the first topics in an order, limit of them at most.
func (s *Server) firstTopics(ctx context.Context, names []string, order func(a, b topicRow) int, limit int) (first []topicRow, err error) {
	for part := range slices.Chunk(names, topicsAtOnce) {
		rows, err := s.topicRows(ctx, part)
		if err != nil {
			return nil, err
		}
		first = append(first, rows...)
		slices.SortFunc(first, order)
		first = first[:min(len(first), limit)]
	}
	return first, nil
}

// topicRows describes topics; those that have no subscribers any more are left out.
func (s *Server) topicRows(ctx context.Context, names []string) (rows []topicRow, err error) {
	dir := s.engine.Topics()
	keys := make([]topic.Key, len(names)) // the zero Key has no rate
	for i, name := range names {
		keys[i], _ = dir.Lookup([]byte(name))
	}
	parts := make([][]engine.TopicRate, s.engine.Loops())
	if err := s.eachLoop(func(loop int) error {
		found := make([]engine.TopicRate, len(keys))
		parts[loop] = found
		for n := 0; n < len(keys); {
			if err := s.onLoop(ctx, loop, func(l *engine.Loop) {
				for sl := newSlice(16); n < len(keys) && !sl.over(); n++ {
					found[n] = l.TopicRate(keys[n])
				}
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	rates := make([]topicRow, len(names))
	for _, found := range parts {
		for i, rate := range found {
			row := &rates[i]
			row.Messages, row.PerSecond = max(row.Messages, rate.Messages), max(row.PerSecond, rate.PerSecond)
			row.Deliveries += rate.Deliveries
		}
	}
	for i, name := range names {
		if rates[i].Subscribers = dir.Count([]byte(name)); rates[i].Subscribers > 0 {
			rates[i].Topic = name
			rows = append(rows, rates[i])
		}
	}
	return rows, nil
}

func (s *Server) apiTopic(r *http.Request) (any, error) {
	q := parameters(r, "name")
	name := q.part(r, "name")
	if q.err != nil {
		return nil, q.err
	}
	rows, err := s.topicRows(r.Context(), []string{name})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, notThere("topic %q has no subscribers", clip(name))
	}
	return rows[0], nil
}
