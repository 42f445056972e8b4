package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The stream may have been made by an administrator, and be edited by one at any time. What of it
// is not as it has to be is changed back, by whoever may; the rest is his.

// A setting is one that the stream has to have.
type setting struct {
	name  string // as the command nats stream edit has it
	has   any
	right bool
	low   bool // it only keeps less than is wanted
	set   func()
	flags string // of nats stream edit, that set it
}

func (k *setting) String() string { return fmt.Sprintf("%s is %v", k.name, k.has) }

// settings are those of a stream, compared with what they have to be. Their functions change it.
func (s *natsStream) settings(info *jetstream.StreamInfo, limits StreamLimits) []setting {
	c, now := &info.Config, info.TimeStamp
	want := s.config(limits)
	var republish any = "off"
	if c.RePublish != nil {
		republish = strings.TrimSpace(fmt.Sprintf("%s to %s", c.RePublish.Source, c.RePublish.Destination))
	}
	return []setting{
		{
			name: "subjects", has: c.Subjects, right: slices.Equal(c.Subjects, want.Subjects),
			set: func() { c.Subjects = want.Subjects }, flags: "--subjects '" + want.Subjects[0] + "'",
		},
		{
			name: "republish", has: republish, right: c.RePublish != nil && *c.RePublish == *want.RePublish,
			set:   func() { c.RePublish = want.RePublish },
			flags: fmt.Sprintf("--republish-source '%s' --republish-destination '%s'", want.RePublish.Source, want.RePublish.Destination),
		},
		{
			name: "transform", has: "on", right: c.SubjectTransform == nil,
			set: func() { c.SubjectTransform = nil }, flags: "--no-transform",
		},
		{
			name: "retention", has: c.Retention, right: c.Retention == want.Retention,
			set: func() { c.Retention = want.Retention }, flags: "--retention limits",
		},
		{
			name: "discard", has: c.Discard, right: c.Discard == want.Discard,
			set: func() { c.Discard, c.DiscardNewPerSubject = want.Discard, false }, flags: "--discard old",
		},
		{
			name: "allow-direct", has: c.AllowDirect, right: c.AllowDirect,
			set: func() { c.AllowDirect = true }, flags: "--allow-direct",
		},
		{name: "ack", has: !c.NoAck, right: !c.NoAck, set: func() { c.NoAck = false }, flags: "--ack"},
		{
			name: "max-msg-size", has: c.MaxMsgSize, right: c.MaxMsgSize <= 0,
			set: func() { c.MaxMsgSize = -1 }, flags: "--max-msg-size -1",
		},
		{
			name: "max-consumers", has: c.MaxConsumers, right: c.MaxConsumers <= 0,
			set: func() { c.MaxConsumers = -1 }, flags: "--max-consumers -1",
		},
		{
			name: "limit-consumer-inactive", has: c.ConsumerLimits.InactiveThreshold,
			right: !less(int64(c.ConsumerLimits.InactiveThreshold), int64(consumerLife)),
			set:   func() { c.ConsumerLimits.InactiveThreshold = 0 },
		},
		{
			name: "max-age", has: c.MaxAge, right: !less(int64(c.MaxAge), int64(limits.Age)), low: true,
			set: func() { c.MaxAge = limits.Age }, flags: fmt.Sprintf("--max-age %v", limits.Age),
		},
		{
			name: "dupe-window", has: c.Duplicates, right: c.Duplicates >= want.Duplicates,
			set: func() { c.Duplicates = want.Duplicates }, flags: fmt.Sprintf("--dupe-window %v", want.Duplicates),
		},
		{
			name: "max-msgs-per-subject", has: c.MaxMsgsPerSubject, right: !less(c.MaxMsgsPerSubject, limits.PerSubject), low: true,
			set:   func() { c.Metadata = withKept(c, now, now.Add(keptMargin)); c.MaxMsgsPerSubject = limits.PerSubject },
			flags: fmt.Sprintf("--max-msgs-per-subject %d --metadata %s=%s", limits.PerSubject, keptKey, keptText(c, now, now.Add(keptByHand))),
		},
	}
}

// less reports whether a limit of a stream is lower than what is wanted. Zero and below are no limit.
func less(has, want int64) bool { return has > 0 && (want <= 0 || has < want) }

// lower is the lower of two limits.
func lower(a, b int64) int64 {
	if less(a, b) {
		return a
	}
	return b
}

