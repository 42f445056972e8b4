package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/topic"
)

// base is a Config that New takes, with every part of it in use.
func base() Config {
	return Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: GatewayConfig{Login: openLogin},
		Admin:   AdminConfig{Address: "127.0.0.1:0"},
	}
}

// effective returns what a part of the gateway was configured with in the end.
var effective = map[string]func(*Server) any{
	"Engine":     func(s *Server) any { return *s.engine.Config() },
	"Gateway":    func(s *Server) any { return *s.gateway.Config() },
	"Worker":     func(s *Server) any { return *s.hub.Config() },
	"Gosoc":      func(s *Server) any { return *s.gosocTCP.Config() },
	"WebSocket":  func(s *Server) any { return *s.web.Config() },
	"Netsvr":     func(s *Server) any { return *s.netsvrWS.Config() },
	"Longbridge": func(s *Server) any { return *s.longbridgeTCP.Config() },
	"Admin":      func(s *Server) any { return *s.admin.Config() },
}

// samples are the values of fields that have no obvious one.
var samples = map[string]any{
	"Worker.TLS": &tls.Config{MinVersion: tls.VersionTLS13}, "Admin.TLS": &tls.Config{MinVersion: tls.VersionTLS13},
	"Worker.Tokens": []string{"a-token-of-24-bytes-or-so"}, "Worker.Allow": []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	"Engine.History":    engine.HistoryLimits{Rules: []topic.Rule{{Pattern: "a*", Count: 3, Age: time.Second}}, Total: 1 << 20},
	"Engine.Gap":        func(string) engine.Push { return engine.Push{} },
	"Engine.Remote":     engine.Remote(nowhere{}),
	"Engine.Log":        engine.Log(nothing{}),
	"Engine.ProxyTrust": []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "Engine.ForwardedTrust": []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	"Admin.TokenUsers":          new(login.APIKeys),
	"Admin.Tokens":              new(AdminTokens),
	"Admin.Process":             new(AdminProcess),
	"Gateway.Login":             login.Provider(slow{}),
	"Gateway.Rand":              io.LimitReader(rand.Reader, 1<<20),
	"Admin.Address":             "127.0.0.1:1",
	"Admin.LogDropped":          func() uint64 { return 7 },
	"Admin.AccessLogDropped":    func() uint64 { return 7 },
	"Admin.Spans":               func() (_, _, _ uint64) { return 7, 7, 7 },
	"Gateway.Tracer":            Tracer(new(spans)),
	"Gateway.TraceSample":       0.5,
	"Netsvr.Path":               "/x",
	"WebSocket.ForwardedHeader": "forwarded",
	"WebSocket.MaxHead":         4 << 10,
	"Worker.Limits":             []Limit{{Name: "x", Workers: []int{3}, Rate: 5}},
	"Worker.Metrics":            []int32{3},
	"Engine.Dialects": []engine.Dialect{
		{Name: "x-y", Append: func(dst []byte, _ engine.Push) ([]byte, error) { return dst, nil }},
	},
}

// refused are the fields that New refuses, with what it says to set instead.
var refused = map[string]string{
	"Engine.LoginBytes": "Config.Gateway.LoginBytes",
	"Engine.Dialects":   "Config.Protocols",
}

// behaviour proves fields that no part of the gateway keeps as they are.
var behaviour = map[string]func(*testing.T){
	"Listen":         provesListen,
	"Listeners":      provesListeners,
	"Protocols":      TestOwnProtocol,
	"SlowConsumer":   provesSlowConsumer,
	"OnConnect":      TestHooks,
	"OnDisconnect":   TestHooks,
	"Dev":            provesDev,
	"WorkerListen":   provesWorkerListen,
	"WorkerListener": provesWorkerListener,
	"CustomIDTTL":    provesCustomIDTTL,
	"Memory":         TestMemorySetsLimits,
	"AccessLog":      TestAccessLog,
	"Engine.Admit":   provesAdmit,
	"TLS":            TestTLSListeners,
	"Cluster":        TestCluster,

	"Engine.Describe": provesDescribe,
	"Admin.Listener":  provesAdminListener,

	"Gateway.SessionJournal": provesSessionJournal,
}

type slow struct{}

func (slow) Login(context.Context, login.Request) (login.Identity, error) {
	return login.Identity{}, login.ErrUnavailable
}

// nowhere is a Remote without other nodes.
type nowhere struct{}

func (nowhere) Reaches([]byte, int64) bool { return false }
func (nowhere) Changes() uint64            { return 0 }
func (nowhere) Congested([]byte) bool      { return false }
func (nowhere) Publish(_, _ []byte, _ int) {}
func (nowhere) Subscribed(string)          {}
func (nowhere) Unsubscribed(string)        {}
func (nowhere) Expect([]byte)              {}
func (nowhere) Settle([]byte, func()) bool { return false }

