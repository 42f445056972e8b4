package link

import (
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// maxGoroutines is what a worker's processCmdGoroutineNum is capped at. The number changes
// nothing here: a link's commands are always carried out in order.
const maxGoroutines = 64

// register answers Register. The answer and the link's place in its group are one step: the answer
// is the first frame the worker gets, and once it has it, the next client finds the worker there.
// A refusal leaves the link as it was.
func (l *link) register(payload []byte) error {
	req := new(netsvrpb.RegisterReq)
	code := netsvrpb.RegisterResp_Success
	switch err := netsvr.Unmarshal(payload, req); {
	case err != nil:
		l.hub.stats.malformed.Add(1)
		code = netsvrpb.RegisterResp_UnmarshalError
	case req.WorkerId == 0 && (req.Token != "" || req.ClusterScope):
		// The proof alone, which the link has given, or the scope.
		return l.respond(netsvr.CmdRegister, &netsvrpb.RegisterResp{Cluster: l.joinCluster(req)})
	case req.WorkerId < 1 || req.WorkerId > gateway.MaxWorker:
		code = netsvrpb.RegisterResp_WorkerIdOverflow
	case req.ServerId != uint32(l.hub.gateway.Config().ServerID):
		code = netsvrpb.RegisterResp_ServerIdInconsistent
	case l.registered:
		code = netsvrpb.RegisterResp_DuplicateRegister
	}
	if code == netsvrpb.RegisterResp_Success {
		if err := l.checkRegister(payload, req.WorkerId); err != nil {
			// The code is InvalidEvent in protocol 6, whose SDKs show the message.
			_ = l.respond(netsvr.CmdRegister, &netsvrpb.RegisterResp{
				Code: netsvrpb.RegisterResp_WorkerIdOverflow, Message: err.Error(),
			})
			return err
		}
	}
	resp := &netsvrpb.RegisterResp{Code: code, Message: code.String()}
	if code != netsvrpb.RegisterResp_Success {
		l.hub.log.Warn("worker not registered", "peer", l.peer, "workerId", req.WorkerId, "serverId", req.ServerId, "code", code.String())
		return l.respond(netsvr.CmdRegister, resp)
	}
	resp.RegisterId, resp.Cluster = l.registerID, l.joinCluster(req)
	message, err := netsvr.AppendMessage(nil, resp)
	if err != nil {
		return err
	}
	l.registered, l.workerID, l.takesRequests = true, int(req.WorkerId), req.AcceptsRequests
	l.wantsIdentity, l.answersProbes = req.WantsIdentity, req.AnswersProbes
	if n := req.ProcessCmdGoroutineNum; n > 1 {
		l.hub.log.Info("processCmdGoroutineNum changes nothing: commands of a link stay in order",
			"peer", l.peer, "asked", n, "taken", min(n, maxGoroutines))
	}
	l.hub.log.Info("worker registered", "peer", l.peer, "workerId", l.workerID, "requests", l.takesRequests, "identity", l.wantsIdentity,
		"certificate", certificateName(l.conn))
	l.answerThen(netsvr.CmdRegister, message, false, func() { l.hub.join(l, l.workerID) })
	l.hub.announce()
	return nil
}

// joinCluster gives the link the scope of the cluster, if it asks for that, and returns the cluster's name.
func (l *link) joinCluster(req *netsvrpb.RegisterReq) string {
	c := l.hub.cluster
	if c == nil || !req.ClusterScope {
		return ""
	}
	if !l.scope {
		l.setScope()
	}
	return c.Name()
}

// unregister answers Unregister, which may come from any link and removes exactly the pair it
// names. It is answered whether or not there is such a pair. A link that
// names itself is answered behind all that waits for it: it may hang up on the answer.
func (l *link) unregister(payload []byte) error {
	req := new(netsvrpb.UnRegisterReq)
	if err := netsvr.Unmarshal(payload, req); err != nil {
		return err
	}
	last := false
	if other := l.hub.find(int(req.WorkerId), req.RegisterId); other != nil {
		last = other == l
		l.hub.leave(other, int(req.WorkerId))
		l.hub.announce()
		l.hub.log.Info("worker unregistered", "peer", other.peer, "workerId", req.WorkerId)
	}
	l.answerThen(netsvr.CmdUnregister, nil, last, func() {}) // the message has no fields
	return nil
}
