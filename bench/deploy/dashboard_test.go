package deploy

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A dashboard is what these tests read of sluice.json.
type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Annotations   struct {
		List []struct {
			Name       string     `json:"name"`
			Datasource datasource `json:"datasource"`
			Expr       string     `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct {
			Name       string          `json:"name"`
			Type       string          `json:"type"`
			Query      json.RawMessage `json:"query"`
			Datasource datasource      `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int        `json:"id"`
	Type        string     `json:"type"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Datasource  datasource `json:"datasource"`
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct {
		RefID        string     `json:"refId"`
		Datasource   datasource `json:"datasource"`
		Expr         string     `json:"expr"`
		LegendFormat string     `json:"legendFormat"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Panels []panel `json:"panels"`
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal(packaged(t, "grafana/sluice.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// concrete puts something into the place of Grafana's variables.
func concrete(expr string) string {
	return strings.NewReplacer("$__rate_interval", "5m", "$job", ".+", "$instance", ".+").Replace(expr)
}

// placeholders are the labels that a legend shows.
func placeholders(legend string) (list []string) {
	for _, m := range regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`).FindAllStringSubmatch(legend, -1) {
		list = append(list, m[1])
	}
	return list
}

// units are Grafana's names of units that panels here may have.
var units = []string{"short", "percentunit", "cps", "reqps", "Bps", "bytes", "s"}

// TestDashboard holds the dashboard to what Grafana wants of one: ids, places, and where data comes from.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 30 {
		t.Errorf("uid %q, title %q, schema %d", d.UID, d.Title, d.SchemaVersion)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name+" "+v.Type)
		if v.Type == "query" && v.Datasource.UID != "${datasource}" {
			t.Errorf("variable %s asks %s", v.Name, v.Datasource.UID)
		}
	}
	if want := []string{"datasource datasource", "job query", "instance query"}; !slices.Equal(variables, want) {
		t.Errorf("variables %v, want %v", variables, want)
	}
	ids, titles, taken := make(map[int]string), make(map[string]bool), make(map[[2]int]string)
	rows := 0
	for _, p := range d.Panels {
		if p.ID <= 0 || ids[p.ID] != "" {
			t.Errorf("%s: id %d, which %q has, too", p.Title, p.ID, ids[p.ID])
		}
		if p.Title == "" || p.Type != "row" && titles[p.Title] {
			t.Errorf("panel %d: title %q", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = p.Title, true
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > 24 || g.Y < 0 {
			t.Errorf("%s: place %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			rows++
			if len(p.Targets)+len(p.Panels) > 0 {
				t.Errorf("row %s: this test looks at panels that are not in rows", p.Title)
			}
			continue
		}
		checkPanel(t, p)
	}
	if rows < 8 || len(d.Panels)-rows < 40 {
		t.Errorf("%d rows, %d panels", rows, len(d.Panels)-rows)
	}
	for _, a := range d.Annotations.List {
		if a.Datasource.UID != "${datasource}" || a.Expr == "" {
			t.Errorf("annotation %s: %+v", a.Name, a)
		}
	}
	for _, word := range []string{"grafana.com", "localhost", "127.0.0.1"} { // of an export by hand
		if strings.Contains(string(packaged(t, "grafana/sluice.json")), word) {
			t.Errorf("the dashboard names %s", word)
		}
	}
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Description == "" {
		t.Errorf("%s: no description", p.Title)
	}
	if u := p.FieldConfig.Defaults.Unit; !slices.Contains(units, u) && p.Type != "table" && p.Type != "heatmap" {
		t.Errorf("%s: unit %q", p.Title, u)
	}
	if p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
		t.Errorf("%s: data source %+v", p.Title, p.Datasource)
	}
	if len(p.Targets) == 0 {
		t.Errorf("%s: no targets", p.Title)
	}
	refs := make(map[string]bool)
	for _, q := range p.Targets {
		if refs[q.RefID] || q.RefID == "" {
			t.Errorf("%s: refId %q", p.Title, q.RefID)
		}
		refs[q.RefID] = true
		if q.Expr == "" || q.Datasource != p.Datasource {
			t.Errorf("%s: target %+v", p.Title, q)
		}
		e, err := parseExpression(concrete(q.Expr))
		if err != nil {
			t.Error(err)
		}
		for _, s := range e.selectors { // else it shows other jobs' as well
			var by []string
			for _, m := range s.matchers {
				by = append(by, m.label)
			}
			if !slices.Contains(by, "job") || !slices.Contains(by, "instance") {
				t.Errorf("%s: %s is not chosen by job and instance", p.Title, s.metric)
			}
		}
		if rate := strings.Contains(q.Expr, "_total") && !strings.Contains(q.Expr, "rate(") && !strings.Contains(q.Expr, "increase("); rate {
			t.Errorf("%s: a counter without a rate: %s", p.Title, q.Expr)
		}
	}
}
