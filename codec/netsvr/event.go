package netsvr

// ConnOpen tells a worker of a new connection.
type ConnOpen struct {
	UniqID        []byte
	RawQuery      []byte   // undecoded
	SubProtocol   [][]byte // offered by the client, in its order
	XForwardedFor []byte   // the header as it came, or the peer's IP
	Identity      Identity
}

// Append encodes m after dst.
func (m *ConnOpen) Append(dst []byte) []byte {
	dst = appendText(dst, 1, m.UniqID)
	dst = appendText(dst, 2, m.RawQuery)
	dst = appendTexts(dst, 3, m.SubProtocol)
	dst = appendText(dst, 4, m.XForwardedFor)
	return m.Identity.append(dst)
}

// Decode replaces m by the message in b; m points into b. The error is a
// *DecodeError, and m is then of no use. So it is with all Decode methods.
func (m *ConnOpen) Decode(b []byte) error {
	*m = ConnOpen{SubProtocol: reuse(m.SubProtocol), Identity: m.Identity.reuse()}
	d := decoder{within: "ConnOpen", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqID = d.text()
		case 2:
			m.RawQuery = d.text()
		case 3:
			m.SubProtocol = append(m.SubProtocol, d.text())
		case 4:
			m.XForwardedFor = d.text()
		default:
			m.Identity.decode(&d)
		}
	}
	return d.end()
}

// ConnClose tells a worker that a connection is gone.
type ConnClose struct {
	UniqID   []byte // its last one
	Session  []byte
	Identity Identity
}

// Append encodes m after dst.
func (m *ConnClose) Append(dst []byte) []byte {
	dst = appendText(dst, 1, m.UniqID)
	dst = appendText(dst, 2, m.Session)
	return m.Identity.append(dst)
}

// Decode replaces m by the message in b; m points into b.
func (m *ConnClose) Decode(b []byte) error {
	*m = ConnClose{Identity: m.Identity.reuse()}
	d := decoder{within: "ConnClose", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqID = d.text()
		case 2:
			m.Session = d.text()
		default:
			m.Identity.decode(&d)
		}
	}
	return d.end()
}

// Transfer hands a client's message to a worker.
type Transfer struct {
	UniqID   []byte
	Session  []byte
	Data     []byte
	Identity Identity
}

// Append encodes m after dst.
func (m *Transfer) Append(dst []byte) []byte {
	dst = appendText(dst, 1, m.UniqID)
	dst = appendText(dst, 2, m.Session)
	dst = appendBytes(dst, 3, m.Data)
	return m.Identity.append(dst)
}

// Decode replaces m by the message in b; m points into b.
func (m *Transfer) Decode(b []byte) error {
	*m = Transfer{Identity: m.Identity.reuse()}
	d := decoder{within: "Transfer", rest: b}
	for d.next() {
		switch d.field {
		case 1:
			m.UniqID = d.text()
		case 2:
			m.Session = d.text()
		case 3:
			m.Data = d.bytes()
		default:
			m.Identity.decode(&d)
		}
	}
	return d.end()
}
