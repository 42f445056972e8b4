package cluster

import (
	"context"
	"errors"
	"time"
)

// A Stream keeps frames of messages of topics with history, each under its topic's subject, in one
// order for all nodes. What it has stored it sends to the nodes that have subscribed to the topic, over
// their data connection, with the numbers that it has given.
type Stream interface {
	// Open makes the stream if there is none. Limits are what it should keep from now on. That it
	// cannot be is a *StreamError.
	Open(ctx context.Context, limits StreamLimits) (StreamState, error)
	// Mend changes what of the stream's settings is wrong, or low, and reports whether there was
	// any. That it cannot be changed is a *StreamError.
	Mend(ctx context.Context, limits StreamLimits) (changed bool, err error)
	// State returns what the stream's leader says of it now. The error is ErrNoStream if it is gone.
	State(ctx context.Context) (StreamState, error)
	// Append sends a frame, which is copied. It may block for about a second. The error says that
	// it was not sent; what has become of one that was comes in Acks with its ticket, or never. A
	// frame is stored once, however often it is sent within two minutes with one id.
	Append(subject, id string, frame []byte, ticket uint64) error
	// Acks is never closed.
	Acks() <-chan StreamAck
	// Last returns the numbers of the last frames of at most readSubjects subjects, of those that are
	// from or above.
	Last(ctx context.Context, subjects []string, from uint64) (map[string]uint64, error)
	// Read calls each for all frames of at most readSubjects subjects from a number on, in order, until
	// it returns false. Frames are each's own.
	Read(ctx context.Context, subjects []string, from uint64, each func(Stored) bool) error
}

// readSubjects is how many subjects one Last or Read may be about.
const readSubjects = 1000

// StreamLimits are what a Stream must keep.
type StreamLimits struct {
	PerSubject int64 // frames
	Age        time.Duration
	Bytes      int64 // of all; if it has to be made
	File       bool  // on disk; if it has to be made
}

// A StreamState says what a Stream has.
type StreamState struct {
	Epoch       uint64 // when it was made, in unix microseconds
	First, Last uint64 // the numbers of its first and last frame; if it is empty First is Last+1
	FirstAt     time.Time
	LastAt      time.Time
	Limits      StreamLimits
	Frames      uint64
	Replicas    int
	// Kept is how many frames of a subject it has kept at least, of what it has: Limits.PerSubject,
	// or fewer if that was raised lately.
	Kept int64
	// Wrong are settings with which it does not do what it must, Low those with which it keeps less
	// than was wanted, and Other those that are not as this node would make them.
	Wrong, Low, Other []string
}

// A Stored is a frame that a Stream has.
type Stored struct {
	Subject string
	Seq     uint64
	At      time.Time
	Frame   []byte
}

// A StreamAck says what has become of a frame that was appended.
type StreamAck struct {
	Ticket    uint64
	Seq       uint64
	Duplicate bool // it was stored before
	// Err is why it was not stored, nil: it was. ErrNoStream and *busyError are worth another try.
	Err error
}

// ErrNoStream says that nobody answers for the stream: it is gone, or has no leader at the moment.
var ErrNoStream = errors.New("cluster: the stream of histories is not there, or has no leader")

// A busyError is a refusal that may pass.
type busyError struct{ err error }

func (e *busyError) Error() string { return e.err.Error() }

func (e *busyError) Unwrap() error { return e.err }

// A StreamError says that there is no stream as it is needed, and that none can be made.
type StreamError struct {
	Stream string
	Err    error
}

func (e *StreamError) Error() string { return "stream " + e.Stream + ": " + e.Err.Error() }

func (e *StreamError) Unwrap() error { return e.Err }

// Numbers of messages. The last record of frame S has the number S<<indexBits | lastIndex, the one
// before it one less: so the numbers of a topic rise, with gaps, and it is known from a number
// which frame has it.
const (
	indexBits = 12
	lastIndex = 1<<indexBits - 1
	// maxFrameRecords is how many records a frame of history may have.
	maxFrameRecords = 1 << indexBits
)

// behind is the number of the last message of frame seq.
func behind(seq uint64) uint64 { return seq<<indexBits | lastIndex }

// frameOf is the frame that has a number.
func frameOf(number uint64) uint64 { return number >> indexBits }