// nothing is a Log that takes and keeps nothing.
type nothing struct{}

func (nothing) Append(_, _ []byte, _ int, done func(topic.Position, error)) {
	if done != nil {
		done(topic.Position{}, errors.ErrUnsupported)
	}
}
func (nothing) Full([]byte) bool { return false }
func (nothing) Away() error      { return errors.ErrUnsupported }
func (nothing) Now() time.Time   { return time.Now() }
func (nothing) Fetch(_ string, _ topic.Position, _ int64, _ uint64, done func(engine.Fill, error)) {
	done(engine.Fill{}, errors.ErrUnsupported)
}

// Every field of Config is honoured, or refused by its name.
func TestEveryField(t *testing.T) {
	walkFields(t, reflect.TypeFor[Config](), "", nil)
}

func walkFields(t *testing.T, typ reflect.Type, prefix string, index []int) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		at, name := append(index[:len(index):len(index)], i), prefix+f.Name
		if _, nested := effective[f.Name]; nested && prefix == "" {
			walkFields(t, f.Type, name+".", at)
			continue
		}
		t.Run(name, func(t *testing.T) {
			if proof := behaviour[name]; proof != nil {
				proof(t)
				return
			}
			config := base()
			v := reflect.ValueOf(&config).Elem().FieldByIndex(at)
			set(t, v, samples[name])
			s, err := New(config)
			if instead, ok := refused[name]; ok {
				if err == nil || !strings.Contains(err.Error(), "Config."+name+" ") || !strings.Contains(err.Error(), instead) {
					t.Errorf("New says %v, want Config.%s refused and %s named", err, name, instead)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			part, field, ok := strings.Cut(name, ".")
			if !ok {
				t.Fatal("a field of which no test proves that it is honoured")
			}
			got := reflect.ValueOf(effective[part](s)).FieldByName(field)
			same := reflect.DeepEqual(got.Interface(), v.Interface())
			if got.Kind() == reflect.Func {
				same = got.UnsafePointer() == v.UnsafePointer()
			}
			if !same {
				t.Errorf("set to %v, in force is %v", v, got)
			}
		})
	}
}

