package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A ruleFile is alerts.yml as Prometheus reads it.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Record      string            `json:"record"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

func readRules(t *testing.T) (f ruleFile) {
	t.Helper()
	if err := yaml.UnmarshalStrict(packaged(t, "prometheus/alerts.yml"), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAlerts: each alert waits, says how bad it is, what has happened and what to do; and its unit test
// has it fire and not fire.
func TestAlerts(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(filepath.Join(root, "docs/alerts.md"))
	if err != nil {
		t.Fatal(err)
	}
	const runbook = "https://github.com/sluicenet/sluice/blob/main/docs/alerts.md#"
	sections := make(map[string]bool) // by the names that GitHub gives them
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllSubmatch(docs, -1) {
		sections[strings.ReplaceAll(strings.ToLower(string(m[1])), " ", "-")] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllSubmatch(docs, -1) {
		if !sections[string(m[1])] {
			t.Errorf("docs/alerts.md has no section %s", m[1])
		}
	}
	fires, holds := testedAlerts(t)
	names, records := make(map[string]bool), make(map[string]bool)
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				records[r.Record] = true
				continue
			}
			if names[r.Alert] || !strings.HasPrefix(r.Alert, "Sluice") {
				t.Errorf("alert %q: a name of its own that begins with Sluice, please", r.Alert)
			}
			names[r.Alert] = true
			if !regexp.MustCompile(`^[1-9][0-9]*[smh]$`).MatchString(r.For) {
				t.Errorf("%s: for %q", r.Alert, r.For)
			}
			if s := r.Labels["severity"]; s != "warning" && s != "critical" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			for _, a := range []string{"summary", "description"} {
				if len(r.Annotations[a]) < 20 || len(r.Annotations[a]) > 140 || !strings.HasSuffix(r.Annotations[a], ".") {
					t.Errorf("%s: %s %q", r.Alert, a, r.Annotations[a])
				}
			}
			section, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbook)
			if !ok || section != strings.ToLower(r.Alert) || !sections[section] {
				t.Errorf("%s: docs/alerts.md has no section %s", r.Alert, r.Annotations["runbook_url"])
			}
			if !fires[r.Alert] || !holds[r.Alert] {
				t.Errorf("%s: alerts_test.yml has it fire: %v, not fire: %v", r.Alert, fires[r.Alert], holds[r.Alert])
			}
			if !sections[strings.ToLower(r.Alert)] {
				t.Errorf("%s: no section", r.Alert)
			}
		}
	}
	if len(names) < 12 {
		t.Errorf("%d alerts", len(names))
	}
	for section := range sections {
		if strings.HasPrefix(section, "sluice") && !slices.ContainsFunc(keys(names), func(n string) bool { return strings.ToLower(n) == section }) {
			t.Errorf("docs/alerts.md: no alert %s", section)
		}
	}
}

// testedAlerts are those that alerts_test.yml has fire, and not fire.
func testedAlerts(t *testing.T) (fires, holds map[string]bool) {
	t.Helper()
	var f struct {
		RuleFiles          []string `json:"rule_files"`
		EvaluationInterval string   `json:"evaluation_interval"`
		Tests              []struct {
			Name        string `json:"name"`
			Interval    string `json:"interval"`
			InputSeries []struct {
				Series string `json:"series"`
				Values string `json:"values"`
			} `json:"input_series"`
			AlertRuleTest []struct {
				EvalTime  string `json:"eval_time"`
				Alertname string `json:"alertname"`
				ExpAlerts []struct {
					ExpLabels      map[string]string `json:"exp_labels"`
					ExpAnnotations map[string]string `json:"exp_annotations"`
				} `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.UnmarshalStrict(packaged(t, "prometheus/alerts_test.yml"), &f); err != nil {
		t.Fatal(err)
	}
	fires, holds = make(map[string]bool), make(map[string]bool)
	for _, test := range f.Tests {
		for _, a := range test.AlertRuleTest {
			if len(a.ExpAlerts) > 0 {
				fires[a.Alertname] = true
			} else {
				holds[a.Alertname] = true
			}
		}
	}
	return fires, holds
}

func keys(m map[string]bool) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}
