package netsvr

import "strconv"

// A Command says what the frame carries. Its value is the number that dialect
// 2.0.2 puts on the wire, except for the first three.
type Command uint32

// What Split finds where there is no command. These values, if a peer sends them
// as command numbers, are CmdNone.
const (
	CmdNone Command = iota // no dialect knows it
	CmdPing                // the worker's heartbeat
	CmdPong                // the gateway's answer
)

// Gateway to worker.
const (
	CmdConnOpen  Command = 900001001
	CmdConnClose Command = 900001002
	CmdTransfer  Command = 900001003
)

// Worker to gateway, never answered.
const (
	CmdConnInfoUpdate    Command = 900002001
	CmdConnInfoDelete    Command = 900002002
	CmdBroadcast         Command = 900002003
	CmdMulticast         Command = 900002004
	CmdSingleCast        Command = 900002005
	CmdSingleCastBulk    Command = 900002006
	CmdTopicSubscribe    Command = 900002007
	CmdTopicUnsubscribe  Command = 900002008
	CmdTopicDelete       Command = 900002009
	CmdTopicPublish      Command = 900002010
	CmdForceOffline      Command = 900002011
	CmdForceOfflineGuest Command = 900002012
	CmdTopicPublishBulk  Command = 900002013
)

// Worker to gateway, answered on the same link with the same command.
const (
	CmdRegister                  Command = 900003001
	CmdUnregister                Command = 900003002
	CmdCheckOnline               Command = 900003003
	CmdUniqIDList                Command = 900003004
	CmdUniqIDCount               Command = 900003005
	CmdTopicCount                Command = 900003006
	CmdTopicList                 Command = 900003007
	CmdTopicUniqIDList           Command = 900003008
	CmdTopicUniqIDCount          Command = 900003009
	CmdConnInfo                  Command = 900003010
	CmdMetrics                   Command = 900003011
	CmdLimit                     Command = 900003012
	CmdConnOpenCustomUniqIDToken Command = 900003013
)

// Ours: Request only goes to a worker that registered with acceptsRequests.
const (
	CmdRequest          Command = 900009001 // gateway to worker
	CmdReply            Command = 900009002 // worker to gateway, as the next four
	CmdPush             Command = 900009003
	CmdUserForceOffline Command = 900009004
	CmdUserSubscribe    Command = 900009005
	CmdUserUnsubscribe  Command = 900009006
	CmdUserConnList     Command = 900009007 // worker to gateway, answered
	// CmdProbe has no message. It goes, from a gateway, to a worker that registered with
	// answersProbes, which answers with its heartbeat.
	CmdProbe     Command = 900009008
	CmdHistory   Command = 900009009 // worker to gateway, answered
	CmdPublishAt Command = 900009010 // likewise
)

// A Class says who may send a command and what follows.
type Class uint8

const (
	ClassUnknown   Class = iota // ends the link
	ClassHeartbeat              // a ping is answered with a pong, in dialect 2.0.2
	ClassEvent                  // gateway to worker; a gateway that receives one ends the link
	ClassOneWay                 // worker to gateway, never answered
	ClassQuery                  // worker to gateway, answered with the same command
)

// Class sorts c by the thousands of its number, as the protocol does, and ours one by one.
func (c Command) Class() Class {
	switch {
	case c == CmdPing || c == CmdPong:
		return ClassHeartbeat
	case c.name() == "":
		return ClassUnknown
	case c < 900002000 || c == CmdRequest || c == CmdProbe:
		return ClassEvent
	case c < 900003000 || c > 900009000 && c != CmdUserConnList && c != CmdHistory && c != CmdPublishAt:
		return ClassOneWay
	}
	return ClassQuery
}

// String is the name that the protocol gives c.
func (c Command) String() string {
	if s := c.name(); s != "" {
		return s
	}
	return "Command(" + strconv.FormatUint(uint64(c), 10) + ")"
}

// name is empty for a Command that does not exist.
func (c Command) name() string {
	switch c {
	case CmdPing:
		return "Ping"
	case CmdPong:
		return "Pong"
	case CmdConnOpen:
		return "ConnOpen"
	case CmdConnClose:
		return "ConnClose"
	case CmdTransfer:
		return "Transfer"
	case CmdConnInfoUpdate:
		return "ConnInfoUpdate"
	case CmdConnInfoDelete:
		return "ConnInfoDelete"
	case CmdBroadcast:
		return "Broadcast"
	case CmdMulticast:
		return "Multicast"
	case CmdSingleCast:
		return "SingleCast"
	case CmdSingleCastBulk:
		return "SingleCastBulk"
	case CmdTopicSubscribe:
		return "TopicSubscribe"
	case CmdTopicUnsubscribe:
		return "TopicUnsubscribe"
	case CmdTopicDelete:
		return "TopicDelete"
	case CmdTopicPublish:
		return "TopicPublish"
	case CmdForceOffline:
		return "ForceOffline"
	case CmdForceOfflineGuest:
		return "ForceOfflineGuest"
	case CmdTopicPublishBulk:
		return "TopicPublishBulk"
	case CmdRegister:
		return "Register"
	case CmdUnregister:
		return "Unregister"
	case CmdCheckOnline:
		return "CheckOnline"
	case CmdUniqIDList:
		return "UniqIdList"
	case CmdUniqIDCount:
		return "UniqIdCount"
	case CmdTopicCount:
		return "TopicCount"
	case CmdTopicList:
		return "TopicList"
	case CmdTopicUniqIDList:
		return "TopicUniqIdList"
	case CmdTopicUniqIDCount:
		return "TopicUniqIdCount"
	case CmdConnInfo:
		return "ConnInfo"
	case CmdMetrics:
		return "Metrics"
	case CmdLimit:
		return "Limit"
	case CmdConnOpenCustomUniqIDToken:
		return "ConnOpenCustomUniqIdToken"
	case CmdRequest:
		return "Request"
	case CmdReply:
		return "Reply"
	case CmdPush:
		return "Push"
	case CmdUserForceOffline:
		return "UserForceOffline"
	case CmdUserSubscribe:
		return "UserSubscribe"
	case CmdUserUnsubscribe:
		return "UserUnsubscribe"
	case CmdUserConnList:
		return "UserConnList"
	case CmdProbe:
		return "Probe"
	case CmdHistory:
		return "History"
	case CmdPublishAt:
		return "PublishAt"
	}
	return ""
}
