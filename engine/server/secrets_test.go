package server_test

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// What may be secret in a URL is in no error that a program gets for it.
func TestSecretsInErrors(t *testing.T) {
	const secret = "s3" // what they all begin with
	for field, tc := range map[string]struct {
		try  func(text string) error
		more []string
	}{
		"Listen": {func(text string) error { _, err := server.ParseListen(text); return err },
			[]string{"tcp://ann:s3cret@127.0.0.1:1?protocol=x", "tcp://ann:1?s3cret@127.0.0.1"}},
		"WorkerListen": {func(text string) error { _, err := server.ParseWorkerListen(text); return err },
			[]string{"tls://ann:s3cret@127.0.0.1:1?proxy=x"}},
		"Admin.Address": {func(text string) error { _, err := server.ParseAdminListen(text); return err },
			[]string{"unix://ann:s3cret@/a", "unix://ann:s3cret@[x"}},
		"Cluster.URLs": {func(text string) error {
			_, err := server.New(server.Config{Dev: true, Cluster: server.ClusterConfig{URLs: []string{text}}})
			return err
		}, []string{"nats://x.example:4222?token=s3cret", "nats://ann:s3cret@x.example:4222/a", "nats://x.example/#s3cret"}},
		"TLS.Auto.Directory": {func(text string) error {
			return server.CheckTLS(server.TLSConfig{Auto: server.TLSAutoConfig{
				Hosts: []string{"chat.example.com"}, Cache: t.TempDir(), Directory: text,
			}})
		}, []string{"ftp://x.example/dir?key=s3cret", "http://x.example/dir#s3cret"}},
		"WebSocket.Origins": {func(text string) error {
			_, err := server.New(server.Config{Dev: true, WebSocket: server.WebSocketConfig{Origins: []string{text}}})
			return err
		}, nil},
		"login.HTTPConfig.URL": {func(text string) error { _, err := login.NewHTTP(login.HTTPConfig{URL: text}); return err },
			[]string{"ftp://x.example/?key=s3cret"}},
		"login.RemoteJWTConfig.JWKS": {func(text string) error {
			_, err := login.NewRemoteJWT(login.RemoteJWTConfig{JWTConfig: login.JWTConfig{JWKS: text}})
			return err
		}, []string{"ftp://x.example/?key=s3cret"}},
	} {
		for _, text := range append(tc.more, "tcp://ann:s3cret@x", "ann:s3cret@127.0.0.1:1", "tcp://ann:s3/cret@127.0.0.1:1",
			`tcp://ann:s3cret "x@127.0.0.1:1`, "tcp://ann:x@s3cret@127.0.0.1:1", "tcp://s3cret@127.0.0.1", "ftp://ann:s3cret@x.example:port") {
			if err := tc.try(text); err == nil {
				t.Errorf("%s %q is taken", field, text)
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("%s %q: %v", field, text, err)
			}
		}
	}
}
