package admin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/cluster"
	"github.com/sluicenet/sluice/engine/internal/link"
)

// clusterCollector has all that a gateway of a cluster says of it.
func clusterCollector() *collector {
	st := cluster.Stats{Nodes: 255, Commands: cluster.RPCStats{
		Refused: map[string]uint64{"away": 1, "too_long": 2}, Ignored: map[string]uint64{"foreign": 1},
	}, Sessions: cluster.SessionStats{Refused: map[string]uint64{"unknown": 1}}}
	return newCollector(func(p *page) {
		collectCluster(p, &st)
		collectElsewhere(p, link.FarStats{})
	}, nil)
}

// TestClusterFamilies: the metrics of a cluster are linted like the others, docs/cluster.md knows each
// family, and what there is grows with neither nodes nor topics nor anything from the wire: the labels
// are few, and so are the series.
func TestClusterFamilies(t *testing.T) {
	t.Parallel()
	problems, err := lint(clusterCollector())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	docs, err := os.ReadFile("../../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`sluice_cluster_[a-z_]+`).FindAllString(string(docs), -1)
	list, kinds := parsePage(t, scrape(t, clusterCollector()))
	for name := range kinds {
		if !slices.Contains(known, name) {
			t.Errorf("docs/cluster.md does not name %s", name)
		}
	}
	for _, name := range known {
		if kinds[name] == "" {
			t.Errorf("docs/cluster.md names %s, which is not there", name)
		}
	}
	for _, s := range list {
		label, _, _ := strings.Cut(s.labels, "=")
		if !slices.Contains([]string{"", "connection", "direction", "how", "kind", "reason", "result", "scope"}, label) {
			t.Errorf("%s{%s}: is what this label can be bounded?", s.name, s.labels)
		}
	}
	if len(list) > 200 {
		t.Errorf("%d series", len(list))
	}
}
