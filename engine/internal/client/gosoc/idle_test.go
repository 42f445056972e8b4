package gosoc

import (
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
)

func TestIdleLimit(t *testing.T) {
	g, err := gateway.New(gateway.Config{Login: login.Open{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		most      time.Duration
		keepAlive uint16
		want      time.Duration
	}{
		{0, 0, 30 * time.Minute},
		{0, 60, 90 * time.Second},
		{0, 1, time.Second},
		{0, 65535, 30 * time.Minute},
		{-1, 0, 0},
		{-1, 65535, 98302 * time.Second},
		{10 * time.Second, 0, 15 * time.Second},
		{10 * time.Second, 3, 4 * time.Second},
		{10 * time.Second, 10, 15 * time.Second},
		{10 * time.Second, 11, 15 * time.Second},
		{10 * time.Second, 3600, 15 * time.Second},
	} {
		h := newConn(New(g, 0, Config{MaxKeepAlive: tt.most}))
		h.keepAlive = tt.keepAlive
		if got := time.Duration(h.idleLimit()) * time.Millisecond; got != tt.want {
			t.Errorf("a keep-alive of %d s, at most %v: %v, want %v", tt.keepAlive, tt.most, got, tt.want)
		}
	}
}
