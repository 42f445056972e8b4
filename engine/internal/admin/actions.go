package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/topic"
)

// A Process is what operators may do with the process that the gateway runs in. Each may be nil: then
// they are told that it is not to be had. They are called on any goroutine, one call of each at a time.
type Process struct {
	// Settings returns the configuration in force, without secrets, as what encoding/json takes.
	Settings func() any
	// Reload reads the configuration again and says what became of it.
	Reload func() (Reloaded, error)
	// Change gives settings, by their names, other values until the next reload, all or none. A value is a
	// string, a json.Number, a bool, a list of those, nil, or a map of further settings. It says what
	// became of it.
	Change func(settings map[string]any) (Reloaded, error)
	// Drain begins a shutdown, and returns at once.
	Drain func()
}

func (s *Server) process() *Process {
	if p := s.config.Process; p != nil {
		return p
	}
	return new(Process)
}

// A Reloaded says what became of a reload, which is all or nothing: with a setting that cannot change
// while the gateway runs, or any mistake, it is an error and changes nothing.
type Reloaded struct {
	Changed []string `json:"changed"` // flags with new values
	Login   bool     `json:"login"`   // files of tokens, keys or users were read again
}

// actionTime is how long an action may wait for the loops.
const actionTime = 5 * time.Second

// A target names connections: one by its uniqId or its name in a list, or all of a user's.
type target struct {
	UniqID     string `json:"uniqId"`
	Connection string `json:"connection"`
	User       string `json:"user"`
}

// refs returns the connections of a target; what names one that is not there is an error.
func (s *Server) refs(t *target) ([]engine.Ref, error) {
	given := 0
	for _, text := range []string{t.UniqID, t.Connection, t.User} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		return nil, badRequest("want one of uniqId, connection and user")
	}
	switch {
	case t.User != "":
		return s.gateway.Connections(nil, t.User), nil
	case t.UniqID != "":
		if ref := s.gateway.Lookup([]byte(t.UniqID)); ref != 0 {
			return []engine.Ref{ref}, nil
		}
		return nil, notThere("there is no client with uniqId %q", clip(t.UniqID))
	}
	ref, ok := parseRef(t.Connection)
	if !ok || ref.Loop() >= s.engine.Loops() {
		return nil, notThere("there is no connection %q", clip(t.Connection))
	}
	return []engine.Ref{ref}, nil
}

// text says in the log who was meant.
func (t *target) text() string {
	switch {
	case t.User != "":
		return "user " + t.User
	case t.UniqID != "":
		return "uniqId " + t.UniqID
	}
	return "connection " + t.Connection
}

// eachOn runs f with each of the connections on its loop, and returns how many there were. f is told
// of one at a time, and of none after eachOn has returned an error.
func (s *Server) eachOn(ctx context.Context, refs []engine.Ref, f func(*engine.Conn)) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, actionTime)
	defer cancel()
	for loop := range s.engine.Loops() {
		var of []engine.Ref
		for _, ref := range refs {
			if ref.Loop() == loop {
				of = append(of, ref)
			}
		}
		for len(of) > 0 {
			i, there := 0, 0
			if err := s.onLoop(ctx, loop, func(l *engine.Loop) {
				if ctx.Err() != nil {
					return // nobody waits for this any more
				}
				for sl := newSlice(1); i < len(of) && !sl.over(); i++ {
					if c := l.Conn(of[i]); c != nil {
						f(c)
						there++
					}
				}
			}); err != nil {
				return n, err
			}
			n += there
			of = of[i:]
		}
	}
	return n, nil
}

type reached struct {
	Connections int `json:"connections"`
}

