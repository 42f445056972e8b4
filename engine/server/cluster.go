package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/cluster"
)

// A ClusterConfig makes the gateway one of several that behave as one, with NATS between them. Each
// needs a Gateway.ServerID of its own. Without URLs the gateway is alone, and the other fields are
// refused.
type ClusterConfig struct {
	// URLs are servers of one NATS cluster, nats://HOST:PORT, or tls in place of nats. They tell of the
	// others.
	URLs []string
	// Name is the cluster's: gateways of one name belong together. 1 to 32 of a-z, 0-9 and -. Empty
	// means DefaultClusterName.
	Name string
	// Creds is a file of NATS credentials, NKey one of a seed: at most one of them.
	Creds, NKey string
	// CA is a file of authorities that the servers' certificates come from; empty: the system's. Cert
	// and Key are files of the gateway's own certificate.
	CA, Cert, Key string
	// Replicas is how many NATS servers keep the leases of server ids, and the messages of topics with
	// history, if their buckets and their stream have to be made. Zero means 3 where the servers are a
	// cluster, else 1.
	Replicas int
	// HistoryTotal is how many bytes NATS keeps of topics with history (Engine.History), if their
	// stream has to be made. Zero means 256 MiB. With HistoryOnDisk it keeps them in files, else in
	// memory.
	HistoryTotal  int64
	HistoryOnDisk bool
	// HistoryWait is how long a message to such a topic may wait until NATS has it, before its
	// publisher is told that it has not, 1 s to 5 min. Zero means DefaultHistoryWait.
	HistoryWait time.Duration
	// Address says to people where the gateway is. Empty means the host's name and the listeners.
	Address string
}

// DefaultHistoryWait is the zero ClusterConfig.HistoryWait: longer than NATS takes to elect a leader.
const DefaultHistoryWait = cluster.DefaultHistoryWait

// DefaultClusterHistoryTotal is the zero ClusterConfig.HistoryTotal, in bytes.
const DefaultClusterHistoryTotal = cluster.DefaultHistoryTotal

// Bounds of ClusterConfig's settings of history.
const (
	minHistoryWait  = time.Second
	maxHistoryWait  = 5 * time.Minute
	minHistoryTotal = 1 << 20
)

// DefaultClusterName is the zero ClusterConfig.Name.
const DefaultClusterName = "default"

// on reports whether there is a cluster.
func (c *ClusterConfig) on() bool { return len(c.URLs) > 0 }

// zero reports whether nothing is set.
func (c *ClusterConfig) zero() bool {
	return reflect.ValueOf(*c).IsZero()
}

// nats is what the cluster's own package is told of it.
func (c *ClusterConfig) nats(self uint8) cluster.NATSConfig {
	name := c.Name
	if name == "" {
		name = DefaultClusterName
	}
	return cluster.NATSConfig{
		URLs: c.URLs, Name: name, Self: self, Creds: c.Creds, NKey: c.NKey, CA: c.CA, Cert: c.Cert, Key: c.Key,
		Replicas: c.Replicas,
	}
}

// maxAddress is how long ClusterConfig.Address may be, in bytes.
const maxAddress = 256

// Check says what New would refuse: a *ClusterSettingError, or several joined. It reads the files that
// are named.
func (c *ClusterConfig) Check() error {
	config := c.nats(0)
	err := config.Check()
	unfit := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(c.Address) > maxAddress || strings.ContainsFunc(c.Address, unfit) {
		err = errors.Join(err, &ClusterSettingError{
			Field: "Address", Err: fmt.Errorf("want at most %d printable bytes", maxAddress),
		})
	}
	if c.HistoryWait != 0 && (c.HistoryWait < minHistoryWait || c.HistoryWait > maxHistoryWait) {
		err = errors.Join(err, &ClusterSettingError{
			Field: "HistoryWait", Err: fmt.Errorf("%v, want %v to %v", c.HistoryWait, minHistoryWait, maxHistoryWait),
		})
	}
	if c.HistoryTotal != 0 && c.HistoryTotal < minHistoryTotal {
		err = errors.Join(err, &ClusterSettingError{
			Field: "HistoryTotal", Err: fmt.Errorf("%d bytes, want %d at least", c.HistoryTotal, minHistoryTotal),
		})
	}
	return err
}

// A ClusterSettingError is about a field of ClusterConfig, by its name.
type ClusterSettingError = cluster.SettingError

