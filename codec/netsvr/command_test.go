package netsvr

import "testing"

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		cmd   Command
		n     uint32
		name  string
		class Class
	}{
		{CmdConnOpen, 900001001, "ConnOpen", ClassEvent},
		{CmdConnClose, 900001002, "ConnClose", ClassEvent},
		{CmdTransfer, 900001003, "Transfer", ClassEvent},
		{CmdConnInfoUpdate, 900002001, "ConnInfoUpdate", ClassOneWay},
		{CmdConnInfoDelete, 900002002, "ConnInfoDelete", ClassOneWay},
		{CmdBroadcast, 900002003, "Broadcast", ClassOneWay},
		{CmdMulticast, 900002004, "Multicast", ClassOneWay},
		{CmdSingleCast, 900002005, "SingleCast", ClassOneWay},
		{CmdSingleCastBulk, 900002006, "SingleCastBulk", ClassOneWay},
		{CmdTopicSubscribe, 900002007, "TopicSubscribe", ClassOneWay},
		{CmdTopicUnsubscribe, 900002008, "TopicUnsubscribe", ClassOneWay},
		{CmdTopicDelete, 900002009, "TopicDelete", ClassOneWay},
		{CmdTopicPublish, 900002010, "TopicPublish", ClassOneWay},
		{CmdForceOffline, 900002011, "ForceOffline", ClassOneWay},
		{CmdForceOfflineGuest, 900002012, "ForceOfflineGuest", ClassOneWay},
		{CmdTopicPublishBulk, 900002013, "TopicPublishBulk", ClassOneWay},
		{CmdRegister, 900003001, "Register", ClassQuery},
		{CmdUnregister, 900003002, "Unregister", ClassQuery},
		{CmdCheckOnline, 900003003, "CheckOnline", ClassQuery},
		{CmdUniqIDList, 900003004, "UniqIdList", ClassQuery},
		{CmdUniqIDCount, 900003005, "UniqIdCount", ClassQuery},
		{CmdTopicCount, 900003006, "TopicCount", ClassQuery},
		{CmdTopicList, 900003007, "TopicList", ClassQuery},
		{CmdTopicUniqIDList, 900003008, "TopicUniqIdList", ClassQuery},
		{CmdTopicUniqIDCount, 900003009, "TopicUniqIdCount", ClassQuery},
		{CmdConnInfo, 900003010, "ConnInfo", ClassQuery},
		{CmdMetrics, 900003011, "Metrics", ClassQuery},
		{CmdLimit, 900003012, "Limit", ClassQuery},
		{CmdConnOpenCustomUniqIDToken, 900003013, "ConnOpenCustomUniqIdToken", ClassQuery},
		{CmdRequest, 900009001, "Request", ClassEvent},
		{CmdReply, 900009002, "Reply", ClassOneWay},
		{CmdPush, 900009003, "Push", ClassOneWay},
		{CmdUserForceOffline, 900009004, "UserForceOffline", ClassOneWay},
		{CmdUserSubscribe, 900009005, "UserSubscribe", ClassOneWay},
		{CmdUserUnsubscribe, 900009006, "UserUnsubscribe", ClassOneWay},
		{CmdUserConnList, 900009007, "UserConnList", ClassQuery},
		{CmdProbe, 900009008, "Probe", ClassEvent},
		{CmdHistory, 900009009, "History", ClassQuery},
		{CmdPublishAt, 900009010, "PublishAt", ClassQuery},
		{CmdNone, 0, "Command(0)", ClassUnknown},
		{CmdPing, 1, "Ping", ClassHeartbeat},
		{CmdPong, 2, "Pong", ClassHeartbeat},
		{900001004, 900001004, "Command(900001004)", ClassUnknown},
		{900002000, 900002000, "Command(900002000)", ClassUnknown},
		{900002014, 900002014, "Command(900002014)", ClassUnknown}, // protocol 6
		{900003014, 900003014, "Command(900003014)", ClassUnknown}, // protocol 6
		{900009000, 900009000, "Command(900009000)", ClassUnknown},
		{900009999, 900009999, "Command(900009999)", ClassUnknown},
		{1<<32 - 1, 1<<32 - 1, "Command(4294967295)", ClassUnknown},
	} {
		if uint32(c.cmd) != c.n || c.cmd.String() != c.name || c.cmd.Class() != c.class {
			t.Errorf("%d: %d %q, class %d", c.n, uint32(c.cmd), c.cmd, c.cmd.Class())
		}
	}
}
