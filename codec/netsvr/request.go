package netsvr

// Request hands a client's request to a worker that registered with
// acceptsRequests. Our own command.
type Request struct {
	UniqID     []byte
	Session    []byte
	Protocol   []byte // the client's: "gosoc", "longbridge", ...
	Route      []byte // of a GOSOC request
	Cmd        uint32 // of a Longbridge packet
	ID         uint64 // the gateway's; the Reply repeats it
	WantsReply bool
	Payload    []byte
	Data       []byte     // a GOSOC attachment
	TimeoutMs  uint32     // milliseconds the client will wait, 0 if it did not say
	Metadata   []Metadata // of the request, in the order of the wire

	User          []byte     // empty: anonymous
	Peer          []byte     // address:port
	LoginMetadata []Metadata // what the client said at its login
	Claims        []Metadata // what the login provider vouches for

	// Traceparent is of the trace that the request is part of, in the form of W3C Trace Context.
	// Empty: it is part of none.
	Traceparent []byte
}

// Append encodes m after dst.
func (m *Request) Append(dst []byte) []byte {
	dst = m.appendRest(m.appendFront(dst))
	return appendText(m.appendBack(dst), 16, m.Traceparent)
}

// An Asker is what a Request says of its client, encoded: all requests of a client say the same until
// it changes. The zero Asker says nothing.
type Asker struct{ front, back []byte }

// Asker encodes after dst what m says of its client: UniqID, Session, Protocol, User, Peer,
// LoginMetadata and Claims. The Asker lies in what is returned.
func (m *Request) Asker(dst []byte) ([]byte, Asker) {
	start := len(dst)
	dst = m.appendFront(dst)
	back := len(dst)
	dst = m.appendBack(dst)
	return dst, Asker{dst[start:back:back], dst[back:]}
}

// AppendOf is Append for a request of a, whatever m says of its client.
func (m *Request) AppendOf(dst []byte, a *Asker) []byte {
	dst = m.appendRest(append(dst, a.front...))
	return appendText(append(dst, a.back...), 16, m.Traceparent)
}

func (m *Request) appendFront(dst []byte) []byte {
	dst = appendText(dst, 1, m.UniqID)
	dst = appendText(dst, 2, m.Session)
	return appendText(dst, 3, m.Protocol)
}

func (m *Request) appendRest(dst []byte) []byte {
	dst = appendText(dst, 4, m.Route)
	dst = appendUint(dst, 5, uint64(m.Cmd))
	dst = appendUint(dst, 6, m.ID)
	dst = appendBool(dst, 7, m.WantsReply)
	dst = appendBytes(dst, 8, m.Payload)
	dst = appendBytes(dst, 9, m.Data)
	dst = appendUint(dst, 10, uint64(m.TimeoutMs))
	return appendPairs(dst, 11, m.Metadata)
}

func (m *Request) appendBack(dst []byte) []byte {
	dst = appendText(dst, 12, m.User)
	dst = appendText(dst, 13, m.Peer)
	dst = appendPairs(dst, 14, m.LoginMetadata)
	return appendPairs(dst, 15, m.Claims)
}

// Decode replaces m by the message in b; m points into b.
func (m *Request) Decode(b []byte) error {
	*m = Request{
		Metadata: reuse(m.Metadata), LoginMetadata: reuse(m.LoginMetadata), Claims: reuse(m.Claims),
	}
	d := decoder{within: "Request", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqID = d.text()
		case 2:
			m.Session = d.text()
		case 3:
			m.Protocol = d.text()
		case 4:
			m.Route = d.text()
		case 5:
			m.Cmd = uint32(d.uint())
		case 6:
			m.ID = d.uint()
		case 7:
			m.WantsReply = d.uint() != 0
		case 8:
			m.Payload = d.bytes()
		case 9:
			m.Data = d.bytes()
		case 10:
			m.TimeoutMs = uint32(d.uint())
		case 11:
			m.Metadata = append(m.Metadata, d.pair())
		case 12:
			m.User = d.text()
		case 13:
			m.Peer = d.text()
		case 14:
			m.LoginMetadata = append(m.LoginMetadata, d.pair())
		case 15:
			m.Claims = append(m.Claims, d.pair())
		case 16:
			m.Traceparent = d.text()
		}
	}
	return d.end()
}

// Reply answers the Request of that UniqID and ID. Our own command.
type Reply struct {
	UniqID  []byte
	ID      uint64
	Status  int32
	Payload []byte
	// Message is for people, in place of a payload beside a status other than 0. The gateway puts it
	// into the words of the client's protocol.
	Message []byte
}

// Append encodes m after dst.
func (m *Reply) Append(dst []byte) []byte {
	dst = appendText(dst, 1, m.UniqID)
	dst = appendUint(dst, 2, m.ID)
	dst = appendUint(dst, 3, uint64(m.Status))
	dst = appendBytes(dst, 4, m.Payload)
	return appendText(dst, 5, m.Message)
}

// Decode replaces m by the message in b; m points into b.
func (m *Reply) Decode(b []byte) error {
	*m = Reply{}
	d := decoder{within: "Reply", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqID = d.text()
		case 2:
			m.ID = d.uint()
		case 3:
			m.Status = int32(d.uint())
		case 4:
			m.Payload = d.bytes()
		case 5:
			m.Message = d.text()
		}
	}
	return d.end()
}
