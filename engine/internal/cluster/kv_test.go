package cluster

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// A gateway ends at what trying again does not mend. A bucket or a stream that was made a moment ago, of
// which the server that is asked does not know yet, is none of that.
func TestFinalErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		final bool
	}{
		{"not found", &jetstream.APIError{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound}, false},
		{"no leader", &jetstream.APIError{Code: 503, ErrorCode: 10008}, false},
		{"no JetStream", jetstream.ErrJetStreamNotEnabled, true},
		{"refused", &jetstream.APIError{Code: 400, ErrorCode: 10052}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bucket, stream := (*BucketError)(nil), (*StreamError)(nil)
			s := &kvStore{bus: &natsBus{}, bucket: "b"}
			if err := s.explain(tc.err); errors.As(err, &bucket) != tc.final || !tc.final && !errors.Is(err, tc.err) {
				t.Errorf("bucket: %v: final is %v, want %v", err, bucket != nil, tc.final)
			}
			h := &natsStream{bus: &natsBus{}, name: "h"}
			if err := h.explain(tc.err, StreamLimits{}); errors.As(err, &stream) != tc.final || !tc.final && !errors.Is(err, tc.err) {
				t.Errorf("stream: %v: final is %v, want %v", err, stream != nil, tc.final)
			}
		})
	}
}