func (s *Server) apiKick(r *http.Request) (any, error) {
	var body struct {
		target
		Reason string `json:"reason"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	why := engine.ReasonForcedOffline
	switch body.Reason {
	case "", why.String():
	case engine.ReasonKickedOut.String():
		why = engine.ReasonKickedOut
	default:
		return nil, badRequest("reason %q: want %v or %v", clip(body.Reason), why, engine.ReasonKickedOut)
	}
	return s.end(r, &body.target, why, "kicked")
}

func (s *Server) apiDisconnect(r *http.Request) (any, error) {
	var body target
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return s.end(r, &body, engine.ReasonDisconnected, "disconnected")
}

func (s *Server) end(r *http.Request, t *target, why engine.Reason, what string) (any, error) {
	refs, err := s.refs(t)
	if err != nil {
		return nil, err
	}
	n, err := s.eachOn(r.Context(), refs, func(c *engine.Conn) { c.Close(why) })
	if err != nil {
		return nil, err
	}
	if n == 0 && t.User == "" {
		return nil, notThere("there is no such connection any more")
	}
	s.act(r, what, "who", t.text(), "reason", why.String(), "connections", n)
	return reached{n}, nil
}

// maxSubscribe is how many topics a call names at most.
const maxSubscribe = 1000

type topicsBody struct {
	target
	Topics []string `json:"topics"`
}

type refusedTopic struct {
	Topic  string `json:"topic"`
	Reason string `json:"reason"`
}

type subscribed struct {
	Connections int            `json:"connections"`
	Changed     int            `json:"changed"` // subscriptions, over all connections
	Refused     []refusedTopic `json:"refused"` // of the first connection that refused any
}

func (s *Server) apiSubscribe(r *http.Request) (any, error) {
	return s.subscriptions(r, "subscribed", func(c *engine.Conn, topic []byte) (bool, error) {
		if c.Subscribed(topic) {
			return false, nil
		}
		err := s.gateway.TrySubscribe(c, topic)
		return err == nil && c.Subscribed(topic), err
	})
}

func (s *Server) apiUnsubscribe(r *http.Request) (any, error) {
	return s.subscriptions(r, "unsubscribed", func(c *engine.Conn, topic []byte) (bool, error) {
		return s.gateway.Unsubscribe(c, topic), nil
	})
}

func (s *Server) subscriptions(r *http.Request, what string, change func(c *engine.Conn, topic []byte) (bool, error)) (any, error) {
	var body topicsBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if len(body.Topics) == 0 || len(body.Topics) > maxSubscribe {
		return nil, badRequest("%d topics, want 1 to %d", len(body.Topics), maxSubscribe)
	}
	for _, topic := range body.Topics {
		if err := s.checkTopic(topic); err != nil {
			return nil, err
		}
	}
	refs, err := s.refs(&body.target)
	if err != nil {
		return nil, err
	}
	answer := subscribed{Refused: []refusedTopic{}}
	// A few topics at a time: a thousand would hold a loop up.
	const atOnce = 100
	for from := 0; from < len(body.Topics); from += atOnce {
		part := body.Topics[from:min(from+atOnce, len(body.Topics))]
		var changed int
		var refused []refusedTopic
		n, err := s.eachOn(r.Context(), refs, func(c *engine.Conn) {
			h, ok := c.Handler().(gateway.Session)
			if !ok || !h.Base().Online() {
				return
			}
			first := len(refused) == 0
			for _, topic := range part {
				ok, err := change(c, []byte(topic))
				var name gateway.NameError
				switch {
				case ok:
					changed++
				case errors.As(err, &name) && first:
					refused = append(refused, refusedTopic{topic, name.Reason()})
				}
			}
		})
		if err != nil {
			return nil, err
		}
		answer.Connections, answer.Changed = max(answer.Connections, n), answer.Changed+changed
		answer.Refused = append(answer.Refused, refused...)
	}
	if answer.Connections == 0 && body.User == "" {
		return nil, notThere("there is no such connection any more")
	}
	s.act(r, what, "who", body.text(), "topics", len(body.Topics), "connections", answer.Connections)
	settled := make(chan struct{})
	if s.gateway.Engine().WhenSettled(topic.Names(body.Topics), func() { close(settled) }) {
		select {
		case <-settled:
		case <-r.Context().Done():
		}
	}
	return answer, nil
}

func (s *Server) checkTopic(topic string) error {
	if topic == "" {
		return &refusal{http.StatusBadRequest, codeInvalidTopic, "a topic without a name"}
	}
	if err := s.gateway.CheckTopic([]byte(topic)); err != nil {
		return &refusal{http.StatusBadRequest, codeInvalidTopic, err.Error()}
	}
	return nil
}

type published struct {
	Subscribers int `json:"subscribers"` // here, when it was published
	// Elsewhere says that other nodes may have subscribers.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Kept says that the topic's history has the message.
	Kept bool `json:"kept,omitempty"`
}

func (s *Server) apiPublish(r *http.Request) (any, error) {
	var body struct {
		Topic   string  `json:"topic"`
		Payload *string `json:"payload"`
		Base64  *string `json:"payloadBase64"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if err := s.checkTopic(body.Topic); err != nil {
		return nil, err
	}
	var payload []byte
	switch {
	case (body.Payload == nil) == (body.Base64 == nil):
		return nil, badRequest("want one of payload and payloadBase64")
	case body.Payload != nil:
		payload = []byte(*body.Payload)
	default:
		var err error
		if payload, err = base64.StdEncoding.DecodeString(*body.Base64); err != nil {
			return nil, badRequest("payloadBase64: want base64, with its padding")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTime)
	defer cancel()
	n := s.engine.Topics().Count([]byte(body.Topic))
	if err := s.publish(ctx, body.Topic, payload); err != nil {
		return nil, err
	}
	kept := s.keeps([]byte(body.Topic))
	s.act(r, "published", "topic", clip(body.Topic), "bytes", len(payload), "subscribers", n, "kept", kept)
	others := s.engine.Config().Remote
	return published{n, others != nil && others.Reaches([]byte(body.Topic), s.engine.Now()), kept}, nil
}

// keeps reports whether a topic that was just published to has kept something.
func (s *Server) keeps(topic []byte) bool {
	h := s.engine.History()
	if s.engine.Config().Log != nil {
		return h.Keeps(topic) // it was waited for
	}
	st := h.Find(topic)
	if st == nil || !h.Keeps(topic) {
		return false // it has no history, or there are too many topics that have
	}
	first, next := h.Range(st, s.engine.Now())
	return first < next // else the message was too large
}

// publish publishes in turn with other operators.
func (s *Server) publish(ctx context.Context, topic string, payload []byte) error {
	select {
	case s.publishing <- struct{}{}:
		defer func() { <-s.publishing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.engine.Stopped():
		return engine.ErrStopped
	default:
	}
	if s.publisher == nil {
		s.publisher = s.engine.NewPublisher()
	}
	return s.publisher.PublishContext(ctx, []byte(topic), s.gateway.Push(payload))
}

// empty reads a body that has nothing to say: none, or {}.
func empty(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	return decode(r, new(struct{}))
}

func notAvailable(what string) error {
	return &refusal{http.StatusNotImplemented, codeNotAvailable, "the program that the gateway is part of has no " + what}
}

func (s *Server) apiReload(r *http.Request) (any, error) {
	if err := empty(r); err != nil {
		return nil, err
	}
	f := s.process().Reload
	if f == nil {
		return nil, notAvailable("reload")
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.act(r, "reload")
	done, err := f()
	if err != nil {
		return nil, &refusal{http.StatusUnprocessableEntity, codeReload, err.Error()}
	}
	done.Changed = orEmpty(done.Changed)
	return done, nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

type draining struct {
	Draining bool `json:"draining"`
}

func (s *Server) apiDrain(r *http.Request) (any, error) {
	if err := empty(r); err != nil {
		return nil, err
	}
	f := s.process().Drain
	if f == nil {
		return nil, notAvailable("drain")
	}
	s.act(r, "drain")
	f()
	return draining{true}, nil
}
