package longbridge

import (
	"strings"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// request serves a business request.
func (h *conn) request(c *engine.Conn, header *longbridge.Header, metadata, body []byte) {
	g := h.protocol.gateway
	r := g.Scratch(c.Loop()).Request()
	r.Cmd, r.ID, r.WantsReply, r.Payload = header.Cmd, header.RequestID, true, body
	r.Timeout = header.TimeoutOr(min(g.Config().RequestTimeout, longbridge.MaxTimeout))
	if len(metadata) > 0 {
		r.Metadata, _ = longbridge.MetadataMap(metadata) // it has been checked
	}
	g.ServeScratch(c, h)
}

// Answer sends a response.
func (h *conn) Answer(c *engine.Conn, id uint32, cmd uint8, status int, payload []byte) {
	code := statusOf(status)
	if code != longbridge.StatusSuccess && len(payload) == 0 {
		if status == gateway.StatusError { // a worker's that thinks of GOSOC; no server has a bad response
			code = longbridge.StatusBadRequest
		}
		h.fail(c, cmd, id, code, codeOf(code), "request failed")
		return
	}
	if h.respond(c, cmd, id, code, payload) != nil {
		h.fail(c, cmd, id, longbridge.StatusServerInternalError, codeInternal, "the reply is too long")
	}
}

// statusOf is a status as the protocol has it: there is no number for some of what others say.
func statusOf(status int) longbridge.Status {
	if 0 <= status && status <= int(longbridge.StatusClientInternalError) {
		return longbridge.Status(status)
	}
	return longbridge.StatusServerInternalError
}

// codeOf is the code of an Error beside a status for which nobody has said one.
func codeOf(status longbridge.Status) uint64 {
	switch status {
	case longbridge.StatusServerTimeout, longbridge.StatusClientTimeout:
		return codeTimeout
	case longbridge.StatusBadRequest:
		return codeBadRequest
	case longbridge.StatusUnauthenticated:
		return codeUnauthenticated
	case longbridge.StatusPermissionDenied:
		return codeForbidden
	}
	return codeInternal
}

// Explain implements gateway.Explainer: a worker's message becomes an Error. Workers that think of
// GOSOC say 4 for a request at fault; here that is a bad response, of which a server has no use.
func (h *conn) Explain(status int, message string) (int, []byte) {
	code := statusOf(status)
	if status == gateway.StatusError {
		code = longbridge.StatusBadRequest
	}
	return int(code), h.errorBody(codeOf(code), message)
}

// Failure implements gateway.Session.
func (h *conn) Failure(status int, message string) (int, []byte) {
	wire, code := longbridge.StatusServerInternalError, uint64(codeInternal)
	switch status {
	case gateway.StatusTimeout:
		wire, code = longbridge.StatusServerTimeout, codeTimeout
	case gateway.StatusError:
		wire, code = longbridge.StatusBadRequest, codeBadRequest
	}
	return int(wire), h.errorBody(code, message)
}

func (h *conn) errorBody(code uint64, message string) []byte {
	body, _ := h.appendError(nil, code, message)
	return body
}

func (h *conn) appendError(dst []byte, code uint64, message string) ([]byte, error) {
	return h.handshake.Codec.Append(dst, &longbridge.Error{Code: code, Msg: strings.ToValidUTF8(message, "\ufffd")})
}

// fail sends a response that says no.
func (h *conn) fail(c *engine.Conn, cmd uint8, id uint32, status longbridge.Status, code uint64, message string) {
	body := bytebufferpool.Get()
	defer bytebufferpool.Put(body)
	if b, err := h.appendError(body.B, code, message); err == nil {
		body.B = b
	}
	_ = h.respond(c, cmd, id, status, body.B)
}

// answer sends a response with a control message.
func (h *conn) answer(c *engine.Conn, cmd uint8, id uint32, status longbridge.Status, m longbridge.Message) {
	body := bytebufferpool.Get()
	defer bytebufferpool.Put(body)
	b, err := h.handshake.Codec.Append(body.B, m)
	if err != nil { // only a string that is not UTF-8 could cause it, and there is none
		h.protocol.gateway.Log().Error("control message not sent", "protocol", Name, "err", err)
		c.Close(engine.ReasonServerError)
		return
	}
	body.B = b
	_ = h.respond(c, cmd, id, status, body.B)
}

// opcode is what kind of message a packet to the client travels in: the kind its own came in.
func (h *conn) opcode() websocket.Opcode {
	if h.flags&text != 0 {
		return websocket.OpText
	}
	return websocket.OpBinary
}

// respond queues a response. The error says that no packet has room for body.
func (h *conn) respond(c *engine.Conn, cmd uint8, id uint32, status longbridge.Status, body []byte) error {
	header := longbridge.Header{Cmd: cmd, RequestID: id, Status: status}
	if gzip := h.protocol.config.Gzip; gzip > 0 && len(body) >= gzip && !header.Control() {
		scratch := h.protocol.gateway.Scratch(c.Loop())
		scratch.Out = roomFor(scratch.Out, body)
		body, header.Gzip = longbridge.MaybeDeflate(scratch.Out, body, gzip)
		defer scratch.Trim()
	}
	size := headerSize(longbridge.Response, h.handshake.Version) + len(body)
	dst := c.Buffer(size + websocket.MaxHeaderSize)
	b := dst
	if h.protocol.webSocket {
		b = websocket.AppendFrameHeader(b, h.opcode(), size)
	}
	b, err := longbridge.AppendResponse(b, h.handshake.Version, header, nil, body)
	if err != nil {
		c.Commit(dst, 0)
		return err
	}
	if t := h.protocol.deflate; t != nil {
		b = t.Deflate(b, len(dst))
	}
	c.Commit(b, 1)
	return nil
}
