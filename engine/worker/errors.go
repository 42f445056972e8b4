package worker

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

var (
	// ErrNotConnected: the link is down, or not up yet. Nothing was sent.
	ErrNotConnected = errors.New("worker: not connected")

	// ErrLinkLost: the link broke while the command waited for room or for its answer.
	ErrLinkLost = errors.New("worker: link lost")

	// ErrNoCluster: the gateway is in no cluster, and Config.Cluster says that it is.
	ErrNoCluster = errors.New("worker: the gateway is in no cluster")

	// ErrUnanswered: the gateway answered a later query instead.
	ErrUnanswered = errors.New("worker: query left unanswered")

	// ErrTooManyQueries: 4096 queries, abandoned ones included, wait on the link.
	ErrTooManyQueries = errors.New("worker: too many queries on the link")

	// ErrProtocol: the gateway sent what no gateway sends. The link is dialled anew.
	ErrProtocol = errors.New("worker: gateway broke the protocol")

	// ErrPattern: a route that Handle, or a range that HandleCmd, cannot make sense of.
	ErrPattern = errors.New("worker: bad route")

	// ErrPushCmd: a command that no push can have; 0 to 3 are Longbridge's own, and it has one byte.
	ErrPushCmd = errors.New("worker: command of a push is not 4 to 255")

	// ErrDrainTimeout: handlers were still busy when Run had to return.
	ErrDrainTimeout = errors.New("worker: handlers still running")

	// ErrRunning: Run was called before.
	ErrRunning = errors.New("worker: worker has been run already")
)

// A LinkError names the link and the command that failed. Queries that took too long wrap
// context.DeadlineExceeded.
type LinkError struct {
	Gateway string // its address, as Gateway.Addr has it
	Command string // as the protocol calls it; "dial" of Ready
	Err     error
}

// Error names the gateway and the command.
func (e *LinkError) Error() string {
	return fmt.Sprintf("worker: %s: %s: %v", e.Gateway, e.Command, e.Err)
}

// Unwrap returns what went wrong.
func (e *LinkError) Unwrap() error { return e.Err }

// A MissingNodesError says that some nodes of the cluster have not answered a query in time. What comes
// with it is what the others have answered.
type MissingNodesError struct {
	ServerIDs []uint32 // of those nodes
}

// Error names the nodes.
func (e *MissingNodesError) Error() string {
	return fmt.Sprintf("worker: nodes %v of the cluster have not answered", e.ServerIDs)
}

// answered reports whether there is an answer, all of it or what came from the nodes that have
// answered.
func answered(err error) bool {
	_, missing := errors.AsType[*MissingNodesError](err)
	return err == nil || missing
}

// A RegisterError is a gateway's refusal to register the worker.
type RegisterError struct {
	Code    int    // of RegisterResp
	Message string // the gateway's name for it
}

// Error has the code and the gateway's name for it.
func (e *RegisterError) Error() string {
	return fmt.Sprintf("worker: registration refused: code %d (%s)", e.Code, e.Message)
}

func registerError(r *netsvrpb.RegisterResp) error {
	if r.GetCode() == netsvrpb.RegisterResp_Success {
		return nil
	}
	return &RegisterError{Code: int(r.GetCode()), Message: r.GetMessage()}
}

// Statuses of replies. The numbers are GOSOC's; see StatusError for what others get.
const (
	StatusOK       = 0
	StatusRefused  = 4 // the request's fault
	StatusInternal = 5 // the worker's, or the gateway's
)

// A StatusError is an error that the client is to see. A handler that returns one, wrapped or
// not, answers with it; with any other error it answers StatusInternal and no details.
//
// A Longbridge client knows other statuses, and its errors are packed as it asked for at its
// handshake, which only the gateway knows. Unless there is a Payload it gets 3 (bad request) for
// StatusRefused, 7 (server internal error) for StatusInternal, any other Status as it is, and the
// Message in an Error with a code that says the same in HTTP's numbers. With a Payload it goes out as
// it is: that is for those who know whom they answer (Request.Protocol).
type StatusError struct {
	Status  int32
	Message string // for people; sent as {"status":...,"message":...,"data":null}
	Payload []byte // sent as it is instead, if there is any
}

// Error has the status and the message.
func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Message) }

const protocolLongbridge = "longbridge"

// Longbridge's statuses for what this package answers itself.
const (
	longbridgeTimeout    = 1
	longbridgeBadRequest = 3
	longbridgeInternal   = 7
)

// reply is what a client of a protocol is answered. The gateway puts the message into the protocol's
// words; with neither payload nor message it writes its own.
func (e *StatusError) reply(protocol string) (status int32, payload []byte, message string) {
	if len(e.Payload) > 0 {
		return e.Status, e.Payload, ""
	}
	if protocol == protocolLongbridge {
		switch {
		case e == errTooLate:
			return longbridgeTimeout, nil, e.Message
		case e.Status == StatusRefused:
			return longbridgeBadRequest, nil, e.Message
		case e.Status == StatusInternal:
			return longbridgeInternal, nil, e.Message
		}
		return e.Status, nil, e.Message
	}
	if e.Message == "" {
		return e.Status, nil, ""
	}
	b, err := json.Marshal(struct {
		Status  int32     `json:"status"`
		Message string    `json:"message"`
		Data    *struct{} `json:"data"`
	}{Status: e.Status, Message: e.Message})
	if err != nil {
		return e.Status, nil, ""
	}
	return e.Status, b, ""
}
