// Package client is the house of the protocols that clients speak: gosoc, longbridge, netsvr, and
// websocket, which carries them. It holds the tests of what all of them promise.
package client
