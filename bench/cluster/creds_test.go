package clustertest

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// An operation is a NATS server with decentralized authentication: an operator, and an account that issues
// credentials for gateways.
type operation struct {
	*natsServer
	t       *testing.T
	account nkeys.KeyPair
	dir     string
}

func newOperation(t *testing.T) *operation {
	t.Helper()
	o := &operation{t: t, dir: t.TempDir()}
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := create()
		if err != nil {
			t.Fatal(err)
		}
		public, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return k, public
	}
	operator, operatorKey := pair(nkeys.CreateOperator)
	_, systemKey := pair(nkeys.CreateAccount)
	var accountKey string
	o.account, accountKey = pair(nkeys.CreateAccount)
	claims := jwt.NewOperatorClaims(operatorKey)
	claims.SystemAccount = systemKey
	resolver := new(server.MemAccResolver)
	for _, key := range []string{systemKey, accountKey} {
		a := jwt.NewAccountClaims(key)
		if key == accountKey {
			a.Limits.JetStreamLimits = jwt.JetStreamLimits{
				MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
			}
		}
		text, err := a.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(key, text); err != nil {
			t.Fatal(err)
		}
	}
	o.natsServer = startNATS(t, func(s *server.Options) {
		s.TrustedOperators, s.AccountResolver, s.SystemAccount = []*jwt.OperatorClaims{claims}, resolver, systemKey
	})
	return o
}

// issue writes credentials of a user, which are good for a while; zero: for ever.
func (o *operation) issue(name string, allowed *server.Permissions, good time.Duration) string {
	o.t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		o.t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		o.t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		o.t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public)
	if allowed != nil {
		claims.Pub.Allow.Add(allowed.Publish.Allow...)
		claims.Sub.Allow.Add(allowed.Subscribe.Allow...)
	}
	if good > 0 {
		claims.Expires = time.Now().Add(good).Unix()
	}
	text, err := claims.Encode(o.account)
	if err != nil {
		o.t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(text, seed)
	if err != nil {
		o.t.Fatal(err)
	}
	file, whole := filepath.Join(o.dir, name+".creds"), filepath.Join(o.dir, name+".new")
	if err := os.WriteFile(whole, creds, 0o600); err != nil {
		o.t.Fatal(err)
	}
	if err := os.Rename(whole, file); err != nil {
		o.t.Fatal(err)
	}
	return file
}

// With credentials of an account gateways are a cluster. Where a gateway's have expired it serves on alone,
// says so, and is back with new ones, which it reads by itself.
func TestCredentials(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	a := serve(t, 1, "--cluster", o.url(), "--cluster-creds", o.issue("a", nil, 0)) // makes the buckets
	b := serve(t, 2, "--cluster", o.url(), "--cluster-creds", o.issue("b", &leastPrivilege, 8*time.Second))
	a.knows(2)
	b.knows(2)
	from, to := a.login(), b.login()
	to.subscribe("news")
	from.publish("news", 1)
	to.want(1, 1)
	if n := b.metric(`sluice_cluster_errors_total{reason="permission"}`); n != 0 {
		t.Errorf("%v things were denied:\n%s", n, b.stderr)
	}
	await(t, "the end of the credentials", func() bool {
		status, _ := b.get("/readyz")
		return status == http.StatusServiceUnavailable
	})
	local := b.login()
	local.subscribe("local")
	to.call("sluice.Publish", message("local", 1))
	local.want(1, 1)
	o.issue("b", &leastPrivilege, 0)
	await(t, "the connection with new ones", func() bool {
		status, _ := b.get("/readyz")
		return status == http.StatusOK && b.metric(`sluice_cluster_connected{connection="data"}`) == 1
	})
	a.knows(2)
	await(t, "a message", func() bool {
		from.publish("news", 2)
		n, err := to.push(100 * time.Millisecond)
		return err == nil && n == 2
	})
}