// A stream that keeps more frames of a topic than it did has not got those back that it had let go.
// How many it has kept until when is in its metadata, as NUMBER,TIME: so that a gap is told where
// some are missing.
const (
	keptKey = "sluice.kept"
	// keptMargin is by how much clocks of NATS servers may differ, and how long an update may take.
	keptMargin = clockMargin
	// keptByHand is how long an administrator may wait before he does what he is told.
	keptByHand = 24 * time.Hour
)

// keptText is what the metadata have to say of c, whose limit is going to be raised before a time. now is
// by the server's clock.
func keptText(c *jetstream.StreamConfig, now, before time.Time) string {
	least := c.MaxMsgsPerSubject
	if kept, until := readKept(c.Metadata); kept > 0 && (c.MaxAge <= 0 || now.Sub(until) < c.MaxAge) {
		least = lower(least, kept) // some of what was stored then may be there yet
	}
	return strconv.FormatInt(least, 10) + "," + before.UTC().Format(time.RFC3339)
}

// withKept is c's metadata with what they have to say.
func withKept(c *jetstream.StreamConfig, now, before time.Time) map[string]string {
	m := make(map[string]string, len(c.Metadata)+1)
	maps.Copy(m, c.Metadata)
	m[keptKey] = keptText(c, now, before)
	return m
}

// readKept returns how many frames of a topic a stream has kept at least, of what was stored before
// a time; the zero time if nothing is said of that.
func readKept(metadata map[string]string) (kept int64, until time.Time) {
	number, at, ok := strings.Cut(metadata[keptKey], ",")
	kept, err := strconv.ParseInt(number, 10, 64)
	until, e := time.Parse(time.RFC3339, at)
	if !ok || err != nil || e != nil || kept <= 0 {
		return 0, time.Time{}
	}
	return kept, until
}

// Mend implements Stream.
func (s *natsStream) Mend(ctx context.Context, limits StreamLimits) (changed bool, err error) {
	_, js, _, err := s.on()
	if err != nil {
		return false, err
	}
	stream, err := js.Stream(ctx, s.name)
	if err != nil {
		return false, s.explain(err, limits)
	}
	info := stream.CachedInfo()
	c := &info.Config
	var wrong []string
	var flags string
	level := s.log.Info
	for _, k := range s.settings(info, limits) {
		if k.right {
			continue
		}
		wrong = append(wrong, k.String())
		if k.flags != "" {
			flags += " " + k.flags
		}
		if k.set(); !k.low {
			level = s.log.Warn
		}
	}
	if len(wrong) == 0 {
		return false, nil
	}
	text := strings.Join(wrong, ", ")
	if c.Sealed {
		return false, &StreamError{s.name, errors.New("it is sealed: with nats stream rm " + s.name + " gateways make another")}
	}
	if _, err := js.UpdateStream(ctx, *c); err != nil {
		refused := (*jetstream.APIError)(nil)
		switch denied := s.bus.denial(); {
		case denied != nil && errors.Is(err, context.DeadlineExceeded):
			err = denied
		case !errors.As(err, &refused) || refused.Code >= 500:
			return false, err
		}
		return false, &StreamError{s.name, fmt.Errorf("%s, and it could not be changed: %w; an administrator does so with: nats stream edit %s%s",
			text, err, s.name, flags)}
	}
	level("the log of histories was not as it has to be: it was changed", "stream", s.name, "was", text,
		"per-topic", c.MaxMsgsPerSubject, "age", c.MaxAge)
	return true, nil
}

// otherwise says what of a stream that will do is not as it would be made.
func (s *natsStream) otherwise(info *jetstream.StreamInfo, limits StreamLimits) (list []string) {
	c := &info.Config
	if less(c.MaxBytes, limits.Bytes) {
		list = append(list, fmt.Sprintf("it keeps %d bytes, want %d", c.MaxBytes, limits.Bytes))
	}
	if c.MaxMsgs > 0 {
		list = append(list, fmt.Sprintf("it keeps %d frames of all topics", c.MaxMsgs))
	}
	if (c.Storage == jetstream.FileStorage) != limits.File {
		list = append(list, fmt.Sprintf("its storage is %v", c.Storage))
	}
	if s.replicas > 0 && c.Replicas != s.replicas {
		list = append(list, fmt.Sprintf("it has %d replicas, want %d", c.Replicas, s.replicas))
	}
	if c.Replicas == 1 && info.Cluster != nil && len(info.Cluster.Name) > 0 && c.Storage == jetstream.MemoryStorage {
		list = append(list, "it is in the memory of one of several servers, and is lost with that")
	}
	return list
}