// provesSessionJournal: it wants a key, is a file, and belongs to one gateway while that runs.
func provesSessionJournal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	config := base()
	config.Gateway.SessionJournal = name
	if _, err := New(config); err == nil || !strings.Contains(err.Error(), "Config.SessionKey") {
		t.Errorf("without a key: %v", err)
	}
	config.Gateway.SessionKey[0] = 1
	config.Gateway.SessionJournal = filepath.Dir(name)
	if _, err := New(config); err == nil || !strings.Contains(err.Error(), "Config.SessionJournal: ") {
		t.Errorf("a directory: %v", err)
	}
	config.Gateway.SessionJournal = name
	start := func() (*Server, error) {
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		return s, s.Start()
	}
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(name); err != nil || st.Size() == 0 {
		t.Errorf("the file: %v, %v", st, err)
	}
	if _, err := start(); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second one: %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if s, err = start(); err != nil { // it is free again
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// set gives v a value that is not its zero value, nor any default.
func set(t *testing.T, v reflect.Value, sample any) {
	t.Helper()
	switch {
	case sample != nil:
		v.Set(reflect.ValueOf(sample))
	case v.Type() == reflect.TypeFor[*slog.Logger]():
		v.Set(reflect.ValueOf(lograte.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
	case v.CanInt():
		v.SetInt(7)
	case v.CanUint():
		v.SetUint(7)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Array:
		set(t, v.Index(0), nil)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(t, v.Index(0), nil)
	default:
		t.Fatalf("no sample of a %s", v.Type())
	}
}

// What one field says for another holds unless that one speaks for itself.
func TestFieldsThatFollowOthers(t *testing.T) {
	config := base()
	config.Gateway.LoginTimeout, config.Gateway.LoginBytes = 3*time.Second, 9999
	config.Gateway.Logger = lograte.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.engine.Config(); c.FirstBytes != 3*time.Second || c.LoginBytes != 9999 || c.Logger != config.Gateway.Logger {
		t.Errorf("engine: %v, %d, %p", c.FirstBytes, c.LoginBytes, c.Logger)
	}
	if s.hub.Config().Logger != config.Gateway.Logger || s.admin.Config().Logger != config.Gateway.Logger {
		t.Error("the gateway's logger is not that of links and operators")
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	ln := listenTCP(t)
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no login", func(c *Config) { c.Gateway.Login = nil }, "no login provider"},
		{"no such policy", func(c *Config) { c.SlowConsumer = 3 }, "Config.SlowConsumer is 3"},
		{"negative time", func(c *Config) { c.CustomIDTTL = -1 }, "Config.CustomIDTTL is negative"},
		{"admin key without admin", func(c *Config) { c.Admin = AdminConfig{APIKey: "k"} }, "Config.Admin.APIKey is set"},
		{"admin version without admin", func(c *Config) { c.Admin = AdminConfig{Version: "v"} }, "Config.Admin.Version is set"},
		{"two for workers", func(c *Config) { c.WorkerListen, c.WorkerListener = "tcp://127.0.0.1:0", ln }, "Config.WorkerListener is set"},
		{"listener that is none", func(c *Config) { c.Listeners = []Listener{{}} }, "Config.Listeners: no Listener"},
		{"listener of a scheme", func(c *Config) { c.Listeners = []Listener{{Listener: ln, Scheme: "udp"}} }, `scheme "udp"`},
		{"no certificate", func(c *Config) { c.Listen = []string{"tls://127.0.0.1:0"} }, "Config.TLS has no certificates"},
		{"no certificate for workers", func(c *Config) { c.WorkerListen = "tls://127.0.0.1:0" }, "the worker listener wants one"},
		{"no certificate for operators", func(c *Config) { c.Admin.Address = "https://127.0.0.1:0" }, "the admin listener wants one"},
		{"certificates unused", func(c *Config) { c.TLS.Dev = true }, "Config.TLS is set: no listener uses it"},
		{"client CA unused", func(c *Config) { c.Admin.Address, c.TLS = "https://127.0.0.1:0", TLSConfig{Dev: true, ClientCA: "x"} },
			"Config.TLS.ClientCA is set"},
		{"worker CA unused", func(c *Config) {
			c.Listen, c.TLS = []string{"tls://127.0.0.1:0"}, TLSConfig{Dev: true, WorkerClientCA: "x"}
		},
			"Config.TLS.WorkerClientCA is set"},
		{"client certificates of nobody", func(c *Config) {
			c.Listen, c.TLS.Dev = []string{"tls://127.0.0.1:0?client-cert=optional"}, true
		}, "want Config.TLS.ClientCA"},
		{"file that is none", func(c *Config) {
			c.Listen, c.TLS.Pairs = []string{"tls://127.0.0.1:0"}, []CertPair{{Cert: "/none.pem", Key: "/none.key"}}
		}, "Config.TLS.Pairs.Cert: open /none.pem"},
		{"listener of a protocol", func(c *Config) { c.Listeners = []Listener{{Listener: ln, Protocol: "smtp"}} }, `protocol "smtp"`},
		{"listen", func(c *Config) { c.Listen = []string{"udp://127.0.0.1:0"} }, "want tcp://HOST:PORT"},
		{"worker", func(c *Config) { c.WorkerListen = "127.0.0.1:0" }, "want tcp://HOST:PORT"},
		{"open workers", func(c *Config) { c.WorkerListen = "tcp://0.0.0.0:0" }, "set Config.Worker.Tokens or Allow"},
		{"a short token", func(c *Config) { c.Worker.Tokens = []string{"secret"} }, "token 1 has 6 bytes"},
		{"worker id", func(c *Config) { c.Worker.OpenWorker = 1000 }, "worker id 1000"},
		{"admin address", func(c *Config) { c.Admin.Address = "here" }, "want HOST:PORT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := base()
			tc.change(&config)
			if _, err := New(config); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q in it", err, tc.want)
			}
		})
	}
	// A listener of a Config that New refused is still the caller's.
	go net.Dial("tcp", ln.Addr().String())
	if c, err := ln.Accept(); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func provesListen(t *testing.T) {
	s, _ := begin(t, Config{Listen: []string{"tcp://127.0.0.1:0", "ws://127.0.0.1:0"}})
	if a := s.Addrs(); len(a) != 2 || !strings.HasPrefix(a[1], "ws://127.0.0.1:") {
		t.Error(a)
	}
}

func provesListeners(t *testing.T) {
	given := []net.Listener{listenTCP(t), listenTCP(t), listenTCP(t)}
	s, own := begin(t, Config{Listen: []string{"tcp://127.0.0.1:0"}, Listeners: []Listener{
		{Listener: given[0]},
		{Listener: given[1], Protocol: "longbridge"},
		{Listener: given[2], Scheme: "ws", Protocol: "gosoc"},
	}})
	for i, want := range []string{"tcp://" + own, "tcp://" + given[0].Addr().String(), "tcp://" + given[1].Addr().String(), "ws://" + given[2].Addr().String()} {
		if got := s.Addrs()[i]; got != want {
			t.Errorf("address %d is %s, want %s", i, got, want)
		}
	}
	for i, serves := range [][]string{
		{"gosoc", "longbridge", "ws gosoc", "ws netsvr", "ws longbridge"}, {"longbridge", "ws longbridge"}, {"ws gosoc"},
	} {
		for name, g := range greetings {
			want := slices.Contains(serves, name)
			if got := served(t, given[i].Addr().String(), g.first, g.answer); got != want {
				t.Errorf("listener %d, %s: served is %v", i, name, got)
			}
		}
	}
	end(t, s)
	for i, ln := range given {
		if _, err := ln.Accept(); err == nil {
			t.Errorf("listener %d is open after Stop", i)
		}
	}
}

// Without reading, a client is closed under SlowClose and loses pushes under SlowDropNewest.
func provesSlowConsumer(t *testing.T) {
	for _, policy := range []engine.SlowConsumer{engine.SlowClose, engine.SlowDropNewest} {
		s, addr := begin(t, Config{SlowConsumer: policy, Dev: true, Engine: engine.Config{Backlog: 64 << 10, SendBuffer: 16 << 10}})
		c := dialGOSOC(t, addr, "ann")
		count := func() (closed, dropped uint64) {
			st := s.Engine().Stats()
			return st.Closed[engine.ReasonSlowConsumer], st.Dropped[engine.DropSlowConsumer]
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			if _, err := s.Send(t.Context(), User("ann"), make([]byte, 32<<10)); err != nil {
				t.Fatal(err)
			}
			if closed, dropped := count(); closed+dropped > 0 {
				break
			}
		}
		if closed, dropped := count(); (closed == 1) != (policy == engine.SlowClose) || dropped == 0 {
			t.Errorf("policy %d: %d closed, %d dropped", policy, closed, dropped)
		}
		c.Close()
		end(t, s)
	}
}

func provesDev(t *testing.T) {
	s, addr := begin(t, Config{Dev: true, Admin: AdminConfig{Address: "127.0.0.1:0"}})
	c := dialGOSOC(t, addr, "")
	c.ask("sluice.Echo", "1")
	c.wantReply(`{"status":0,"data":1}`)
	if !s.admin.Config().Dev {
		t.Error("the admin listener does not know")
	}
}

func provesWorkerListen(t *testing.T) {
	s, _ := begin(t, Config{WorkerListen: "tcp://127.0.0.1:0"})
	attach(t, s, strings.TrimPrefix(s.WorkerAddr(), "tcp://"))
}

func provesWorkerListener(t *testing.T) {
	ln := listenTCP(t)
	s, _ := begin(t, Config{WorkerListener: ln})
	if s.WorkerAddr() != "tcp://"+ln.Addr().String() {
		t.Error(s.WorkerAddr())
	}
	attach(t, s, ln.Addr().String())
}

// attach wants a connection to become a worker's link.
func attach(t *testing.T, s *Server, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(patience); s.Hub().Stats().Links != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", s.Hub().Stats())
		}
	}
}

