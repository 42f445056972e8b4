package main

import (
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/redact"
)

// shownURLs is the value of a flag without what may be secret in URLs: users, passwords and tokens
// before the host; and, of those that services are asked at, the query. What is behind the question
// mark of an address to listen on are options.
func shownURLs(flag, text string) string {
	switch flag {
	case "login":
		text = shownLogin(text)
	case "otlp", "tls-auto-directory":
		text = redact.URL(text)
	case "listen", "worker", "admin", "cluster":
		unix := strings.HasPrefix(text, "unix:") || strings.HasPrefix(text, "ws+unix:")
		if strings.Contains(text, "@") && !beginsURL.MatchString(text) && !unix {
			return notShown // the scheme is missing
		}
	}
	return redact.Users(text, nextValue)
}

var (
	beginsURL = regexp.MustCompile(`^[A-Za-z][\w+.-]*://`)
	// nextValue is where a URL ends within the value of a flag: in a list, or before another option of
	// --login jwt.
	nextValue = regexp.MustCompile(`,([A-Za-z][\w+.-]*://|(` + jwtOptions + `)=)`)
	// nextWord is where one ends in a message.
	nextWord = regexp.MustCompile(`[\s"]|` + nextValue.String())
)

const jwtOptions = "secret-file|key-file|jwks|iss|leeway|aud|claims"

// shownLogin is a --login without what may be secret in it: the credentials, path and query of the URL
// that is asked about logins, what redact.URL leaves out of where keys are, and secrets in place of names
// of files.
func shownLogin(text string) string {
	kind, rest, _ := strings.Cut(text, ":")
	switch u := loginURL(text); {
	case kind == "tokens" && readfile.LooksSecret(rest):
		return "tokens:" + notShown
	case kind == "jwt":
		return "jwt:" + shownJWT(rest)
	case u == nil:
		return text
	case u.Host == "" && u.Scheme != kind:
		return "http:" + notShown
	case !secretLogin(text) && strings.Trim(u.Path, "/") == "":
		return text
	default:
		return "http:" + u.Scheme + "://" + u.Host + "/" + notShown
	}
}

// shownJWT is shownLogin of the options of jwt.
func shownJWT(text string) string {
	var b strings.Builder
	for text != "" {
		item, rest := text, ""
		if at := nextJWT.FindStringIndex(text); at != nil {
			item, rest = text[:at[0]+1], text[at[0]+1:]
		}
		option, comma := strings.CutSuffix(item, ",")
		name, value, ok := strings.Cut(option, "=")
		switch {
		case !ok && readfile.LooksSecret(option):
			option = notShown
		case name == "jwks" && strings.Contains(value, "://"):
			option = name + "=" + redact.URL(value)
		case (name == "jwks" || strings.HasSuffix(name, "-file")) && readfile.LooksSecret(value):
			option = name + "=" + notShown
		}
		b.WriteString(option)
		if comma {
			b.WriteByte(',')
		}
		text = rest
	}
	return b.String()
}

var nextJWT = regexp.MustCompile(`,(` + jwtOptions + `)=`)

// secretLogin reports whether --login holds what is certainly a secret.
func secretLogin(text string) bool {
	if rest, ok := strings.CutPrefix(text, "jwt:"); ok {
		return shownJWT(rest) != rest
	}
	u := loginURL(text)
	return u != nil && redact.Secret(u)
}

// loginURL is the URL that a --login asks about logins, nil if there is none.
func loginURL(text string) *url.URL {
	kind, rest, _ := strings.Cut(text, ":")
	if kind != "http" && kind != "https" {
		return nil
	}
	if strings.HasPrefix(rest, "//") {
		rest = kind + ":" + rest
	}
	u, err := url.Parse(rest)
	if err != nil {
		return &url.URL{Scheme: kind, Path: rest}
	}
	return u
}

// holdsSecret reports whether a value is not to be shown as it is.
func (p *param) holdsSecret(value any) bool {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice {
		for i := range v.Len() {
			if p.holdsSecret(v.Index(i).Interface()) {
				return true
			}
		}
		return false
	}
	if text := written(value); p.name == "login" {
		return secretLogin(text)
	} else if shownURLs(p.name, text) != text {
		return true
	}
	return p.secret()
}

// hidden is a message about a value, without what is not shown of it. An error may name a part of it:
// what url.Parse takes for the port may be a password.
func (p *param) hidden(message, value string) string {
	shown := shownURLs(p.name, value)
	if shown == value {
		return message
	}
	quoted := func(text string) string { return strings.Trim(strconv.Quote(text), `"`) }
	message = strings.NewReplacer(value, shown, quoted(value), quoted(shown)).Replace(message)
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(":,/@?#&=\\\"' \t", r) }) {
		if !strings.Contains(shown, word) {
			whole := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(word) + `(\W|$)`)
			message = whole.ReplaceAllString(message, "${1}"+notShown+"${2}")
		}
	}
	return message
}
