package netsvr

// SingleCast pushes Data to one connection.
type SingleCast struct {
	UniqID []byte
	Data   []byte // empty: push nothing
}

// Append encodes m after dst.
func (m *SingleCast) Append(dst []byte) []byte {
	dst = appendText(dst, 1, m.UniqID)
	return appendBytes(dst, 2, m.Data)
}

// Decode replaces m by the message in b; m points into b.
func (m *SingleCast) Decode(b []byte) error {
	*m = SingleCast{}
	d := decoder{within: "SingleCast", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqID = d.text()
		case 2:
			m.Data = d.bytes()
		}
	}
	return d.end()
}

// Multicast pushes Data once for each entry of UniqIDs, also for repeated ones.
type Multicast struct {
	UniqIDs [][]byte
	Data    []byte // empty: push nothing
}

// Append encodes m after dst.
func (m *Multicast) Append(dst []byte) []byte { return AppendMulticast(dst, m.UniqIDs, m.Data) }

// AppendMulticast encodes a Multicast after dst.
func AppendMulticast[T Text](dst []byte, uniqIDs []T, data []byte) []byte {
	return appendBytes(appendTexts(dst, 1, uniqIDs), 2, data)
}

// Decode replaces m by the message in b; m points into b.
func (m *Multicast) Decode(b []byte) error {
	*m = Multicast{UniqIDs: reuse(m.UniqIDs)}
	d := decoder{within: "Multicast", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqIDs = append(m.UniqIDs, d.text())
		case 2:
			m.Data = d.bytes()
		}
	}
	return d.end()
}

// Broadcast pushes Data to every connection.
type Broadcast struct {
	Data []byte // empty: push nothing
}

// Append encodes m after dst.
func (m *Broadcast) Append(dst []byte) []byte { return appendBytes(dst, 1, m.Data) }

// Decode replaces m by the message in b; m points into b.
func (m *Broadcast) Decode(b []byte) error {
	*m = Broadcast{}
	d := decoder{within: "Broadcast", rest: b}
	for d.next() {
		if d.field == 1 {
			m.Data = d.bytes()
		}
	}
	return d.end()
}

// TopicPublish pushes Data once for each topic and subscriber of it.
type TopicPublish struct {
	Topics [][]byte // an empty name is ignored
	Data   []byte   // empty: push nothing
}

// Append encodes m after dst.
func (m *TopicPublish) Append(dst []byte) []byte { return AppendTopicPublish(dst, m.Topics, m.Data) }

// AppendTopicPublish encodes a TopicPublish after dst.
func AppendTopicPublish[T Text](dst []byte, topics []T, data []byte) []byte {
	return appendBytes(appendTexts(dst, 1, topics), 2, data)
}

// Decode replaces m by the message in b; m points into b.
func (m *TopicPublish) Decode(b []byte) error {
	*m = TopicPublish{Topics: reuse(m.Topics)}
	d := decoder{within: "TopicPublish", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.Topics = append(m.Topics, d.text())
		case 2:
			m.Data = d.bytes()
		}
	}
	return d.end()
}
