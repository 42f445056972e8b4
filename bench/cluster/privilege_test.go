package clustertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/sluicenet/sluice/codec/gosoc"
)

// An authority makes certificates and their files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir(), next: 1}
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	a.issue("ca", a.cert)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes a certificate, name.pem, and its key, name.key.
func (a *authority) issue(name string, c *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
	}
	c.SerialNumber = big.NewInt(a.next)
	a.next++
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func (a *authority) write(name string, text []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// A keeper is a NATS server that speaks TLS with those who have a certificate, and lets a gateway do
// no more than docs/cluster.md says; file has what the gateway needs.
type keeper struct {
	*natsServer
	*authority
	admin nats.Option
}

func newUser(t *testing.T) (public string, seed []byte) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return public, seed
}

// leastPrivilege is what docs/cluster.md says that a gateway of the cluster default must be allowed.
var leastPrivilege = server.Permissions{
	Publish: &server.SubjectPermission{Allow: []string{
		"sluice.default.>", "_R.default.>", "$KV.sluice_default_nodes.>", "$JS.API.INFO",
		"$JS.API.STREAM.INFO.KV_sluice_default_nodes", "$JS.API.DIRECT.GET.KV_sluice_default_nodes.>",
		"$KV.sluice_default_names.>", "$JS.API.STREAM.INFO.KV_sluice_default_names", "$JS.API.DIRECT.GET.KV_sluice_default_names.>",
		"$KV.sluice_default_sessions.>", "$JS.API.STREAM.INFO.KV_sluice_default_sessions",
		"$JS.API.DIRECT.GET.KV_sluice_default_sessions.>",
		"$JS.API.CONSUMER.CREATE.KV_sluice_default_nodes.>", "$JS.API.CONSUMER.DELETE.KV_sluice_default_nodes.>",
	}},
	Subscribe: &server.SubjectPermission{Allow: []string{"sluice.default.>", "_R.default.>"}},
}

// historyPrivilege is what it must be allowed besides, with --history.
var historyPrivilege = []string{
	"$JS.API.STREAM.INFO.SLUICE_default_H", "$JS.API.DIRECT.GET.SLUICE_default_H", "$JS.API.CONSUMER.CREATE.SLUICE_default_H.>",
	"$JS.API.CONSUMER.MSG.NEXT.SLUICE_default_H.>", "$JS.API.CONSUMER.DELETE.SLUICE_default_H.>",
}

// withHistory is leastPrivilege and historyPrivilege, but for one of these.
func withHistory(but string) server.Permissions {
	p := leastPrivilege
	list := slices.Concat(leastPrivilege.Publish.Allow, historyPrivilege)
	p.Publish = &server.SubjectPermission{Allow: slices.DeleteFunc(list, func(s string) bool { return s == but })}
	return p
}

// administrator connects somebody who may do everything, until leave is called.
func (k *keeper) administrator() (js jetstream.JetStream, leave func()) {
	t := k.authority.t
	t.Helper()
	nc, err := nats.Connect(k.url(), k.admin, nats.RootCAs(k.file("ca.pem")), nats.ClientCert(k.file("gateway.pem"), k.file("gateway.key")))
	if err != nil {
		t.Fatal(err)
	}
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return js, nc.Close
}

// makeStream makes the stream, as docs/cluster.md says.
func (k *keeper) makeStream() {
	t := k.authority.t
	t.Helper()
	js, leave := k.administrator()
	defer leave()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "SLUICE_default_H", Subjects: []string{"sluice.default.h.*"}, Discard: jetstream.DiscardOld, AllowDirect: true,
		RePublish: &jetstream.RePublish{Source: "sluice.default.h.*", Destination: "sluice.default.t.{{wildcard(1)}}"},
		MaxAge:    5 * time.Minute, MaxMsgsPerSubject: 2001, MaxBytes: 64 << 20,
	}); err != nil {
		t.Fatal(err)
	}
}

// With history the rights that docs/cluster.md names do, and each of them is missed.
func TestLeastPrivilegeHistory(t *testing.T) {
	t.Parallel()
	long(t)
	k := newKeeper(t, withHistory(""))
	k.makeBucket()
	k.makeStream()
	list := serveAll(t, 2, append(k.flags(), rooms...)...)
	c, ticket := list[0].begin("ann")
	c.subscribe("room.1")
	pub := list[1].login()
	pub.publish("room.1", 1)
	c.want(1, 1)
	c.conn.Close()
	await(t, "the topic to be let go", func() bool { return list[0].metric("sluice_cluster_history_topics") == 0 })
	pub.publish("room.1", 2)
	list[1].stored(2) // so that it has to be read
	c, _ = list[0].comeBack(ticket)
	c.want(2, 2)
	if n := list[0].metric("sluice_cluster_history_reads_total"); n == 0 {
		t.Error("nothing was read from the log")
	}
	for _, g := range list {
		if n := g.metric(`sluice_cluster_errors_total{reason="permission"}`); n != 0 {
			t.Errorf("gateway %d was denied %v things:\n%s", g.id, n, g.stderr)
		}
	}
	for _, right := range historyPrivilege {
		k := newKeeper(t, withHistory(right))
		k.makeBucket()
		k.makeStream()
		g := launch(t, 1, append(k.flags(), rooms...)...)
		says := strings.TrimSuffix(right, ".>")
		if code := g.wait(); code != 2 || !strings.Contains(g.stderr.String(), says) {
			t.Errorf("without %s: exit code %d, want 2 and its name:\n%s", right, code, g.stderr)
		}
	}
	// Who may not change the stream is told what to change.
	g := launch(t, 3, append(k.flags(), "--history", "room.*=9000,5m")...)
	if code := g.wait(); code != 2 || !strings.Contains(g.stderr.String(), "nats stream edit SLUICE_default_H --max-msgs-per-subject 9001 --metadata sluice.kept=2001,20") {
		t.Errorf("a stream that keeps too little: exit code %d, want 2 and what to do:\n%s", code, g.stderr)
	}
}

