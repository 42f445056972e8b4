package admin

import "net/http"

// servePage adds the page for people to mux.
func (s *Server) servePage(mux *http.ServeMux) { mux.Handle("/{$}", s.allowed(ReadRole, get(s.index))) }
