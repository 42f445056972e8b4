package admin

import (
	"errors"
	"math"
	"net/http"
	"sync/atomic"

	"github.com/sluicenet/sluice/engine/login"
)

// devUser is who a token is for when a development gateway is not told.
const devUser = "dev"

// tokenStats are counters of the token call.
type tokenStats struct {
	issued       atomic.Uint64
	unauthorized atomic.Uint64
	failed       atomic.Uint64 // for want of a user, or of one-time tokens
}

// An issued is the data of the token call's answer (Longbridge, section "Token (OTP) HTTP API").
type issued struct {
	OTP    string `json:"otp"`
	Limit  int    `json:"limit"`  // connections that the user may have
	Online int    `json:"online"` // that count against it, now
}

// token issues a one-time token for the user in the query.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	q := readQuery(r)
	user := q.text("user")
	if q.err != nil { // it must not pass for a call that names nobody
		s.tokens.failed.Add(1)
		fail(w, http.StatusBadRequest, q.err.Error())
		return
	}
	if user == "" && s.config.Dev {
		user = devUser
	}
	s.tokenFor(w, user)
}

// tokenFor issues a one-time token for a user.
func (s *Server) tokenFor(w http.ResponseWriter, user string) {
	otp, ok := s.gateway.Config().Login.(*login.OTP)
	if !ok {
		s.tokens.failed.Add(1)
		fail(w, http.StatusConflict, "this gateway has no one-time tokens: start it with --login otp")
		return
	}
	if user == "" {
		s.tokens.failed.Add(1)
		fail(w, http.StatusBadRequest, "whose token? want ?user=ID")
		return
	}
	token, err := otp.Issue(s.engine.Time(), user)
	if err != nil {
		s.tokens.failed.Add(1)
		if errors.Is(err, login.ErrIdentity) {
			fail(w, http.StatusBadRequest, "no such user can be: ids are UTF-8 of up to 256 bytes without control characters")
			return
		}
		s.log.Error("no token for a user", "err", err)
		fail(w, http.StatusInternalServerError, "no token could be made")
		return
	}
	s.tokens.issued.Add(1)
	limit := s.gateway.Config().UserLimit
	if limit <= 0 {
		limit = math.MaxInt32 // clients take online >= limit for a reason not to connect
	}
	writeJSON(w, http.StatusOK, envelope{Data: issued{OTP: token, Limit: limit, Online: s.gateway.Counted(user)}})
}
