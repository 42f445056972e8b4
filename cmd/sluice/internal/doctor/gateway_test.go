package doctor

import (
	"errors"
	"testing"
	"testing/fstest"
	"time"
)

const page = `# HELP sluice_connections Client sockets that are open.
# TYPE sluice_connections gauge
sluice_connections 812
sluice_connections_limit 17228
sluice_build_info{goversion="go1.26",version="v1.2.3"} 1
sluice_loop_last_lag_seconds{loop="0"} 0.002
sluice_loop_last_lag_seconds{loop="1"} 0.25
sluice_loop_late_total 4
sluice_connections_refused_total{reason="too-many-clients"} 12
sluice_connections_refused_total{reason="memory"} 0
sluice_panics_total 1
sluice_accept_retries_total 2
sluice_tls_certificate_expiry_timestamp_seconds{index="0",name="/etc/c.pem"} 1.7e+09
sluice_tls_certificate_expiry_timestamp_seconds{index="1",name="gw.example"} 1.7009e+09
sluice_tls_certificate_expiry_timestamp_seconds{index="2",name="a \"b\", c"} 1.8e+09
sluice_tls_certificate_expiry_timestamp_seconds{index="3",name="later"} 0
process_start_time_seconds 1.7e+09
process_max_fds 20000
process_open_fds 840
no number
x NaNsense
`

func TestGateway(t *testing.T) {
	g := &Gateway{Address: "http://h:1", Metrics: ParseMetrics([]byte(page)), Now: time.Unix(1_700_003_600, 0), Reasons: []string{"draining", "late"}}
	in := hosted(nil)
	in.Gateway, in.Flags = g, flagsOf("tls-auto=gw.example")
	r := Examine(in)
	if want := "http://h:1, v1.2.3, up 1h00m, 812 connections"; r.Gateway != want {
		t.Errorf("the gateway is %q, want %q", r.Gateway, want)
	}
	expect(t, "gateway", r, "ready", Warning, "draining; late")
	expect(t, "gateway", r, "loops", Warning, "250ms late", "4 times", "fix: grep")
	expect(t, "gateway", r, "refused", Note, "12 for too-many-clients", "fix: --max-connections N")
	expect(t, "gateway", r, "losses", Warning, "handlers have panicked 1 time")
	expect(t, "gateway", r, "certificates", Error, "/etc/c.pem ended 1h00m ago", "fix: sluice reload")
	expect(t, "gateway", r, "certificates", Warning, "gw.example ends in 10d09h")
	expect(t, "gateway", r, "open-files", OK, "may open 20,000 files and has 840 open")
	expect(t, "gateway", r, "cpu-quota", OK, "2 loops")
	if n := len(find(r, "losses")); n != 2 {
		t.Errorf("%d losses, want panics and accepts", n)
	}
	if n := len(find(r, "certificates")); n != 2 {
		t.Errorf("%d certificates, want 2: %+v", n, find(r, "certificates"))
	}
	fine := Examine(Input{Root: fstest.MapFS{}, System: "plan9", Gateway: &Gateway{Metrics: Metrics{`sluice_loop_last_lag_seconds{loop="0"}`: 0}}})
	for _, check := range []string{"ready", "loops", "refused", "losses"} {
		expect(t, "well", fine, check, OK)
	}
}

func TestGatewayElsewhere(t *testing.T) {
	in := hosted(nil)
	in.Gateway = &Gateway{Address: "http://10.0.0.9:6070", Elsewhere: true}
	expect(t, "elsewhere", Examine(in), "gateway", Note, "another machine", "is of this one")
}

func TestNoGateway(t *testing.T) {
	for text, fix := range map[string]string{"refused: a token is wanted": "fix: sluice doctor --admin-token-file", "connection refused": "fix: sluice doctor --admin URL",
		"forbidden: no admin token is set": "fix: --admin-token FILE"} {
		r := Examine(Input{Root: fstest.MapFS{}, System: "plan9", GatewayErr: errors.New(text)})
		expect(t, text, r, "gateway", Note, text, fix)
	}
}
