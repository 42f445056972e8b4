package server

import (
	"fmt"
	"net"

	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
)

// endpoint is one client listener to be opened.
type endpoint struct {
	Listen
	index int          // in Config.Listen, or in Config.Listeners if it was given
	given net.Listener // nil: Address is to be listened on
	fd    int          // of a socket that was handed over; 0: none
}

// endpoints reads Config's client listeners.
func (c *Config) endpoints(own []string) ([]endpoint, error) {
	var all []endpoint
	for i, text := range c.Listen {
		l, err := ParseListen(text, own...)
		if err != nil {
			return nil, err
		}
		if l.Descriptor == "" {
			all = append(all, endpoint{Listen: l, index: i})
			continue
		}
		sockets, err := l.sockets()
		if err != nil {
			return nil, &ListenError{"Listen", i, fmt.Errorf("%s: %w", text, err)}
		}
		for _, e := range sockets {
			e.index = i
			all = append(all, e)
		}
	}
	for i, given := range c.Listeners {
		l, err := given.check(own)
		if err != nil {
			return nil, err
		}
		all = append(all, endpoint{Listen: l, index: i, given: given.Listener})
	}
	if len(all) == 0 {
		l, err := ParseListen(DefaultListen)
		return []endpoint{{Listen: l}}, err
	}
	return all, nil
}

// open serves clients on e and returns its real address as a URL.
func (s *Server) open(e endpoint) (string, error) {
	config := engine.ListenConfig{
		Listener: e.given, Network: "tcp", Address: e.Address,
		Protocols: s.speaking(e.Listen), SlowConsumer: s.config.SlowConsumer, Proxy: e.Proxy,
		TLS: s.tlsFor(e.Listen), TLSAuto: e.TLSAuto,
		Mode: e.Mode, Owner: e.Owner,
	}
	if e.Unix() {
		config.Network = unixScheme
	}
	if e.Descriptor != "" {
		ln, err := s.inherit(e)
		if err != nil {
			return "", err
		}
		config.Listener = ln
	}
	addr, err := s.engine.Listen(config)
	if err != nil {
		return "", err
	}
	return urlOf(e.Scheme, addr), nil
}

// speaking returns the protocols of a listener: on ws:// and wss:// what travels over HTTP alone.
func (s *Server) speaking(l Listen) []engine.Protocol {
	spoken := s.protocols[l.Protocol]
	if !l.http() {
		return spoken
	}
	var framed []engine.Protocol
	for _, p := range spoken {
		if p, ok := p.(*ws.Protocol); ok {
			framed = append(framed, p.Alone())
		}
	}
	return framed
}

// listenForWorkers serves workers, if they are to be served.
func (s *Server) listenForWorkers() (url string, err error) {
	if ln := s.config.WorkerListener; ln != nil {
		s.hub.Serve(ln)
		scheme := ln.Addr().Network()
		if s.hub.Config().TLS != nil {
			scheme = "tls"
		}
		return urlOf(scheme, ln.Addr()), nil
	}
	if s.config.WorkerListen == "" {
		return "", nil
	}
	l, err := ParseWorkerListen(s.config.WorkerListen)
	if err != nil {
		return "", err
	}
	if l.Descriptor != "" {
		ln, err := s.inherit(s.workerSocket)
		if err != nil {
			return "", err
		}
		s.hub.Serve(ln)
		return urlOf(s.workerSocket.Scheme, ln.Addr()), nil
	}
	if l.Unix() {
		ln, err := listenUnix(l)
		if err != nil {
			return "", fmt.Errorf("worker: %w", err)
		}
		s.hub.Serve(ln)
		return urlOf(l.Scheme, ln.Addr()), nil
	}
	addr, err := s.hub.Listen(l.Address)
	if err != nil {
		return "", err
	}
	if s.hub.Config().TLS != nil {
		l.Scheme = "tls"
	}
	return l.Scheme + "://" + addr.String(), nil
}

// closeGiven closes the listeners from outside, those that were served too.
func (s *Server) closeGiven() {
	for _, ln := range s.config.Listeners {
		_ = ln.Close()
	}
	for _, ln := range []net.Listener{s.config.WorkerListener, s.config.Admin.Listener} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}
