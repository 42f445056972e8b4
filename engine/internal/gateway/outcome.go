package gateway

import "github.com/sluicenet/sluice/engine"

// An Outcome is the verdict on a login. Each protocol has its own words for it.
type Outcome uint8

// The outcomes.
const (
	LoginOK          Outcome = iota
	LoginRefused             // the token is not good
	LoginMalformed           // the credentials cannot be read
	LoginUnavailable         // no verdict: the provider failed or took too long
	LoginConcurrent          // a login of this user that was asked for later is under way, or done
	LoginOverLimit           // the user has as many connections as allowed
	SessionRefused           // the session to resume is unknown, expired, forged or replayed
	LoginBanned              // too many logins of the address were refused, and this one proves nothing
	LoginMetadata            // the client says more of itself than Config.MaxLoginMetadata allows

	numOutcomes
)

var outcomeNames = [numOutcomes]string{
	LoginOK:          "ok",
	LoginRefused:     "refused",
	LoginMalformed:   "malformed",
	LoginUnavailable: "unavailable",
	LoginConcurrent:  "concurrent",
	LoginOverLimit:   "over-limit",
	LoginMetadata:    "metadata",
	SessionRefused:   "session-refused",
	LoginBanned:      "banned",
}

// String returns the name used in counters and logs.
func (o Outcome) String() string {
	if o < numOutcomes {
		return outcomeNames[o]
	}
	return "unknown"
}

// Reason is why a connection with this outcome is closed.
func (o Outcome) Reason() engine.Reason {
	switch o {
	case LoginUnavailable:
		return engine.ReasonServerError
	case LoginOverLimit:
		return engine.ReasonUserLimit
	case LoginConcurrent:
		return engine.ReasonKickedOut
	case LoginBanned:
		return engine.ReasonLoginBanned
	}
	return engine.ReasonLoginRefused
}
