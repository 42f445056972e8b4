package longbridge

import (
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/engine"
)

// Refuse implements engine.Refuser: the first request, of which the header is enough, is answered
// with an error. The vendor's Go client waits 10 s for the answer to its login, whatever becomes of
// the connection meanwhile.
func (p *Protocol) Refuse(first []byte, why engine.Reason) ([]byte, engine.Match) {
	handshake, n, err := longbridge.ParseHandshake(first)
	switch {
	case err != nil:
		return nil, engine.NoMatch
	case n == 0:
		return nil, engine.NeedMore
	}
	header, err := longbridge.ParseHeader(first[n:], handshake.Version)
	switch {
	case err != nil || header.Size != 0 && header.Type != longbridge.Request:
		return nil, engine.NoMatch
	case header.Size == 0:
		return nil, engine.NeedMore
	}
	code := uint64(codeUnavailable)
	header.Type, header.Status = longbridge.Response, longbridge.StatusServerInternalError
	if why == engine.ReasonLoginBanned {
		header.Status, code = longbridge.StatusPermissionDenied, codeForbidden
	}
	answer, err := longbridge.AppendControl(nil, handshake, header, &longbridge.Error{Code: code, Msg: why.String()})
	if err != nil {
		return nil, engine.NoMatch
	}
	return answer, engine.Matched
}
