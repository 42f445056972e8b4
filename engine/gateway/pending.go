package gateway

// A pendingQueue holds a client's requests that wait for a reply, oldest first. On a protocol that
// answers in order it also holds the replies that came before their turn.
type pendingQueue struct {
	list []pending
	next uint32 // sequence number of the next request; the list's are consecutive
	open int    // requests in list that are not answered
}

type pending struct {
	id       uint32
	cmd      uint8
	answered bool
	sent     bool // answered, and the reply is out: only on protocols without order
	status   int32
	deadline int64 // ms on the engine's clock
	payload  []byte
}

func (q *pendingQueue) empty() bool { return len(q.list) == 0 }

// add appends a request and returns its sequence number.
func (q *pendingQueue) add(id uint32, cmd uint8, deadline int64) uint32 {
	q.list = append(q.list, pending{id: id, cmd: cmd, deadline: deadline})
	q.open++
	q.next++
	return q.next - 1
}

// find returns the request with a sequence number, nil when it is over.
func (q *pendingQueue) find(seq uint32) *pending {
	first := q.next - uint32(len(q.list))
	if i := seq - first; i < uint32(len(q.list)) && !q.list[i].answered {
		return &q.list[i]
	}
	return nil
}

// trim removes the requests at the front whose replies are out.
func (q *pendingQueue) trim() {
	n := 0
	for n < len(q.list) && q.list[n].sent {
		n++
	}
	if n == len(q.list) {
		q.list = nil
		return
	}
	if n > 0 {
		q.list = q.list[n:]
	}
}

// earliest returns the next deadline among the unanswered, 0 when there is none.
func (q *pendingQueue) earliest() int64 {
	var first int64
	for i := range q.list {
		if p := &q.list[i]; !p.answered && (first == 0 || p.deadline < first) {
			first = p.deadline
		}
	}
	return first
}
