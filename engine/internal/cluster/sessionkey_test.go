package cluster

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/session"
)

// A node knows which others have another session key than its own, by marks that do not tell the key.
func TestSessionKeys(t *testing.T) {
	one, two := [session.KeySize]byte{1}, [session.KeySize]byte{2}
	mark := keyMark("c", &one)
	if mark != keyMark("c", &one) || mark == keyMark("d", &one) || mark == keyMark("c", &two) {
		t.Errorf("the mark %s is not that of one key in one cluster", mark)
	}
	if b, err := base64.RawURLEncoding.DecodeString(mark); err != nil || len(b) != 12 || strings.Contains(string(one[:]), string(b)) {
		t.Errorf("mark %q: %v", mark, err)
	}
	n := &Node{keyMark: mark}
	for i, m := range []string{mark, keyMark("c", &two), ""} {
		c := claim{Incarnation: "0000000000000001", KeyMark: m}
		member, err := c.member(uint8(i + 1))
		if err != nil {
			t.Fatal(err)
		}
		n.nodes.put(member)
	}
	if got := n.otherKeys(); !slices.Equal(got, []uint8{2, 3}) {
		t.Errorf("nodes with other keys: %v, want 2 and 3", got)
	}
	if got := n.keyStatus(); !strings.HasSuffix(got, ": 2, 3") {
		t.Errorf("status %q", got)
	}
	n.keyMark = ""
	if got := n.otherKeys(); len(got) > 0 || n.keyStatus() != "" {
		t.Errorf("without a key of its own: %v", got)
	}
}
