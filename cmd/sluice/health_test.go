package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestHealthWithTokens: whether a gateway is ready is told to everybody, the rest to who shows a token.
func TestHealthWithTokens(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	for _, tc := range []struct {
		args  []string
		token bool
		out   string // begins with
	}{
		{nil, false, ""},
		{nil, true, ""},
		{[]string{"--verbose"}, false, "ready\n"},
		{[]string{"-v"}, true, "ready\nconnections: 0 of "},
		{[]string{"--json"}, false, `{"ready":true,"reasons":[],"details":[]}` + "\n"},
		{[]string{"--json"}, true, `{"ready":true,"reasons":[],"details":["connections: 0 of `},
	} {
		args := append([]string{"health", "--admin", o.AdminURL()}, tc.args...)
		if tc.token {
			args = append(args, "--admin-token-file", o.read)
		}
		code, out, errs := sluice(args...)
		if code != exitOK || errs != "" || !strings.HasPrefix(out, tc.out) || tc.out == "" && out != "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, out, errs)
		}
	}
	o.Gateway().Drain()
	code, out, errs := sluice("health", "--admin", o.AdminURL())
	wantLine(t, code, exitFailed, out, errs, "not ready; why is told to who shows a token")
	code, out, errs = o.do("health")
	wantLine(t, code, exitFailed, out, errs, "not ready (HTTP status 503): draining")
	code, out, errs = o.do("health", "-v")
	if code != exitFailed || !strings.HasPrefix(out, "connections: ") || strings.Contains(out, "draining") || !strings.Contains(errs, "draining") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	code, out, _ = o.do("health", "--json")
	var h health
	if err := json.Unmarshal([]byte(out), &h); err != nil || code != exitFailed || h.Ready || len(h.Reasons) != 1 || len(h.Details) == 0 {
		t.Errorf("exit code %d, %q, %v", code, out, err)
	}
}
