package gosoc_test

import (
	"testing"

	"github.com/sluicenet/sluice/engine/login"
)

// TestTraceparentTypes: a login does not depend on what stands where its traceparent should.
func TestTraceparentTypes(t *testing.T) {
	for _, tc := range []struct {
		payload string
		bad     uint64
	}{
		{`{"token":"u","traceparent":5}`, 1},
		{`{"token":"u","traceparent":["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]}`, 1},
		{`{"token":"u","traceparent":{}}`, 1},
		{`{"traceparent":true,"token":"u"}`, 1},
		{`{"token":"u","traceparent":"nonsense"}`, 1},
		{`{"token":"u","traceparent":null}`, 0},
		{`{"token":"u","traceparent":""}`, 0},
		{`{"token":"u","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`, 0},
	} {
		s := start(t, login.Open{})
		p := call(t, s)
		p.connect(tc.payload)
		if code := p.code(); code != 0 {
			t.Errorf("%s: ConnAck %d", tc.payload, code)
		}
		if n := s.Gateway().Stats().BadTraceparents; n != tc.bad {
			t.Errorf("%s: %d traceparents that are none, want %d", tc.payload, n, tc.bad)
		}
	}
}
