// Package certs keeps the certificates of the gateway's listeners, and has them replaced while
// connections live.
//
// # Data flow
//
//	files -> Store, looked at once a second -> state -> GetConfigForClient -> handshakes
//	ACME  -> auto, one order a host at a time ------------^
//
// A listener is given one *tls.Config by Store.TLS, for good. What a handshake is served with comes
// from GetConfigForClient, so a change holds for the handshakes that begin after it and touches no
// connection that is there.
//
// # Which certificate
//
// The name in the ClientHello (SNI) decides: a certificate for that very name, one for its wildcard
// (one label), one that ACME gets for it, else the first pair. Of several for one name the first that
// the client's algorithms allow, so an RSA and an ECDSA pair may stand side by side.
//
// # Replaced files
//
// A change counts when two looks have seen the same: a file that is being written, or a pair of
// which one half is new, is passed over. What cannot be used then, since the key does not fit or a
// block is cut off, leaves the old pair in force, is logged once and counted. Files are read by
// their names each time, so symbolic links may change what they point to. A pipe is read once.
//
// # Session tickets
//
// Their keys are drawn at random for each listener, replaced every 8 hours and kept for 24. They are
// set, because those that crypto/tls rotates by itself are kept for a week: whoever reads the
// process's memory could open what was sent in resumed connections of TLS 1.2 for as long. They are
// the listener's, not a certificate's, so tickets go on working when certificates change. They are on
// no disk. A ticket of a client with a certificate is taken only while its chain is good under the
// present client CAs, which crypto/tls looks at in the Config of the handshake.
//
// # What is spoken
//
// TLS 1.2 and 1.3 with the suites and curves of Mozilla's "intermediate" list. There is no
// renegotiation, and TLS_FALLBACK_SCSV is honoured. A client that offers application protocols
// (ALPN) of which the listener speaks none is refused with no_application_protocol, as RFC 7301
// section 3.2 wants it: else bytes that are meant for another service could be passed to this one.
// A client that offers none is taken.
//
// # Goroutines
//
// One, in Run, looks at files and has hosts' certificates ordered; one more for each ACME order
// that is under way. All methods may be called from any goroutine.
package certs
