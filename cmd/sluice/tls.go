package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sluicenet/sluice/engine/server"
)

// tlsFields are the flags of what server.TLSError names.
var tlsFields = map[string]string{
	"Pairs.Cert":     "--tls-cert",
	"Pairs.Key":      "--tls-key",
	"Min":            "--tls-min",
	"ClientCA":       "--tls-client-ca",
	"WorkerClientCA": "--worker-client-ca",
	"Auto.Hosts":     "--tls-auto",
	"Auto.Cache":     "--tls-auto-cache",
	"Auto.Email":     "--tls-auto-email",
	"Auto.Directory": "--tls-auto-directory",
}

// tlsFlag has an error of certificates name the flag.
func tlsFlag(err error) error {
	var e *server.TLSError
	if errors.As(err, &e) && tlsFields[e.Field] != "" {
		return fmt.Errorf("%s: %w", tlsFields[e.Field], e.Err)
	}
	return err
}

// listeners says which of the listeners speak TLS. Those that cannot be read are reported elsewhere.
func (cmd *settings) listeners() (clients, workers, operators bool) {
	for _, text := range cmd.Listen {
		l, err := server.ParseListen(text)
		clients = clients || err == nil && l.Secure()
	}
	l, err := server.ParseWorkerListen(cmd.Worker)
	workers = err == nil && l.Scheme == "tls"
	l, err = server.ParseAdminListen(cmd.Admin)
	return clients, workers, err == nil && l.Scheme == "https"
}

// tls reads the flags of certificates. Those without effect are refused.
func (cmd *settings) tls(log *slog.Logger) (c server.TLSConfig, err error) {
	clients, workers, operators := cmd.listeners()
	given := len(cmd.TLSCert) > 0 || len(cmd.TLSKey) > 0 || len(cmd.TLSAuto) > 0
	switch {
	case len(cmd.TLSCert) != len(cmd.TLSKey):
		return c, fmt.Errorf("--tls-cert: %d files, and %d of --tls-key: want one key for each", len(cmd.TLSCert), len(cmd.TLSKey))
	case cmd.Login == "cert" && cmd.TLSClientCA == "":
		return c, errors.New("--login cert: want --tls-client-ca, too: nobody could log in")
	case cmd.TLSClientCA != "" && !clients:
		return c, errors.New("--tls-client-ca: no --listen uses TLS: want tls:// or wss://")
	case cmd.WorkerClientCA != "" && !workers:
		return c, errors.New("--worker-client-ca: want --worker tls://HOST:PORT, too")
	case len(cmd.TLSAuto) > 0 && !clients:
		return c, errors.New("--tls-auto: no --listen uses TLS, and the service looks there: want tls:// or wss://")
	case !clients && !workers && !operators && given:
		return c, errors.New("--tls-cert: no listener uses TLS: want --listen tls:// or wss://, --worker tls:// or --admin https://")
	case !clients && !workers && !operators:
		return c, cmd.tlsUnused()
	case !given && !cmd.Dev:
		return c, fmt.Errorf("--tls-cert: %s wants a certificate: give --tls-cert and --tls-key, or --tls-auto; --dev makes one for trying out",
			cmd.firstSecure(clients, workers))
	}
	c = server.TLSConfig{
		ClientCA:       cmd.TLSClientCA,
		WorkerClientCA: cmd.WorkerClientCA,
		Dev:            cmd.Dev,
		Min:            tls.VersionTLS12,
		Auto: server.TLSAutoConfig{
			Hosts: cmd.TLSAuto, Cache: cmd.TLSAutoCache, Email: cmd.TLSAutoEmail, Directory: cmd.TLSAutoDirectory,
		},
		Logger: log,
	}
	if cmd.TLSMin == "1.3" {
		c.Min = tls.VersionTLS13
	}
	for i, cert := range cmd.TLSCert {
		c.Pairs = append(c.Pairs, server.CertPair{Cert: cert, Key: cmd.TLSKey[i]})
	}
	for _, text := range cmd.Listen {
		l, err := server.ParseListen(text)
		switch {
		case err != nil || !l.Secure() || l.ClientCert == "none":
		case c.ClientCA == "" && l.ClientCert != "":
			return c, fmt.Errorf("--listen %s: client certificates want --tls-client-ca, too", text)
		case c.ClientCA != "" && l.ClientCert == "" && l.TLSAuto:
			return c, fmt.Errorf("--listen %s: --tls-client-ca wants certificates, and plain connections show none: say ?client-cert=optional or none", text)
		}
	}
	return c, nil
}

// firstSecure is the flag of a listener that wants a certificate.
func (cmd *settings) firstSecure(clients, workers bool) string {
	for _, text := range cmd.Listen {
		if l, err := server.ParseListen(text); clients && err == nil && l.Secure() {
			return "--listen " + text
		}
	}
	if workers {
		return "--worker " + cmd.Worker
	}
	return "--admin " + cmd.Admin
}

// tlsUnused refuses settings of ACME that no host asks for.
func (cmd *settings) tlsUnused() error {
	for flag, value := range map[string]string{
		"--tls-auto-cache": cmd.TLSAutoCache, "--tls-auto-email": cmd.TLSAutoEmail, "--tls-auto-directory": cmd.TLSAutoDirectory,
	} {
		if strings.TrimSpace(value) != "" {
			return fmt.Errorf("%s: want --tls-auto HOST, too", flag)
		}
	}
	return nil
}
