package dev

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A Worker serves the development routes. The zero Worker is ready for use.
type Worker struct {
	// IgnoreCase has routes that differ in the case of letters be the same.
	IgnoreCase bool
}

// The routes, and on protocols that have commands their numbers.
const (
	RouteEcho        = "sluice.Echo"
	RouteSubscribe   = "sluice.Subscribe"
	RouteUnsubscribe = "sluice.Unsubscribe"
	RoutePublish     = "sluice.Publish"
	RoutePushMe      = "sluice.PushMe"
	RouteUpload      = "sluice.Upload"
	RouteWhoami      = "sluice.Whoami"

	CmdEcho        = 200
	CmdSubscribe   = 201
	CmdUnsubscribe = 202
	CmdPublish     = 203
	CmdPushMe      = 204
)

// StandsIn implements gateway.StandIn: once there was a real worker, routes that begin with sluice. are
// still for this one, and commands, whose numbers belong to nobody, wait for that.
func (Worker) StandsIn(r *gateway.Request) bool { return bytes.HasPrefix(r.Route, []byte("sluice.")) }

// ServeRequest implements gateway.Handler.
func (w Worker) ServeRequest(r *gateway.Request) {
	if r.Route == nil {
		serveCommand(r)
		return
	}
	payload := r.Payload
	if len(payload) == 0 {
		payload = null
	}
	if !valid(payload) {
		r.Fail(gateway.StatusError, "the payload is not JSON")
		return
	}
	route := r.Route
	if w.IgnoreCase {
		route = asWritten(route)
	}
	switch string(route) {
	case RouteEcho:
		replyData(r, payload)
	case RouteSubscribe:
		subscribe(r, payload)
	case RouteUnsubscribe:
		unsubscribe(r, payload)
	case RoutePublish:
		publish(r, payload)
	case RoutePushMe:
		r.Push(payload)
		replyData(r, empty)
	case RouteUpload:
		upload(r)
	case RouteWhoami:
		whoami(r)
	default:
		r.Fail(gateway.StatusError, "no such route: "+string(r.Route[:min(len(r.Route), 100)]))
	}
}

// routes are those above.
var routes = [][]byte{
	[]byte(RouteEcho), []byte(RouteSubscribe), []byte(RouteUnsubscribe), []byte(RoutePublish),
	[]byte(RoutePushMe), []byte(RouteUpload), []byte(RouteWhoami),
}

// asWritten returns the one of routes that is route but for the case of letters, or route.
func asWritten(route []byte) []byte {
	for _, r := range routes {
		if bytes.EqualFold(r, route) {
			return r
		}
	}
	return route
}

var (
	null  = []byte("null")
	empty = []byte("{}")
)

// replyData answers {"status":0,"data":...}.
func replyData(r *gateway.Request, data []byte) {
	if !r.WantsReply {
		return
	}
	out := &r.Gateway().Scratch(r.Conn().Loop()).Reply
	b := append((*out)[:0], `{"status":0,"data":`...)
	b = append(append(b, data...), '}')
	*out = b
	r.Reply(b)
}

func topics(r *gateway.Request, room [][]byte, payload []byte) (names [][]byte, ok bool) {
	if names, ok = topicNames(room, payload); !ok {
		r.Fail(gateway.StatusError, `want {"topics":["..."]}`)
		return nil, false
	}
	for _, t := range names {
		if len(t) == 0 {
			r.Fail(gateway.StatusError, "a topic's name is empty")
			return nil, false
		}
	}
	return names, true
}

func subscribe(r *gateway.Request, payload []byte) {
	var room [8][]byte
	names, ok := topics(r, room[:0], payload)
	if !ok {
		return
	}
	last, ok := lastOf(payload)
	if !ok {
		r.Fail(gateway.StatusError, `want "last":n, how many messages that the topics have kept`)
		return
	}
	for _, t := range names {
		if err := r.TrySubscribeLast(t, last); err != nil {
			r.Fail(gateway.StatusError, err.Error())
			return
		}
	}
	e := r.Gateway().Engine()
	if e.Config().Remote == nil {
		replyData(r, empty)
		return
	}
	// The answer says that nothing is missed from now on, whoever publishes on whatever node.
	g, t := r.Gateway(), r.Defer()
	done := func() { g.Answer(t, gateway.StatusOK, []byte(`{"status":0,"data":{}}`)) }
	if !e.WhenSettled(slices.Values(names), done) {
		done()
	}
}

func unsubscribe(r *gateway.Request, payload []byte) {
	var room [8][]byte
	names, ok := topics(r, room[:0], payload)
	if !ok {
		return
	}
	for _, t := range names {
		r.Unsubscribe(t)
	}
	replyData(r, empty)
}

func publish(r *gateway.Request, payload []byte) {
	topic, data, ok := publishBody(payload)
	if !ok || len(topic) == 0 {
		r.Fail(gateway.StatusError, `want {"topic":"...","data":...}`)
		return
	}
	if err := r.Publish(topic, data); err != nil {
		r.Fail(gateway.StatusError, err.Error())
		return
	}
	replyData(r, empty)
}

func upload(r *gateway.Request) {
	sum := sha256.Sum256(r.Data)
	b := append(make([]byte, 0, 128), `{"len":`...)
	b = strconv.AppendInt(b, int64(len(r.Data)), 10)
	b = append(b, `,"sha256":"`...)
	b = hex.AppendEncode(b, sum[:])
	replyData(r, append(b, `"}`...))
}

func whoami(r *gateway.Request) {
	b, err := json.Marshal(struct {
		UniqID  string   `json:"uniqId"`
		User    string   `json:"user"`
		Session string   `json:"session"`
		Topics  []string `json:"topics"`
	}{r.UniqID(), r.User(), r.Client().Session(), r.Conn().Topics([]string{})})
	if err != nil {
		r.Fail(gateway.StatusInternal, err.Error())
		return
	}
	replyData(r, b)
}

// serveCommand serves the routes by their numbers. Replies carry the same bodies, but echo and
// push return the body as it came.
func serveCommand(r *gateway.Request) {
	switch r.Cmd {
	case CmdEcho:
		r.Reply(r.Payload)
		return
	case CmdPushMe:
		r.Push(r.Payload)
		replyData(r, empty)
		return
	}
	payload := r.Payload
	if len(payload) == 0 {
		payload = null
	}
	if !valid(payload) {
		r.Fail(gateway.StatusError, "the payload is not JSON")
		return
	}
	switch r.Cmd {
	case CmdSubscribe:
		subscribe(r, payload)
	case CmdUnsubscribe:
		unsubscribe(r, payload)
	case CmdPublish:
		publish(r, payload)
	default:
		r.Fail(gateway.StatusError, "no such command: "+strconv.Itoa(int(r.Cmd)))
	}
}

// ServeMessage gives a netsvr customer its message back.
func (Worker) ServeMessage(c *engine.Conn, g *gateway.Gateway, data []byte) {
	c.Deliver(g.Push(data))
}