// A ClusterError is the error of Start, or of Server.Err, when the gateway cannot be one of the
// cluster, and trying again would be of no use: its server id is taken (Taken tells, and the text says
// by whom), or NATS refuses what it needs.
type ClusterError struct {
	Err error
}

// Error says why.
func (e *ClusterError) Error() string { return "server: " + e.Err.Error() }

// Unwrap returns Err.
func (e *ClusterError) Unwrap() error { return e.Err }

// Taken reports whether another process has the server id.
func (e *ClusterError) Taken() bool {
	var taken *cluster.TakenError
	return errors.As(e.Err, &taken)
}

// checkCluster refuses what cannot be honoured. Files that are named are read.
func (c *Config) checkCluster() error {
	if !c.Cluster.on() {
		if !c.Cluster.zero() {
			return errors.New("server: Config.Cluster: there are no URLs: set them, or nothing")
		}
		return nil
	}
	if err := c.Cluster.Check(); err != nil {
		return fmt.Errorf("server: Config.Cluster: %w", err)
	}
	switch {
	case c.Engine.Remote != nil:
		return errors.New("server: Config.Engine.Remote is set: Config.Cluster is, too; leave one of them out")
	case c.Engine.Log != nil:
		return errors.New("server: Config.Engine.Log is set: Config.Cluster is, too; leave one of them out")
	}
	return nil
}

// makeNode makes the gateway's part of the cluster, if there is one.
func (s *Server) makeNode() (err error) {
	c := &s.config.Cluster
	if !c.on() {
		return nil
	}
	config := c.nats(s.config.Gateway.ServerID)
	config.Logger = s.gateway.Log()
	config.SessionTTL = s.gateway.Config().SessionTTL
	if s.nats, err = cluster.NewNATS(config); err != nil {
		return fmt.Errorf("server: Config.Cluster: %w", err)
	}
	s.node, err = cluster.New(cluster.Config{
		Name: config.Name, Self: config.Self, Address: s.whereabouts, Version: s.config.Admin.Version,
		Workers: s.hub.Serving, Data: s.nats.Data(), Control: s.nats.Control(), Nodes: s.nats.Nodes(), Names: s.nats.Names(),
		Sessions: s.nats.Sessions(),
		History: cluster.HistoryConfig{
			Stream: s.nats.History(), Wait: c.HistoryWait, Total: c.HistoryTotal, File: c.HistoryOnDisk,
		},
		Logger: config.Logger,
	})
	if err != nil {
		return err
	}
	s.node.SetHistory(s.config.Engine.History)
	s.config.Engine.Remote, s.config.Engine.Log = s.node, s.node
	return nil
}

// whereabouts says to people where the gateway is.
func (s *Server) whereabouts() string {
	if s.config.Cluster.Address != "" {
		return s.config.Cluster.Address
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return strings.Join(append([]string{host}, s.Addrs()...), " ")
}

// natsTimeout is how long Start waits for NATS.
const natsTimeout = 5 * time.Second

// joinCluster makes the gateway one of the cluster. If NATS is away it goes on trying, and the
// gateway is not ready meanwhile.
func (s *Server) joinCluster() error {
	if s.node == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.start, natsTimeout)
	defer cancel()
	err := s.nats.Connect(ctx)
	var refused *cluster.RefusedError
	if errors.As(err, &refused) {
		return &ClusterError{err}
	}
	if err == nil {
		err = s.nats.Probe()
	}
	if errors.As(err, &refused) {
		return &ClusterError{err}
	}
	err = s.node.Start(s.start)
	if s.start.Err() != nil {
		return engine.ErrStopped
	}
	if err != nil {
		return &ClusterError{err}
	}
	s.besides.Go(s.watchCluster)
	return nil
}

// watchCluster ends the service when another process has the server id.
func (s *Server) watchCluster() {
	select {
	case <-s.life.Done():
		return
	case <-s.node.Lost():
	}
	s.mu.Lock()
	s.why = engine.ReasonServerIDLost
	s.mu.Unlock()
	s.gateway.Drain()
	s.engine.StopListening()
	s.engine.CloseAll(engine.ReasonServerIDLost)
	close(s.failed)
}

// Failed is closed when the gateway has ended its service by itself: it serves nobody any more, Err
// says why, and Stop should be called. That happens when it is one of a cluster and another process
// has its server id.
func (s *Server) Failed() <-chan struct{} { return s.failed }

// Err is why the gateway has ended its service by itself, nil while Failed is not closed.
func (s *Server) Err() error {
	select {
	case <-s.failed:
		return &ClusterError{s.node.Err()}
	default:
		return nil
	}
}
