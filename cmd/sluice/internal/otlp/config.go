package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/internal/readfile"
)

// Config says where spans go.
type Config struct {
	// URL is what is posted to.
	URL *url.URL
	// Header is sent along. It may hold secrets: nothing of it is logged.
	Header http.Header
	// Resource are attributes of this gateway, with service.name among them.
	Resource map[string]string
	// Timeout is how long one POST may take. Zero means 10 s.
	Timeout time.Duration
	// TLS is for https. Nil: the system's authorities.
	TLS *tls.Config
	// Version is the gateway's.
	Version string
	// Logger is told, now and then, of spans that are lost.
	Logger *slog.Logger

	transport http.RoundTripper // of tests
}

// tracesPath is behind a base URL.
const tracesPath = "/v1/traces"

// maxCA bounds a file of authorities, in bytes.
const maxCA = 1 << 20

// FromEnv makes a Config of the endpoint that a flag names, if it does, and of OpenTelemetry's environment
// variables. It returns nil if there is no endpoint, or the flag is none. The error names all that is
// wrong, and shows no secret.
func FromEnv(endpoint string, getenv func(string) string) (*Config, error) {
	first := func(names ...string) (name, value string) {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return name, value
			}
		}
		return "", ""
	}
	name, exact := "--otlp", false
	if endpoint == "" {
		if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
			return nil, nil
		}
		name, endpoint = first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
		exact = name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	}
	if endpoint == "" || endpoint == "none" {
		return nil, nil
	}
	c := &Config{Resource: map[string]string{"service.name": "sluice"}, Header: make(http.Header)}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var err error
	if c.URL, err = parseEndpoint(endpoint, exact); err != nil {
		wrong("%s: %w", name, err)
	}
	if name, protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		wrong("%s is %q: only http/protobuf is spoken here, which collectors take on port 4318", name, protocol)
	}
	name, headers := first("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
	err = pairs(headers, func(k, v string) error {
		if !validHeader(k, v) {
			return errors.New("a name or value that is none of HTTP")
		}
		c.Header.Add(k, v)
		return nil
	})
	if err != nil {
		wrong("%s: want NAME=VALUE,...: %w", name, err)
	}
	err = pairs(getenv("OTEL_RESOURCE_ATTRIBUTES"), func(k, v string) error {
		c.Resource[k] = v
		return nil
	})
	if err != nil {
		wrong("OTEL_RESOURCE_ATTRIBUTES: want NAME=VALUE,...: %w", err)
	}
	if service := getenv("OTEL_SERVICE_NAME"); service != "" {
		c.Resource["service.name"] = service
	}
	if name, text := first("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms < 1 || ms > 600_000 {
			wrong("%s: %q, want milliseconds, 1 to 600000", name, text)
		}
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	if name, file := first("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"); file != "" {
		pool := x509.NewCertPool()
		if text, err := readfile.Read(file, maxCA); err != nil {
			wrong("%s: %w", name, err)
		} else if !pool.AppendCertsFromPEM([]byte(text)) {
			wrong("%s: %s has no certificate", name, file)
		}
		c.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// CheckEndpoint says what is wrong with an endpoint that a flag names; empty and none are right.
func CheckEndpoint(text string) error {
	if text == "" || text == "none" {
		return nil
	}
	_, err := parseEndpoint(text, false)
	return err
}

// parseEndpoint reads a URL: a base URL unless it is exact. The errors do not show it, since it may hold
// a password.
func parseEndpoint(text string, exact bool) (*url.URL, error) {
	const want = "want http://HOST:PORT or https://HOST:PORT, as http://127.0.0.1:4318"
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" || strings.HasSuffix(u.Host, ":") {
		return nil, errors.New(want)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New(want)
		}
	}
	if !exact && !strings.HasSuffix(u.Path, tracesPath) {
		u = u.JoinPath(tracesPath)
	}
	return u, nil
}

// pairs reads name=value,name=value as W3C Baggage has it: with percent encoding. The errors do not show
// values.
func pairs(text string, f func(k, v string) error) error {
	for n, pair := range strings.Split(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		k = strings.TrimSpace(k)
		v, err := url.PathUnescape(strings.TrimSpace(v))
		if !ok || k == "" || err != nil {
			return fmt.Errorf("number %d is not that", n+1)
		}
		if err := f(k, v); err != nil {
			return fmt.Errorf("number %d has %w", n+1, err)
		}
	}
	return nil
}

func validHeader(name, value string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return name != ""
}
