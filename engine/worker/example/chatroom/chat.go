package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sluicenet/sluice/engine/worker"
)

const (
	eventRoute = "chat.Event"
	maxName    = 64   // bytes, of rooms and people
	maxText    = 4096 // bytes
	maxUser    = 256  // bytes, as gateways have it
)

// chat serves rooms through w.
type chat struct {
	w       *worker.Worker
	actions map[string]action
}

// An action is what a client may ask for; the answer is the "data" of its reply.
type action func(context.Context, caller, ask) (data any, err error)

// A caller is the connection that asks.
type caller struct {
	gateway *worker.Gateway
	uniqID  string
	user    string // empty: anonymous
}

// ask is a request's payload, or a message.
type ask struct {
	Type string `json:"type"` // of a message
	Room string `json:"room"`
	Name string `json:"name"`
	Text string `json:"text"`
	To   string `json:"to"` // a user
}

// member is the session text of whoever is in a room.
type member struct {
	Room string `json:"room"`
	Name string `json:"name"`
}

type answer struct {
	Type    string `json:"type,omitempty"` // to a message
	Status  int32  `json:"status"`
	Message string `json:"message,omitempty"`
	Data    any    `json:"data"`
}

type event struct {
	Type  string `json:"type"`
	Event string `json:"event"`
	Room  string `json:"room,omitempty"`
	Name  string `json:"name"`
	Text  string `json:"text,omitempty"`
}

type who struct {
	Room    string   `json:"room"`
	Members []string `json:"members"`
}

func newChat(w *worker.Worker) *chat {
	c := &chat{w: w}
	c.actions = map[string]action{
		"chat.Join": c.join, "chat.Say": c.say, "chat.Who": c.who, "chat.Leave": c.leave,
		"chat.Tell": c.tellUser,
	}
	for route, act := range c.actions {
		w.Handle(route, func(ctx context.Context, r *worker.Request) ([]byte, error) {
			return serveRequest(ctx, act, r)
		})
	}
	w.OnMessage(c.serveMessage)
	w.OnClose(c.gone)
	return c
}

func refuse(message string) error {
	return &worker.StatusError{Status: worker.StatusRefused, Message: message}
}

func serveRequest(ctx context.Context, act action, r *worker.Request) ([]byte, error) {
	a, err := parse(r.Payload)
	if err != nil {
		return nil, err
	}
	data, err := act(ctx, caller{r.Gateway, r.UniqID, r.User}, a)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer{Data: data})
}

// serveMessage answers a message by a message: its sender has no requests.
func (c *chat) serveMessage(ctx context.Context, m *worker.Message) {
	var data any
	a, err := parse(m.Data)
	if act := c.actions[a.Type]; err == nil && act != nil {
		data, err = act(ctx, caller{m.Gateway, m.UniqID, m.User}, a)
	} else if err == nil {
		err = refuse("no such type")
	}
	reply := answer{Type: a.Type, Data: data}
	if err != nil {
		reply.Status, reply.Message, reply.Data = worker.StatusInternal, "internal error", nil
		var se *worker.StatusError
		if errors.As(err, &se) {
			reply.Status, reply.Message = se.Status, se.Message
		}
	}
	if b, err := json.Marshal(reply); err == nil {
		// An error means that the gateway is gone, and the client with it.
		_ = m.Gateway.SingleCast(ctx, m.UniqID, b)
	}
}

func parse(payload []byte) (a ask, err error) {
	if len(payload) == 0 {
		return a, nil
	}
	if json.Unmarshal(payload, &a) != nil {
		return a, refuse("want a JSON object")
	}
	if len(a.Room) > maxName || len(a.Name) > maxName || len(a.Text) > maxText || len(a.To) > maxUser {
		return a, refuse("too long")
	}
	return a, nil
}

func (c *chat) join(ctx context.Context, who caller, a ask) (any, error) {
	if a.Name == "" {
		a.Name = who.user
	}
	if a.Room == "" || a.Name == "" {
		return nil, refuse("room and name, please")
	}
	before, err := where(ctx, who)
	if err != nil {
		return nil, err
	}
	session, err := json.Marshal(member{a.Room, a.Name})
	if err != nil {
		return nil, err
	}
	err = who.gateway.ConnInfoUpdate(ctx, worker.ConnInfoUpdate{
		UniqID: who.uniqID, NewSession: string(session), NewTopics: []string{topic(a.Room)},
	})
	if err != nil {
		return nil, err
	}
	if before.Room != "" {
		err = c.tell(ctx, event{Event: "leave", Room: before.Room, Name: before.Name})
	}
	// Told after the subscription: everybody in a room hears the same, newcomers themselves too.
	if err := errors.Join(err, c.tell(ctx, event{Event: "join", Room: a.Room, Name: a.Name})); err != nil {
		return nil, err
	}
	return c.members(ctx, a.Room)
}

