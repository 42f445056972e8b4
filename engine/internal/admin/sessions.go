package admin

import (
	"context"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

// A sessionDetail is all that is known of a session. Text, topics and claims are those of its client,
// or those that are kept for it.
type sessionDetail struct {
	sessionRow
	Text            string            `json:"session"`
	TopicNames      []string          `json:"topicNames"`
	TopicsTruncated bool              `json:"topicNamesTruncated"`
	Claims          map[string]string `json:"claims"`
	Client          *connectionDetail `json:"client"` // nil: detached
}

func sessionRowOf(l *session.Listed) sessionRow {
	row := sessionRow{
		ID: l.ID.String(), User: l.User, State: "detached",
		Expires: time.UnixMilli(l.Expires).UTC(), Topics: l.Topics, Bytes: l.Bytes,
	}
	if l.Holder != 0 {
		row.State, row.Connection = "attached", refText(engine.Ref(l.Holder))
	}
	return row
}

// addHolders adds to rows what the loops know of the connections that have the sessions. rows are the
// first ones of list. A connection that has ended meanwhile adds nothing.
func (s *Server) addHolders(ctx context.Context, rows []sessionRow, list []session.Listed) error {
	var refs []engine.Ref
	of := make(map[engine.Ref]*sessionRow)
	for i := range rows {
		if ref := engine.Ref(list[i].Holder); ref != 0 {
			refs = append(refs, ref)
			of[ref] = &rows[i]
		}
	}
	_, err := s.eachOn(ctx, refs, func(c *engine.Conn) {
		row := of[c.Ref()]
		row.Topics = c.TopicCount()
		if h, ok := c.Handler().(gateway.Session); ok && h.Base().Online() {
			row.UniqID = s.gateway.ID(h.Base())
		}
	})
	return err
}

// sessionID finds a session by its id, or by a uniqId or the name of the connection that has it.
func (s *Server) sessionID(ctx context.Context, text string) (id session.SessionID, err error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) == len(id) && s.gateway.Lookup([]byte(text)) == 0 {
		return session.SessionID(b), nil
	}
	ref, err := s.find(text)
	if err != nil {
		return id, notThere("there is no session or connection %q", clip(text))
	}
	there, resumable := false, false
	if err := s.onLoop(ctx, ref.Loop(), func(l *engine.Loop) {
		if c := l.Conn(ref); c != nil {
			there = true
			if h, ok := c.Handler().(gateway.Session); ok {
				issued, ok := h.Base().Issued()
				id, resumable = issued.ID, ok
			}
		}
	}); err != nil {
		return id, err
	}
	switch {
	case !there:
		return id, notThere("there is no session or connection %q", clip(text))
	case !resumable:
		return id, notThere("connection %q has no session that could be resumed", clip(text))
	}
	return id, nil
}

func (s *Server) apiSession(r *http.Request) (any, error) {
	q := parameters(r, "id")
	name := q.part(r, "id")
	if q.err != nil {
		return nil, q.err
	}
	id, err := s.sessionID(r.Context(), name)
	if err != nil {
		return nil, err
	}
	l, kept, ok := s.gateway.Session(id)
	switch {
	case !ok && s.gateway.SessionEnded(id):
		return nil, notThere("session %v has ended", id)
	case !ok:
		return nil, notThere("there is no session %v here", id)
	}
	d := sessionDetail{sessionRow: sessionRowOf(&l), Text: kept.SessionText, TopicNames: []string{}, Claims: map[string]string{}}
	if len(kept.Topics) <= maxTopicNames {
		d.TopicNames = append(d.TopicNames, kept.Topics...)
		slices.Sort(d.TopicNames)
	} else {
		d.TopicsTruncated = true
	}
	maps.Copy(d.Claims, kept.Claims)
	if ref := engine.Ref(l.Holder); ref != 0 {
		if err := s.onLoop(r.Context(), ref.Loop(), func(l *engine.Loop) {
			if c := l.Conn(ref); c != nil {
				d.Client = new(s.detail(c))
			}
		}); err != nil {
			return nil, err
		}
	}
	if c := d.Client; c != nil {
		c.sort()
		d.UniqID, d.Topics = c.UniqID, c.Topics
		d.Text, d.TopicNames, d.TopicsTruncated, d.Claims = c.Session, c.TopicNames, c.TopicsTruncated, c.Claims
	}
	return d, nil
}

// sessionsEnded is the answer to who has ended sessions.
type sessionsEnded struct {
	Sessions    int  `json:"sessions"`
	Connections int  `json:"connections"` // that had them
	Known       bool `json:"known"`       // here; another session's tickets are refused all the same
}

// endSession ends one session, and the connection that has it. One that is not known here may be from
// before a restart, or another gateway's with the same key: its tickets are refused here from now on.
func (s *Server) endSession(r *http.Request) (any, error) {
	q := parameters(r, "id")
	name := q.part(r, "id")
	if q.err != nil {
		return nil, q.err
	}
	id, err := s.sessionID(r.Context(), name)
	if err != nil {
		return nil, err
	}
	holder, known := s.gateway.EndSession(id)
	answer := sessionsEnded{Sessions: 1, Known: known}
	answer.Connections, err = s.endHolders(r.Context(), []engine.Ref{holder})
	if err != nil {
		return nil, err
	}
	s.act(r, "ended a session", "session", id.String(), "known", known, "connections", answer.Connections)
	return answer, nil
}

// maxEnded is how many sessions are ended in one go.
const maxEnded = 1000

// endSessions ends all sessions of a user, attached and detached.
func (s *Server) endSessions(r *http.Request) (any, error) {
	q := parameters(r, "user")
	user := q.text("user")
	if user == "" {
		q.fail("user: want whose sessions end")
	}
	if q.err != nil {
		return nil, q.err
	}
	answer, after := sessionsEnded{Known: true}, session.SessionID{}
	var holders []engine.Ref
	for {
		list := s.gateway.Sessions(after, maxEnded, func(l *session.Listed) bool { return l.User == user })
		for _, l := range list {
			holder, known := s.gateway.EndSession(l.ID)
			if known {
				answer.Sessions++
				holders = append(holders, holder)
			}
			after = l.ID
		}
		if len(list) < maxEnded {
			break
		}
	}
	var err error
	if answer.Connections, err = s.endHolders(r.Context(), holders); err != nil {
		return nil, err
	}
	s.act(r, "ended sessions", "user", clip(user), "sessions", answer.Sessions, "connections", answer.Connections)
	return answer, nil
}

// endHolders closes the connections whose sessions have ended.
func (s *Server) endHolders(ctx context.Context, refs []engine.Ref) (int, error) {
	refs = slices.DeleteFunc(refs, func(ref engine.Ref) bool { return ref == 0 })
	return s.eachOn(ctx, refs, func(c *engine.Conn) { c.Close(engine.ReasonForcedOffline) })
}
