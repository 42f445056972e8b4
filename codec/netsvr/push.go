package netsvr

// Push is a SingleCast, Multicast or TopicPublish that says under which route or
// command its clients receive it. Our own command.
type Push struct {
	UniqIDs [][]byte // to these connections,
	Topics  [][]byte // and to the subscribers of these
	Route   []byte   // for GOSOC clients; empty: the gateway's push route
	Cmd     uint32   // for Longbridge clients; 0: the gateway's push command
	Payload []byte
	Users   [][]byte // and to all connections of these
}

// Append encodes m after dst.
func (m *Push) Append(dst []byte) []byte {
	return AppendPush(dst, m.UniqIDs, m.Topics, m.Users, m.Route, m.Cmd, m.Payload)
}

// AppendPush encodes a Push after dst.
func AppendPush[T Text](dst []byte, uniqIDs, topics, users []T, route []byte, cmd uint32, payload []byte) []byte {
	dst = appendTexts(dst, 1, uniqIDs)
	dst = appendTexts(dst, 2, topics)
	dst = appendText(dst, 3, route)
	dst = appendUint(dst, 4, uint64(cmd))
	dst = appendBytes(dst, 5, payload)
	return appendTexts(dst, 6, users)
}

// Decode replaces m by the message in b; m points into b.
func (m *Push) Decode(b []byte) error {
	*m = Push{UniqIDs: reuse(m.UniqIDs), Topics: reuse(m.Topics), Users: reuse(m.Users)}
	d := decoder{within: "Push", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqIDs = append(m.UniqIDs, d.text())
		case 2:
			m.Topics = append(m.Topics, d.text())
		case 3:
			m.Route = d.text()
		case 4:
			m.Cmd = uint32(d.uint())
		case 5:
			m.Payload = d.bytes()
		case 6:
			m.Users = append(m.Users, d.text())
		}
	}
	return d.end()
}
