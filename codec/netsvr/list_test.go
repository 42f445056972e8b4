package netsvr

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"google.golang.org/protobuf/proto"
)

// scratch yields n ids in one buffer, as a caller that formats numbers does.
func scratch(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		buf := make([]byte, 0, 32)
		for i := range n {
			if buf = fmt.Appendf(buf[:0], "0065A1B2C3%08X", i); !yield(buf) {
				return
			}
		}
	}
}

func collected(n int) (out []string) {
	for id := range scratch(n) {
		out = append(out, string(id))
	}
	return out
}

func TestLists(t *testing.T) {
	for _, n := range []int{0, 1, 2, 5000} {
		for _, serverID := range []int32{0, 1, 255, -1} {
			got := AppendUniqIDListResp([]byte("x"), serverID, scratch(n))[1:]
			want := canonical(t, &netsvrpb.UniqIdListResp{ServerId: serverID, UniqIds: collected(n)})
			if !bytes.Equal(got, want) {
				t.Errorf("UniqIdListResp of %d, server %d: %.80x, want %.80x", n, serverID, got, want)
			}
			got = AppendTopicListResp([]byte("x"), serverID, slices.Values(collected(n)))[1:]
			want = canonical(t, &netsvrpb.TopicListResp{ServerId: serverID, Topics: collected(n)})
			if !bytes.Equal(got, want) {
				t.Errorf("TopicListResp of %d, server %d: %.80x, want %.80x", n, serverID, got, want)
			}
		}
	}
	if got := AppendTopicListResp(nil, 0, slices.Values([]string{"a", "", "\xff"})); string(got) != "\x12\x01a\x12\x00\x12\x03\ufffd" {
		t.Errorf("odd topics: %q", got)
	}
}

func TestTopicUniqIDList(t *testing.T) {
	sizes := map[string]int{"": 0, "none": 0, "one": 1, "six": 6, "seven": 7, "many": 5000, strings.Repeat("long", 50): 900}
	want := &netsvrpb.TopicUniqIdListResp{ServerId: 3, Items: make(map[string]*netsvrpb.TopicUniqIdListResp_Item)}
	for topic, n := range sizes {
		want.Items[topic] = &netsvrpb.TopicUniqIdListResp_Item{UniqIds: collected(n)}
	}
	sorted := func(yield func(string, iter.Seq[[]byte]) bool) {
		for _, topic := range slices.Sorted(maps.Keys(sizes)) {
			if !yield(topic, scratch(sizes[topic])) {
				return
			}
		}
	}
	wire := AppendTopicUniqIDListResp([]byte("x"), 3, sorted)[1:]
	got := new(netsvrpb.TopicUniqIdListResp)
	if err := Unmarshal(wire, got); err != nil || !proto.Equal(got, want) {
		t.Fatalf("not what went in: %v", err)
	}
	if !bytes.Equal(wire, canonical(t, want)) {
		t.Error("not the canonical encoding")
	}
}
