package admin

import "net/http"

// apiConfig answers with the configuration in force.
func (s *Server) apiConfig(r *http.Request) (any, error) {
	if q := parameters(r); q.err != nil {
		return nil, q.err
	}
	f := s.process().Settings
	if f == nil {
		return nil, notAvailable("configuration to show")
	}
	return struct {
		Config any `json:"config"`
	}{f()}, nil
}

// maxSettings is how many settings, and values of one, a call has at most.
const maxSettings = 1000

// changeConfig gives settings other values. Which there are the process knows.
func (s *Server) changeConfig(r *http.Request) (any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	settings, err := anyObject(body, maxSettings)
	if err != nil {
		return nil, err
	}
	f := s.process().Change
	if f == nil {
		return nil, notAvailable("settings to change")
	}
	if len(settings) == 0 {
		return nil, badRequest("no setting is named")
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.act(r, "change of settings")
	done, err := f(settings)
	if err != nil {
		return nil, &refusal{http.StatusUnprocessableEntity, codeSettings, err.Error()}
	}
	done.Changed = orEmpty(done.Changed)
	return done, nil
}
