package cluster

import (
	"context"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// namesTag is the first byte of what names says to other nodes. It is none of those of workers' commands.
const namesTag = 'N'

// rpcPeers are the peers of names.
type rpcPeers struct{ node *Node }

// ask implements peers.
func (p rpcPeers) ask(ctx context.Context, node uint8, request []byte) ([]byte, error) {
	type result struct {
		answer []byte
		err    error
	}
	results := make(chan result, 1)
	body := append(append(make([]byte, 0, len(request)+1), namesTag), request...)
	p.node.rpc.ask([]uint8{node}, body, endWait, func(_ uint8, answer []byte, err error) {
		results <- result{answer, err}
	}, nil)
	select {
	case r := <-results:
		return r.answer, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bindNames makes names, if there is a bucket for them.
func (n *Node) bindNames() {
	if n.config.Names == nil {
		return
	}
	n.names = newNames(&n.config, &n.nodes, rpcPeers{n}, n.lease.held.Load)
	n.names.named = n.named
	n.Serve(func(_ uint8, _ []byte, answer func([]byte)) { // until somebody else serves, too
		if answer != nil {
			answer(nil)
		}
	})
	if e := n.config.Engine; e != nil {
		n.names.charge = func(size int64) { e.Charge(engine.KindCluster, size) }
	}
}

// Registry keeps the users, uniqIds and one-time tokens of c's gateway and those of the other nodes apart.
// It is there from Bind on, and nil without a bucket for it; before Start.
func (n *Node) Registry(c Client) gateway.Registry {
	if n.names == nil {
		return nil
	}
	n.names.client = c
	return n.names
}

// serveNames takes what names of another node says. It reports false for what others say.
func (n *Node) serveNames(payload []byte, answer func([]byte)) bool {
	if len(payload) == 0 || payload[0] != namesTag || n.names == nil {
		return false
	}
	if answer == nil {
		answer = func([]byte) {}
	}
	if err := n.names.serve(payload[1:], answer); err != nil {
		n.log.Debug("a request about names cannot be read", "err", err)
		answer(nil)
	}
	return true
}
