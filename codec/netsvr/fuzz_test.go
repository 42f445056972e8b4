package netsvr

import (
	"math/rand/v2"
	"testing"
)

// fuzzMessage lets the hand-written and the generated code read the same bytes.
func fuzzMessage(f *testing.F, name string) {
	k := kindNamed(f, name)
	for _, s := range specimens {
		f.Add(unhex(f, s.wire)[8:]) // of all messages: foreign ones are good for surprises
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		pb := k.pb()
		fill(r, pb.ProtoReflect())
		if b := canonical(f, pb); len(b) < 1000 {
			f.Add(b)
		}
	}
	dirty := unhex(f, "0a 01 61 12 01 62 12 01 63")
	f.Fuzz(func(t *testing.T, b []byte) {
		m := k.new()
		m.Decode(dirty) // what it leaves behind must not show
		agree(t, k, m, b)
	})
}

func FuzzConnOpen(f *testing.F)         { fuzzMessage(f, "ConnOpen") }
func FuzzConnClose(f *testing.F)        { fuzzMessage(f, "ConnClose") }
func FuzzTransfer(f *testing.F)         { fuzzMessage(f, "Transfer") }
func FuzzSingleCast(f *testing.F)       { fuzzMessage(f, "SingleCast") }
func FuzzMulticast(f *testing.F)        { fuzzMessage(f, "Multicast") }
func FuzzBroadcast(f *testing.F)        { fuzzMessage(f, "Broadcast") }
func FuzzTopicPublish(f *testing.F)     { fuzzMessage(f, "TopicPublish") }
func FuzzSingleCastBulk(f *testing.F)   { fuzzMessage(f, "SingleCastBulk") }
func FuzzTopicPublishBulk(f *testing.F) { fuzzMessage(f, "TopicPublishBulk") }
func FuzzRequest(f *testing.F)          { fuzzMessage(f, "Request") }
func FuzzReply(f *testing.F)            { fuzzMessage(f, "Reply") }
func FuzzPush(f *testing.F)             { fuzzMessage(f, "Push") }
