package admin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// pageFiles are the page for people: it asks the API for all that it shows, so that there is nothing to read
// in it without a token. uplot/ is uPlot 1.6.32 as it is in npm, under the licence beside it.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page use its own files and the API of the gateway that it comes from, and
// nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", "": "text/plain; charset=utf-8",
}

// servePage adds the page's files to mux: they are for everybody who reaches the listener.
func (s *Server) servePage(mux *http.ServeMux) {
	_ = fs.WalkDir(pageFiles, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := pageFiles.ReadFile(name)
		if err != nil {
			return err
		}
		at := "/" + name
		if name == "page/index.html" {
			at = "/{$}"
		}
		mux.Handle(at, pageFile(pageTypes[path.Ext(name)], content))
		return nil
	})
}

// pageFile answers with a file, or says that a browser has it already.
func pageFile(kind string, content []byte) http.Handler {
	digest := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(digest[:8]) + `"`
	return get(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if strings.Contains(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", kind)
		_, _ = w.Write(content)
	})
}
