package netsvr

import (
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
)

// The answers that may hold hundreds of thousands of strings. They are written
// straight from an iterator, whose items need to last for their yield only.

// AppendUniqIDListResp encodes a UniqIdListResp after dst.
func AppendUniqIDListResp[T Text](dst []byte, serverID int32, uniqIDs iter.Seq[T]) []byte {
	return appendSeq(appendUint(dst, 1, uint64(serverID)), 2, uniqIDs)
}

// AppendTopicListResp encodes a TopicListResp after dst.
func AppendTopicListResp[T Text](dst []byte, serverID int32, topics iter.Seq[T]) []byte {
	return appendSeq(appendUint(dst, 1, uint64(serverID)), 2, topics)
}

// AppendTopicUniqIDListResp encodes a TopicUniqIdListResp after dst, from topics,
// each with its subscribers. A topic that comes twice keeps the later ones.
func AppendTopicUniqIDListResp[T, U Text](dst []byte, serverID int32, items iter.Seq2[T, iter.Seq[U]]) []byte {
	dst = appendUint(dst, 1, uint64(serverID))
	for topic, uniqIDs := range items {
		entry := len(dst)
		dst = appendItem(dst, 1, []byte(topic))
		item := len(dst)
		dst = appendSeq(dst, 1, uniqIDs)
		dst = enclose(dst, item, 2)
		dst = enclose(dst, entry, 2)
	}
	return dst
}

func appendSeq[T Text](dst []byte, field protowire.Number, items iter.Seq[T]) []byte {
	for v := range items {
		dst = appendItem(dst, field, []byte(v))
	}
	return dst
}

// enclose makes dst[start:] a length-delimited field. The bytes move to make room
// for the length, which is known only now.
func enclose(dst []byte, start int, field protowire.Number) []byte {
	end := len(dst)
	dst = appendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(end-start))
	head := len(dst) - end
	var tmp [2 + 10]byte // a tag of a field below 2048, and a length
	copy(tmp[:], dst[end:])
	copy(dst[start+head:], dst[start:end])
	copy(dst[start:], tmp[:head])
	return dst
}