func newKeeper(t *testing.T, allowed server.Permissions) *keeper {
	t.Helper()
	k := &keeper{authority: newAuthority(t)}
	local := []net.IP{net.IPv4(127, 0, 0, 1)}
	k.issue("server", &x509.Certificate{
		Subject: pkix.Name{CommonName: "nats"}, IPAddresses: local, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	k.issue("gateway", &x509.Certificate{
		Subject: pkix.Name{CommonName: "gateway"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	user, seed := newUser(t)
	k.write("gateway.nk", seed)
	boss, bossSeed := newUser(t)
	k.write("admin.nk", bossSeed)
	pair, err := tls.LoadX509KeyPair(k.file("server.pem"), k.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(k.parsed("ca.pem"))
	k.natsServer = startNATS(t, func(o *server.Options) {
		o.TLS, o.TLSVerify = true, true
		o.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS12,
		}
		o.Nkeys = []*server.NkeyUser{{Nkey: user, Permissions: &allowed}, {Nkey: boss}}
	})
	if k.admin, err = nats.NkeyOptionFromSeed(k.file("admin.nk")); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keeper) parsed(name string) *x509.Certificate {
	k.authority.t.Helper()
	text, err := os.ReadFile(k.file(name))
	if err != nil {
		k.authority.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		k.authority.t.Fatal(err)
	}
	return c
}

// makeBucket makes the buckets, as an administrator does.
func (k *keeper) makeBucket() {
	t := k.authority.t
	t.Helper()
	js, leave := k.administrator()
	defer leave()
	for _, config := range []jetstream.KeyValueConfig{
		{Bucket: "sluice_default_nodes", TTL: 20 * time.Second}, {Bucket: "sluice_default_names", TTL: 24 * time.Hour},
	} {
		if _, err := js.CreateKeyValue(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
}

// flags are those of a gateway.
func (k *keeper) flags(but ...string) []string {
	list := []string{"--cluster", k.url()}
	for _, f := range [][2]string{
		{"--cluster-ca", "ca.pem"}, {"--cluster-cert", "gateway.pem"}, {"--cluster-key", "gateway.key"}, {"--cluster-nkey", "gateway.nk"},
	} {
		if !strings.Contains(strings.Join(but, " "), f[0]) {
			list = append(list, f[0], k.file(f[1]))
		}
	}
	return list
}

// With mutual TLS, an NKey and no more rights than it needs a gateway is one of its cluster.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, leastPrivilege)
	k.makeBucket()
	list := serveAll(t, 2, k.flags()...)
	a, _ := list[0].loginAs("ann")
	if b, _ := list[1].loginAs("ann"); !b.online() {
		t.Error("the later login has ended")
	}
	if h, _, err := a.packet(patience); err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older login got %d, %v, want Disconnect", h.Type, err)
	}
	for _, g := range list {
		if g.metric("sluice_cluster_names_away") != 0 {
			t.Errorf("gateway %d keeps users apart by itself", g.id)
		}
		if n := g.metric(`sluice_cluster_errors_total{reason="permission"}`); n != 0 {
			t.Errorf("gateway %d was denied %v things:\n%s", g.id, n, g.stderr)
		}
	}
	list[1].terminate()
	list[0].knows(1)
	if n := list[0].metric(`sluice_cluster_errors_total{reason="permission"}`); n != 0 {
		t.Errorf("%v things were denied:\n%s", n, list[0].stderr)
	}
}

// What NATS refuses ends the start with exit code 2, and its name.
func TestRefusedByNATS(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, leastPrivilege)
	wrong := newAuthority(t)
	less := leastPrivilege
	less.Publish = &server.SubjectPermission{Allow: leastPrivilege.Publish.Allow[1:]}
	k2 := newKeeper(t, less)
	k2.makeBucket()
	none := startNATS(t, func(o *server.Options) { o.JetStream = false })
	for _, tc := range []struct {
		name string
		args []string
		says string
	}{
		{"nobody has made the bucket", k.flags(), "STREAM.CREATE.KV_sluice_default_nodes"},
		{"no NKey", k.flags("--cluster-nkey"), "Authorization Violation"},
		{"another authority", append(k.flags("--cluster-ca"), "--cluster-ca", wrong.file("ca.pem")), "x509"},
		{"no certificate", k.flags("--cluster-cert --cluster-key"), "tls"},
		{"may not publish", k2.flags(), `Permissions Violation for Publish to "sluice.default.`},
		{"no JetStream", []string{"--cluster", none.url()}, "JetStream"},
	} {
		g := launch(t, 1, tc.args...)
		if code := g.wait(); code != 2 || !strings.Contains(g.stderr.String(), tc.says) || !strings.Contains(g.stderr.String(), "sluice: --cluster: ") {
			t.Errorf("%s: exit code %d, want 2 and %q:\n%s", tc.name, code, tc.says, g.stderr)
		}
	}
}

// Debian's NATS server of 2023 does for what there is so far; the log says that it is old.
func TestOldServer(t *testing.T) {
	t.Parallel()
	s := startDebian(t)
	list := serveAll(t, 2, "--cluster", s)
	list[0].logged("an old NATS server")
	if status, _ := list[0].get("/readyz"); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	list[1].kill()
	again := serve(t, 2, "--cluster", s)
	again.knows(2)
}