func (c *chat) say(ctx context.Context, who caller, a ask) (any, error) {
	m, err := where(ctx, who)
	switch {
	case err != nil:
		return nil, err
	case m.Room == "":
		return nil, refuse("join a room first")
	case a.Text == "":
		return nil, refuse("say something")
	}
	return struct{}{}, c.tell(ctx, event{Event: "say", Room: m.Room, Name: m.Name, Text: a.Text})
}

func (c *chat) who(ctx context.Context, who caller, a ask) (any, error) {
	if a.Room == "" {
		m, err := where(ctx, who)
		if err != nil {
			return nil, err
		}
		if a.Room = m.Room; a.Room == "" {
			return nil, refuse("which room?")
		}
	}
	return c.members(ctx, a.Room)
}

func (c *chat) leave(ctx context.Context, who caller, _ ask) (any, error) {
	m, err := where(ctx, who)
	if err != nil {
		return nil, err
	}
	if m.Room == "" {
		return nil, refuse("join a room first")
	}
	err = who.gateway.ConnInfoDelete(ctx, worker.ConnInfoDelete{UniqID: who.uniqID, DelSession: true, DelTopic: true})
	if err != nil {
		return nil, err
	}
	return struct{}{}, c.tell(ctx, event{Event: "leave", Room: m.Room, Name: m.Name})
}

// tellUser tells a user something, on all his connections and from whoever has logged in: a name can
// be anybody's, a user cannot.
func (c *chat) tellUser(ctx context.Context, who caller, a ask) (any, error) {
	switch {
	case who.user == "":
		return nil, refuse("log in first")
	case a.To == "" || a.Text == "":
		return nil, refuse("to whom, and what?")
	}
	online, err := c.w.Online(ctx, []string{a.To})
	if err := reached(err); err != nil {
		return nil, err
	}
	if online[a.To] == 0 {
		return nil, refuse("not here")
	}
	payload, err := json.Marshal(event{Type: eventRoute, Event: "tell", Name: who.user, Text: a.Text})
	if err != nil {
		return nil, err
	}
	return struct{}{}, reached(c.w.Push(ctx, worker.Push{Users: []string{a.To}, Route: eventRoute, Payload: payload}))
}

// gone tells the room of a client that left without a word.
func (c *chat) gone(ctx context.Context, closed *worker.Close) {
	if m := parseMember(closed.Session); m.Room != "" {
		_ = c.tell(ctx, event{Event: "leave", Room: m.Room, Name: m.Name})
	}
}

// where returns the room a client is in; none has no name. What came along with its request may
// be older than its latest Join, so the gateway is asked; the answer knows every command before.
func where(ctx context.Context, who caller) (member, error) {
	infos, err := who.gateway.ConnInfo(ctx, []string{who.uniqID})
	if err != nil {
		return member{}, err
	}
	return parseMember(infos[who.uniqID].Session), nil
}

// parseMember makes nothing of session texts that others wrote.
func parseMember(session string) (m member) {
	if json.Unmarshal([]byte(session), &m) != nil {
		return member{}
	}
	return m
}

func topic(room string) string { return "room." + room }

// tell pushes e to everybody in its room, on all gateways.
func (c *chat) tell(ctx context.Context, e event) error {
	e.Type = eventRoute
	payload, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return reached(c.w.Push(ctx, worker.Push{Topics: []string{topic(e.Room)}, Route: eventRoute, Payload: payload}))
}

// members lists who is in a room, by name, on all gateways.
func (c *chat) members(ctx context.Context, room string) (any, error) {
	lists, err := c.w.TopicUniqIDList(ctx, []string{topic(room)})
	if err := reached(err); err != nil {
		return nil, err
	}
	names := []string{}
	if ids := lists[topic(room)]; len(ids) > 0 {
		infos, err := c.w.ConnInfo(ctx, ids)
		if err := reached(err); err != nil {
			return nil, err
		}
		for _, info := range infos {
			if m := parseMember(info.Session); m.Room == room {
				names = append(names, m.Name)
			}
		}
	}
	slices.Sort(names)
	return who{room, names}, nil
}

// reached forgives gateways that are down: those on the others chat on.
func reached(err error) error {
	if errors.Is(err, worker.ErrNotConnected) || errors.Is(err, worker.ErrLinkLost) {
		return nil
	}
	return err
}
