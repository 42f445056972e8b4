package admin

import (
	"bytes"
	"html/template"
	"net/http"
	"time"
)

var indexPage = template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>sluice</title></head>
<body>
<h1>sluice {{.Version}}</h1>
<p>{{if .NotReady}}Not ready:{{range .NotReady}} {{.}};{{end}}{{else}}Ready.{{end}}
Up for {{.Uptime}}, {{.Connections}} connections.</p>
<ul>
<li><a href="/livez">/livez</a>: the process serves</li>
<li><a href="/readyz">/readyz</a>: it takes clients</li>
<li><a href="/metrics">/metrics</a>: counters, for Prometheus</li>
<li><a href="/api/v1/stats">/api/v1/stats</a>: counters, as JSON</li>
<li><a href="/debug/pprof/">/debug/pprof/</a>: profiles</li>
</ul>
</body>
</html>
`))

// index is a page of links.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	err := indexPage.Execute(&b, struct {
		Version     string
		NotReady    []string
		Uptime      time.Duration
		Connections int64
	}{s.config.Version, s.reasons(), time.Since(s.begun).Round(time.Second), s.engine.Stats().Connections})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}
