package link

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine"
)

func TestEachReply(t *testing.T) {
	type reply struct {
		ref     engine.Ref
		seq     uint32
		status  int32
		payload string
	}
	want := []reply{
		{1, 2, 0, "hello"},
		{1<<63 | 5, 1<<32 - 1, -1, ""},
		{7, 0, 5, strings.Repeat("x", maxGathered)},
		{7, 1, 1<<31 - 1, "\x00\xFF"},
	}
	var batch []byte
	for _, r := range want {
		batch = binary.LittleEndian.AppendUint64(batch, uint64(r.ref))
		batch = binary.LittleEndian.AppendUint32(batch, r.seq)
		batch = binary.LittleEndian.AppendUint32(batch, uint32(r.status))
		batch = binary.LittleEndian.AppendUint32(batch, uint32(len(r.payload)))
		batch = append(batch, r.payload...)
	}
	var got []reply
	eachReply(batch, func(ref engine.Ref, seq uint32, status int32, payload []byte) {
		got = append(got, reply{ref, seq, status, string(payload)})
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %.200v, want %.200v", got, want)
	}
	eachReply(nil, func(engine.Ref, uint32, int32, []byte) { t.Error("a reply of nothing") })
}
