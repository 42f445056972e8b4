package admin

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

// The token call as the SDKs of the Longbridge vendor make it: with an API key of the user's own
// instead of ?user=, and signed.

// Codes of the vendor's error table, beside the HTTP statuses that others have for a code.
const (
	codeSignature = 403201 // "signature invalid"
	codeAPIKey    = 403203 // "apikey illegal"
)

// DefaultTokenSkew is how far the clock of a caller may be off, for a call that is signed.
const DefaultTokenSkew = 5 * time.Minute

// caller returns whose API key a call shows, empty for the operator's key or none. It answers, and
// says so, a call whose key is nobody's or whose signature is wrong.
func (s *Server) caller(w http.ResponseWriter, r *http.Request) (user string, answered bool) {
	key := r.Header.Get("X-Api-Key")
	if s.config.TokenUsers == nil || key == "" {
		return "", false
	}
	k, ok := s.config.TokenUsers.Lookup(key)
	switch {
	case !ok && s.config.APIKey != "" && s.authorized(r):
		return "", false
	case !ok:
		s.tokens.unauthorized.Add(1)
		writeJSON(w, http.StatusForbidden, envelope{Code: codeAPIKey, Message: "apikey illegal"})
		return "", true
	}
	if err := s.signed(r, k); err != nil {
		s.tokens.unauthorized.Add(1)
		s.log.Debug("a call for a token is not signed well", "user", k.User, "peer", loggedPeer(r), "err", err)
		writeJSON(w, http.StatusForbidden, envelope{Code: codeSignature, Message: "signature invalid: " + err.Error()})
		return "", true
	}
	q := readQuery(r)
	switch other := q.text("user"); {
	case q.err != nil:
		s.tokens.failed.Add(1)
		fail(w, http.StatusBadRequest, q.err.Error())
		return "", true
	case other != "" && other != k.User:
		s.tokens.unauthorized.Add(1)
		fail(w, http.StatusForbidden, "this API key is another user's")
		return "", true
	}
	return k.User, false
}

var (
	errNoSignature = errors.New("want x-api-signature with HMAC-SHA256, SignedHeaders and Signature")
	errUnsigned    = errors.New("x-api-key and x-timestamp must be signed")
	errTimestamp   = errors.New("x-timestamp is no time")
	errMismatch    = errors.New("it does not match")
)

// signed checks a call's signature and its time, if the key has a secret.
func (s *Server) signed(r *http.Request, k login.APIKey) error {
	if k.Secret == "" {
		return nil
	}
	names, signature, ok := parseSignature(r.Header.Get("X-Api-Signature"))
	switch {
	case !ok:
		return errNoSignature
	case !slices.Contains(names, "x-api-key") || !slices.Contains(names, "x-timestamp"):
		return errUnsigned
	}
	if !hmac.Equal(signature, sign(r, names, k.Secret)) {
		return errMismatch
	}
	at, ok := parseTimestamp(r.Header.Get("X-Timestamp"))
	if !ok {
		return errTimestamp
	}
	if off := s.engine.Time().Sub(at).Abs(); off > s.config.TokenSkew {
		return fmt.Errorf("x-timestamp is %v off, more than %v", off.Round(time.Second), s.config.TokenSkew)
	}
	return nil
}

// maxSigned is how many headers a signature may be about.
const maxSigned = 16

// parseSignature reads "HMAC-SHA256 SignedHeaders=a;b, Signature=hex". Names are in lower case.
func parseSignature(text string) (names []string, signature []byte, ok bool) {
	method, rest, _ := strings.Cut(text, " ")
	if method != "HMAC-SHA256" {
		return nil, nil, false
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "SignedHeaders":
			names = strings.Split(strings.ToLower(value), ";")
		case "Signature":
			signature, _ = hex.DecodeString(value)
		}
	}
	return names, signature, len(names) <= maxSigned && len(signature) == sha256.Size
}

// sign is what the vendor's SDKs do with a call that has no body:
//
//	hex(HMAC-SHA256(secret, "HMAC-SHA256|" + hex(SHA1(text))))
//	text = METHOD|path|query|name:value\n...|name;...|
func sign(r *http.Request, names []string, secret string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s|%s|%s|", r.Method, r.URL.Path, r.URL.RawQuery)
	for _, name := range names {
		fmt.Fprintf(&b, "%s:%s\n", name, strings.TrimSpace(r.Header.Get(name)))
	}
	fmt.Fprintf(&b, "|%s|", strings.Join(names, ";"))
	digest := sha1.Sum([]byte(b.String()))
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("HMAC-SHA256|" + hex.EncodeToString(digest[:])))
	return h.Sum(nil)
}

// parseTimestamp reads Unix milliseconds, as the Go SDK sends them, or seconds with or without a
// fraction, as others do.
func parseTimestamp(text string) (time.Time, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f <= 0 || f > 1e15 {
		return time.Time{}, false
	}
	if f < 1e11 { // seconds, until the year 5138
		f *= 1000
	}
	return time.UnixMilli(int64(f)), true
}
