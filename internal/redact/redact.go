// Package redact leaves out of texts and errors what may be secret in URLs: user and password, and the
// query and the fragment of those that services are asked at.
//
// It has no state; everything may be called from any goroutine.
package redact

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// Mark stands for a secret.
const Mark = "(not shown)"

// URL is the URL of a service without what may be secret in it. Of one that has something secret, and of
// what is no URL and may hold a password, little is left.
func URL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "" && strings.Contains(text, "@"):
		return Mark
	case !Secret(u):
		return text
	}
	return u.Scheme + "://" + u.Host + "/" + Mark
}

// Secret reports whether u has a part that URL leaves out.
func Secret(u *url.URL) bool { return u.User != nil || u.RawQuery != "" || u.Fragment != "" }

// Users is a text with the mark in place of what stands before the @ of each URL in it. end is where a
// URL ends; nil: the text is one URL. A password that should have been escaped may have any of /?#@ in
// it.
func Users(text string, end *regexp.Regexp) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "://")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteString("://")
		size := len(rest)
		if end != nil {
			if at := end.FindStringIndex(rest); at != nil {
				size = at[0]
			}
		}
		if at := strings.LastIndexByte(rest[:size], '@'); at > 0 && rest[0] != '/' { // unix:///PATH has no user
			b.WriteString(Mark)
			rest = rest[at:]
		}
		text = rest
	}
}

// Address is Users of one address, which may lack the scheme of a URL: then an @ in it marks all of it.
func Address(text string) string {
	if strings.Contains(text, "@") && !strings.Contains(text, "://") {
		return Mark
	}
	return Users(text, nil)
}

// urls are the URLs in a message.
var urls = regexp.MustCompile(`[A-Za-z][\w+.-]*://[^\s"]*`)

// Error is err without what may be secret in the URLs of its message, as those of net/http have. It
// wraps err.
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if shown := urls.ReplaceAllStringFunc(text, URL); shown != text {
		return &redacted{shown, err}
	}
	return err
}

type redacted struct {
	text string
	err  error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }

// Cause is the error of an HTTP client without the URL that was asked, which its caller tells as much of
// as may be told.
func Cause(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return Error(err) // a proxy's URL is in it, if that is malformed
}
