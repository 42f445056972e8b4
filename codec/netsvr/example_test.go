package netsvr_test

import (
	"fmt"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// A worker registers and publishes in one batch; the gateway reads it.
func Example() {
	var batch []byte

	start := len(batch)
	batch = netsvr.V2.BeginFrame(batch, netsvr.CmdRegister)
	batch, err := netsvr.AppendMessage(batch, &netsvrpb.RegisterReq{WorkerId: 1, AcceptsRequests: true})
	if err != nil {
		fmt.Println(err)
	}
	batch, _ = netsvr.EndFrame(batch, start, netsvr.DefaultFrameLimit)

	start = len(batch)
	batch = netsvr.V2.BeginFrame(batch, netsvr.CmdTopicPublish)
	batch = netsvr.AppendTopicPublish(batch, []string{"news", "sport"}, []byte("goal"))
	batch, _ = netsvr.EndFrame(batch, start, netsvr.DefaultFrameLimit)

	batch = netsvr.V2.AppendPing(batch)

	var publish netsvr.TopicPublish // reused for each frame
	for {
		body, n, err := netsvr.ParseFrame(batch, netsvr.DefaultFrameLimit)
		if n == 0 {
			fmt.Println("left:", len(batch), err)
			return
		}
		switch cmd, payload := netsvr.V2.Split(body); cmd {
		case netsvr.CmdPing:
			fmt.Println(cmd)
		case netsvr.CmdRegister:
			var req netsvrpb.RegisterReq
			err := netsvr.Unmarshal(payload, &req)
			fmt.Println(cmd, req.WorkerId, req.AcceptsRequests, err)
		case netsvr.CmdTopicPublish:
			err := publish.Decode(payload)
			fmt.Printf("%v %s %s %v\n", cmd, publish.Topics, publish.Data, err)
		}
		batch = batch[n:]
	}
	// Output:
	// Register 1 true <nil>
	// TopicPublish [news sport] goal <nil>
	// Ping
	// left: 0 <nil>
}
