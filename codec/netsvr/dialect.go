package netsvr

import "encoding/binary"

// A Dialect is a version of the worker protocol: command numbers, heartbeats, and
// which messages go with the commands. The zero Dialect is V2.
type Dialect uint8

// V2 is netsvr protocol 2.0.2.
const V2 Dialect = 0

// Ping is the worker's heartbeat; netsvr clients send the same as a message.
func (d Dialect) Ping() string { return "~3yPvmnz~" }

// Pong is the gateway's answer, to workers and to netsvr clients.
func (d Dialect) Pong() string { return "~u38NvZ~" }

// Split takes the body of a frame apart. A body that is a heartbeat and nothing
// else is CmdPing or CmdPong; a body without a command that this dialect knows is
// CmdNone or a Command of ClassUnknown. The payload points into body.
func (d Dialect) Split(body []byte) (c Command, payload []byte) {
	if len(body) > 0 && body[0] == '~' {
		switch string(body) {
		case d.Ping():
			return CmdPing, nil
		case d.Pong():
			return CmdPong, nil
		}
	}
	if len(body) < commandLen {
		return CmdNone, nil
	}
	return d.command(binary.BigEndian.Uint32(body)), body[commandLen:]
}

// command translates a number on the wire; number is its inverse.
func (d Dialect) command(n uint32) Command {
	if c := Command(n); c > CmdPong {
		return c
	}
	return CmdNone
}

func (d Dialect) number(c Command) uint32 { return uint32(c) }
