package cluster

// What the sender tells or answers other nodes, and changes of its subscriptions, are jobs.
type jobKind uint8

const (
	jobNothing   jobKind = iota
	jobSubscribe         // to topic, which gets into the next barrier
	jobLetGo             // of topic, and unsubscribe
	jobConnected         // all subscriptions, and all topics into the next barrier
	jobAnswer            // the barrier number of to
	jobCredit            // ack
	jobInterest          // which of names have subscribers here, for to
	jobWarn              // tell the nodes of ids that they are going to be excluded
	jobProbe             // tell those of ids that they are, and ask them whether they are there again
	jobReadmit           // tell the node to.id that it is not any more
	jobAgain             // barrier
	jobTellAll           // to the node to.id all topics anew
)

type job struct {
	kind   jobKind
	topic  *ownTopic
	to     origin
	number uint64
	ack    ack
	names  []string
	ids    []uint8

	barrier *barrier
}

// size is what a job costs in the queue, in bytes, as far as others cause it.
func (j *job) size() int64 {
	switch j.kind {
	case jobInterest:
		n := int64(jobCost)
		for _, name := range j.names {
			n += int64(len(name)) + 16
		}
		return n
	case jobAnswer, jobCredit:
		return jobCost
	}
	return 0
}

const jobCost = 192
