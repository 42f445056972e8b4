package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// An administrator may have made the buckets, and may edit them while they are used. They are looked at
// now and then, and what does not do is said, with the command that mends it.

const (
	lookAtBuckets = 10 * time.Second
	// leastValue is how long a value must be allowed to be, in bytes: a user's connections, or a session
	// with some hundred topics.
	leastValue = 64 << 10
)

// A checker is a Store that can say what of it is not as it has to be.
type checker interface {
	// check looks at it.
	check(ctx context.Context)
	// unfit is what was found, empty when it will do.
	unfit() string
}

// unfitText says what of a bucket is not as it has to be, and how that is mended.
func (s *kvStore) unfitText(c *jetstream.StreamConfig) string {
	var wrong, flags []string
	want := func(ok bool, name string, has any, flag string) {
		if !ok {
			wrong, flags = append(wrong, fmt.Sprintf("%s is %v", name, has)), append(flags, flag)
		}
	}
	want(c.MaxAge > 0, "max-age", "unlimited", fmt.Sprintf("--max-age %v", s.want))
	want(c.MaxAge <= 0 || c.MaxAge >= s.least, "max-age", c.MaxAge, fmt.Sprintf("--max-age %v", s.want))
	subject := "$KV." + s.bucket + ".>"
	want(slices.Equal(c.Subjects, []string{subject}), "subjects", c.Subjects, "--subjects '"+subject+"'")
	want(!c.NoAck, "ack", false, "--ack")
	want(c.MaxMsgSize <= 0 || c.MaxMsgSize >= leastValue, "max-msg-size", c.MaxMsgSize, "--max-msg-size -1")
	want(c.MaxMsgs <= 0, "max-msgs", c.MaxMsgs, "--max-msgs -1")
	if len(wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%s; an administrator mends it with: nats stream edit KV_%s %s", strings.Join(wrong, ", "), s.bucket,
		strings.Join(flags, " "))
}

// judge notes what of the bucket is not as it has to be, and says so when that has changed. s.mu is held.
func (s *kvStore) judge(c *jetstream.StreamConfig) {
	if c.MaxAge > 0 {
		s.life.Store(int64(c.MaxAge))
	}
	switch text := s.unfitText(c); {
	case text == s.wrong:
	case text == "":
		s.wrong = text
		s.log.Info("the bucket is as it has to be again", "bucket", s.bucket)
	default:
		s.wrong = text
		s.log.Warn("the bucket is not as it has to be", "bucket", s.bucket, "why", text)
	}
	if n := c.Replicas; s.replicas > 0 && n != s.replicas && n != s.seen {
		s.log.Warn("the bucket has another number of replicas", "bucket", s.bucket, "replicas", n, "want", s.replicas)
	}
	s.seen = c.Replicas
}

// check implements checker. A bucket that nobody has used yet is let alone; errors are said by who uses
// it.
func (s *kvStore) check(ctx context.Context) {
	s.mu.Lock()
	kv := s.kv
	s.mu.Unlock()
	if kv == nil || !s.bus.Connected() {
		return
	}
	status, err := kv.Status(ctx)
	if err != nil {
		_ = s.failed(err)
		return
	}
	if info, ok := status.(*jetstream.KeyValueBucketStatus); ok {
		s.mu.Lock()
		s.judge(&info.StreamInfo().Config)
		s.mu.Unlock()
	}
}

// unfit implements checker.
func (s *kvStore) unfit() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong == "" {
		return ""
	}
	return "bucket " + s.bucket + ": " + s.wrong
}

// checkers are the buckets that can be looked at.
func (n *Node) checkers() (list []checker) {
	for _, s := range []Store{n.config.Nodes, n.config.Names, n.config.Sessions} {
		if c, ok := s.(checker); ok {
			list = append(list, c)
		}
	}
	return list
}

// checkBuckets looks at the buckets now and then.
func (n *Node) checkBuckets() {
	t := time.NewTicker(lookAtBuckets)
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-t.C:
		}
		for _, c := range n.checkers() {
			ctx, cancel := context.WithTimeout(n.ctx, renewTimeout)
			c.check(ctx)
			cancel()
		}
	}
}
