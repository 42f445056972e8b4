package netsvr

import "iter"

// SingleCastBulk pushes many data to one connection or one datum to each of
// many: Bulk says which to whom.
type SingleCastBulk struct {
	UniqIDs [][]byte
	Data    [][]byte
}

// Append encodes m after dst.
func (m *SingleCastBulk) Append(dst []byte) []byte {
	return AppendSingleCastBulk(dst, m.UniqIDs, m.Data)
}

// AppendSingleCastBulk encodes a SingleCastBulk after dst.
func AppendSingleCastBulk[T Text](dst []byte, uniqIDs []T, data [][]byte) []byte {
	return appendList(appendTexts(dst, 1, uniqIDs), 2, data)
}

// Decode replaces m by the message in b; m points into b.
func (m *SingleCastBulk) Decode(b []byte) (err error) {
	m.UniqIDs, m.Data, err = decodeBulk("SingleCastBulk", b, m.UniqIDs, m.Data)
	return err
}

// TopicPublishBulk publishes many data to one topic or one datum to each of many:
// Bulk says which to which.
type TopicPublishBulk struct {
	Topics [][]byte
	Data   [][]byte
}

// Append encodes m after dst.
func (m *TopicPublishBulk) Append(dst []byte) []byte {
	return AppendTopicPublishBulk(dst, m.Topics, m.Data)
}

// AppendTopicPublishBulk encodes a TopicPublishBulk after dst.
func AppendTopicPublishBulk[T Text](dst []byte, topics []T, data [][]byte) []byte {
	return appendList(appendTexts(dst, 1, topics), 2, data)
}

// Decode replaces m by the message in b; m points into b.
func (m *TopicPublishBulk) Decode(b []byte) (err error) {
	m.Topics, m.Data, err = decodeBulk("TopicPublishBulk", b, m.Topics, m.Data)
	return err
}

func decodeBulk(within string, b []byte, targets, data [][]byte) (_, _ [][]byte, err error) {
	targets, data = reuse(targets), reuse(data)
	d := decoder{within: within, rest: b}
	for d.next() {
		switch d.field {
		case 1:
			targets = append(targets, d.text())
		case 2:
			data = append(data, d.bytes())
		}
	}
	return targets, data, d.end()
}

// BulkFits reports whether a bulk command of so many targets and data means
// anything: as many data as targets, or one target and several data. Any other
// shape is dropped whole (command semantics, SingleCastBulk and TopicPublishBulk).
func BulkFits(targets, data int) bool {
	return targets == data || targets == 1 && data > 1
}

// Bulk yields what a bulk command delivers, in order: the data pairwise to the
// targets, or all of them to the only target, or, if they do not fit, nothing.
// An empty datum or target is skipped and leaves the others in their places.
func Bulk(targets, data [][]byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(target, datum []byte) bool) {
		if !BulkFits(len(targets), len(data)) {
			return
		}
		for i, datum := range data {
			target := targets[min(i, len(targets)-1)]
			if len(target) > 0 && len(datum) > 0 && !yield(target, datum) {
				return
			}
		}
	}
}
