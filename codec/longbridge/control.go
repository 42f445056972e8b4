package longbridge

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/longbridge/controlpb"
)

// A Message is a control message: *Close, *Heartbeat, *AuthRequest,
// *AuthResponse, *ReconnectRequest, *ReconnectResponse or *Error.
type Message interface {
	toProto() proto.Message  // m in its generated form, new
	fromProto(proto.Message) // the inverse
	reset()
}

// The JSON names are those of the .proto file, as in the vendor's Go client.

// A Close tells the client why the connection ends.
type Close struct {
	Code   CloseCode `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// A Heartbeat is the usual body of a heartbeat. It has no binding form: answer
// the body, whatever it is, instead of decoding it.
type Heartbeat struct {
	Timestamp   int64  `json:"timestamp,omitempty"` // Unix time in milliseconds
	HeartbeatID *int32 `json:"heartbeat_id,omitempty"`
}

// An AuthRequest opens a session with a token.
type AuthRequest struct {
	Token    string            `json:"token,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// An AuthResponse is the session a token has opened.
type AuthResponse struct {
	SessionID string `json:"session_id,omitempty"`
	Expires   int64  `json:"expires,omitempty"` // Unix time in milliseconds
	Limit     uint32 `json:"limit,omitempty"`   // connections the account may have
	Online    uint32 `json:"online,omitempty"`  // connections the account has
}

// A ReconnectRequest takes up a session again.
type ReconnectRequest struct {
	SessionID string            `json:"session_id,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// A ReconnectResponse has a new session id in place of the one presented.
type ReconnectResponse AuthResponse

// An Error is the body of a response whose status is not StatusSuccess. Code
// numbers are the application's.
type Error struct {
	Code uint64 `json:"code,omitempty"`
	Msg  string `json:"msg,omitempty"`
}

// Error makes e usable as an error by clients.
func (e *Error) Error() string { return fmt.Sprintf("longbridge: error %d: %s", e.Code, e.Msg) }

func (m *Close) reset() { *m = Close{} }
func (m *Close) toProto() proto.Message {
	return &controlpb.Close{Code: controlpb.Close_Code(m.Code), Reason: m.Reason}
}
func (m *Close) fromProto(p proto.Message) {
	pb := p.(*controlpb.Close)
	*m = Close{Code: CloseCode(pb.Code), Reason: pb.Reason}
}

func (m *Heartbeat) reset() { *m = Heartbeat{} }
func (m *Heartbeat) toProto() proto.Message {
	return &controlpb.Heartbeat{Timestamp: m.Timestamp, HeartbeatId: m.HeartbeatID}
}
func (m *Heartbeat) fromProto(p proto.Message) {
	pb := p.(*controlpb.Heartbeat)
	*m = Heartbeat{Timestamp: pb.Timestamp, HeartbeatID: pb.HeartbeatId}
}

func (m *AuthRequest) reset() { *m = AuthRequest{} }
func (m *AuthRequest) toProto() proto.Message {
	return &controlpb.AuthRequest{Token: m.Token, Metadata: m.Metadata}
}
func (m *AuthRequest) fromProto(p proto.Message) {
	pb := p.(*controlpb.AuthRequest)
	*m = AuthRequest{Token: pb.Token, Metadata: pb.Metadata}
}

func (m *AuthResponse) reset() { *m = AuthResponse{} }
func (m *AuthResponse) toProto() proto.Message {
	return &controlpb.AuthResponse{SessionId: m.SessionID, Expires: m.Expires, Limit: m.Limit, Online: m.Online}
}
func (m *AuthResponse) fromProto(p proto.Message) {
	pb := p.(*controlpb.AuthResponse)
	*m = AuthResponse{SessionID: pb.SessionId, Expires: pb.Expires, Limit: pb.Limit, Online: pb.Online}
}

func (m *ReconnectRequest) reset() { *m = ReconnectRequest{} }
func (m *ReconnectRequest) toProto() proto.Message {
	return &controlpb.ReconnectRequest{SessionId: m.SessionID, Metadata: m.Metadata}
}
func (m *ReconnectRequest) fromProto(p proto.Message) {
	pb := p.(*controlpb.ReconnectRequest)
	*m = ReconnectRequest{SessionID: pb.SessionId, Metadata: pb.Metadata}
}

func (m *ReconnectResponse) reset() { *m = ReconnectResponse{} }
func (m *ReconnectResponse) toProto() proto.Message {
	return &controlpb.ReconnectResponse{SessionId: m.SessionID, Expires: m.Expires, Limit: m.Limit, Online: m.Online}
}
func (m *ReconnectResponse) fromProto(p proto.Message) {
	pb := p.(*controlpb.ReconnectResponse)
	*m = ReconnectResponse{SessionID: pb.SessionId, Expires: pb.Expires, Limit: pb.Limit, Online: pb.Online}
}

func (m *Error) reset()                 { *m = Error{} }
func (m *Error) toProto() proto.Message { return &controlpb.Error{Code: m.Code, Msg: m.Msg} }
func (m *Error) fromProto(p proto.Message) {
	pb := p.(*controlpb.Error)
	*m = Error{Code: pb.Code, Msg: pb.Msg}
}