func provesCustomIDTTL(t *testing.T) {
	s, err := New(Config{Gateway: GatewayConfig{Login: openLogin}, CustomIDTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for after, want := range map[time.Duration]bool{59 * time.Minute: true, 61 * time.Minute: false} {
		token, err := s.tokens.Issue(now, "id")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := s.tokens.Take(now.Add(after), []byte(token)); ok != want {
			t.Errorf("after %v a token is good: %v", after, ok)
		}
	}
}

// Admit is asked about each peer.
func provesAdmit(t *testing.T) {
	asked := make(chan netip.Addr, 100)
	var admit atomic.Bool
	admit.Store(true)
	s, addr := begin(t, Config{
		Engine: engine.Config{Admit: func(peer netip.Addr) (engine.Reason, bool) {
			asked <- peer
			return engine.ReasonTooManyClients, admit.Load()
		}},
	})
	dialGOSOC(t, addr, "ann")
	if peer := receive(t, asked); peer != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("asked about %v", peer)
	}
	admit.Store(false)
	dial(t, addr).wantEnd()
	receive(t, asked)
	if n := s.Engine().Stats().Refused[engine.ReasonTooManyClients]; n != 1 {
		t.Errorf("%d refused", n)
	}
}

// Describe is asked about a connection that ends.
func provesDescribe(t *testing.T) {
	asked := make(chan bool, 100)
	_, addr := begin(t, Config{
		Engine: engine.Config{
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Describe: func(c *engine.Conn, h engine.Handler) (protocol, id string) {
				asked <- c.Peer().IsValid() && h != nil
				return "mine", ""
			},
		},
	})
	p := dial(t, addr)
	if _, err := p.Write([]byte("\xff\xff\xff\xff")); err != nil {
		t.Fatal(err)
	}
	p.wantEnd()
	if !receive(t, asked) {
		t.Error("asked about no connection")
	}
}

func provesAdminListener(t *testing.T) {
	ln := listenTCP(t)
	s, _ := begin(t, Config{Admin: AdminConfig{Listener: ln}})
	if s.AdminURL() != "http://"+ln.Addr().String() {
		t.Error(s.AdminURL())
	}
	r, err := http.Get(s.AdminURL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
}
