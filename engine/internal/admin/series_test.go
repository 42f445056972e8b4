package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// TestSeriesAreBounded: what clients are called and subscribe to makes no series, and no label has a
// word from the wire. There are at least 60 families, and at most 2,000 series.
func TestSeriesAreBounded(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.Login = login.Open{} })
	count := func() (families, series int, text string) {
		_, text = fetch(t, s.AdminURL()+"/metrics")
		for line := range strings.Lines(text) {
			switch {
			case strings.HasPrefix(line, "# TYPE sluice_"):
				families++
			case !strings.HasPrefix(line, "#"):
				series++
			}
		}
		return families, series, text
	}
	_, before, _ := count()
	for i := range 30 {
		var topics []string
		for j := range 40 {
			topics = append(topics, fmt.Sprintf("chosen-topic-%d-%d", i, j))
		}
		c := member(t, s, fmt.Sprintf("chosen-user-%d", i), topics...)
		call(t, c, fmt.Sprintf("chosen.Route%d", i), "{}")
	}
	families, after, text := count()
	if families < 60 || after > 2000 || after > before+10 {
		t.Errorf("%d families; %d series, %d before anybody came", families, after, before)
	}
	if i := strings.Index(text, "chosen"); i >= 0 {
		t.Errorf("a word from the wire: %s", text[max(0, i-80):i+80])
	}
	t.Logf("%d families, %d series", families, after)
}
