package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/internal/redact"
)

// RemoteJWTConfig sets up a RemoteJWT. Zero durations mean their defaults, and so do negative ones.
type RemoteJWTConfig struct {
	JWTConfig // JWKS is an http or https URL

	Refresh    time.Duration // between two fetches; zero means 10 minutes
	MinRefresh time.Duration // at least, between two fetches for unknown key ids or after a failure; zero means 10 s
	MaxStale   time.Duration // keys that could not be fetched again for so long are dropped; zero means 1 hour
	Timeout    time.Duration // of one fetch; zero means 5 s

	Transport http.RoundTripper // nil means one of its own, without redirects and with bounds

	// Now is the clock by which tokens expire and keys are old; any goroutine calls it. Nil means
	// time.Now. How long a fetch takes and when the next one is due is up to timers.
	Now func() time.Time
}

// RemoteJWT is JWT with keys that are fetched from a URL, once at the start and again in the
// background. A token with an unknown key id brings the next fetch forward, and its login waits for
// that. While there are no keys, because none could be fetched yet or for too long, logins fail
// with ErrUnavailable.
type RemoteJWT struct {
	check  verifier
	config RemoteJWTConfig
	url    *url.URL
	client *http.Client
	state  atomic.Pointer[fetched] // written by run only

	kick   chan struct{}   // fetch soon, if MinRefresh allows
	reload chan chan error // fetch now
	stop   context.CancelFunc
	done   chan struct{} // closed when run has ended
}

// fetched is the outcome of the fetches so far. It is never changed once it is out.
type fetched struct {
	keys  *keySet       // nil: none yet
	at    time.Time     // when keys came
	tried time.Time     // when the last fetch ended; zero: none yet
	err   error         // of the last fetch
	next  chan struct{} // closed when a newer one is out
}

var _ Reloader = (*RemoteJWT)(nil)

// NewRemoteJWT starts fetching keys and does not wait for them: see Reload for that. The caller
// must Close what it returns.
func NewRemoteJWT(c RemoteJWTConfig) (*RemoteJWT, error) {
	check, err := newVerifier(c.JWTConfig)
	if err != nil {
		return nil, err
	}
	u, err := parseURL(c.JWKS)
	if err != nil {
		return nil, fmt.Errorf("login: jwt: jwks: %w", err)
	}
	for d, zero := range map[*time.Duration]time.Duration{
		&c.Refresh: 10 * time.Minute, &c.MinRefresh: 10 * time.Second, &c.MaxStale: time.Hour, &c.Timeout: 5 * time.Second,
	} {
		if *d <= 0 {
			*d = zero
		}
	}
	if c.Transport == nil {
		c.Transport = newTransport(1)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	ctx, stop := context.WithCancel(context.Background())
	j := &RemoteJWT{
		check: check, config: c, url: u, client: newClient(c.Transport),
		kick: make(chan struct{}, 1), reload: make(chan chan error), stop: stop, done: make(chan struct{}),
	}
	j.state.Store(&fetched{next: make(chan struct{})})
	go j.run(ctx)
	return j, nil
}

// Login implements Provider. It waits for the network only if there are no keys or the token names
// an unknown one. It fails as JWT.LoginNow does, or with ErrUnavailable.
func (j *RemoteJWT) Login(ctx context.Context, r Request) (Identity, error) {
	if len(r.Token) > MaxTokenLen {
		return Identity{}, ErrTooLong
	}
	now, st := j.config.Now(), j.state.Load()
	id, err := j.verify(now, r.Token, st)
	if err == nil || !wantsFetch(err) || j.justTried(now, st) {
		return id, err
	}
	select {
	case j.kick <- struct{}{}:
	default: // somebody else has
	}
	select {
	case <-st.next:
		return j.verify(j.config.Now(), r.Token, j.state.Load())
	case <-ctx.Done():
		return Identity{}, unavailable(fmt.Errorf("waiting for keys: %w", ctx.Err()))
	case <-j.done:
		return Identity{}, unavailable(errClosed)
	}
}

var errClosed = errors.New("provider is closed")

func wantsFetch(err error) bool { return errors.Is(err, ErrKeyID) || errors.Is(err, ErrUnavailable) }

// justTried reports whether the last fetch is too recent for another one. A clock that was set back
// says nothing about that.
func (j *RemoteJWT) justTried(now time.Time, st *fetched) bool {
	since := now.Sub(st.tried)
	return !st.tried.IsZero() && since >= 0 && since < j.config.MinRefresh
}

// verify turns an unknown key id into no verdict when the last fetch failed: the key may well be a
// new one.
func (j *RemoteJWT) verify(now time.Time, token string, st *fetched) (Identity, error) {
	if st.keys == nil || now.Sub(st.at) > j.config.MaxStale {
		if st.err == nil {
			return Identity{}, unavailable(errors.New("no keys yet"))
		}
		return Identity{}, unavailable(fmt.Errorf("no keys: %w", st.err))
	}
	id, err := j.check.verify(now, token, st.keys)
	if st.err != nil && errors.Is(err, ErrKeyID) {
		return Identity{}, unavailable(fmt.Errorf("%v, and no newer keys: %w", why(err), st.err))
	}
	return id, err
}

// Status says how many keys there are, when they were fetched, and how the last fetch failed, if it
// did. Any goroutine may call it.
func (j *RemoteJWT) Status() (keys int, at time.Time, err error) {
	st := j.state.Load()
	if st.keys != nil {
		keys = len(st.keys.keys)
	}
	return keys, st.at, st.err
}

// Reload implements Reloader: it fetches the keys now, for Timeout at most, behind a fetch that is
// under way.
func (j *RemoteJWT) Reload() error {
	reply := make(chan error, 1)
	select {
	case j.reload <- reply:
	case <-j.done:
		return fmt.Errorf("login: jwt: %w", errClosed)
	}
	if err := <-reply; err != nil {
		return fmt.Errorf("login: jwt: %w", err)
	}
	return nil
}

// Close ends the fetching; logins that wait fail with ErrUnavailable. It returns when all
// goroutines have ended but those of a Transport that was handed in. It may be called more than
// once and always returns nil.
func (j *RemoteJWT) Close() error {
	j.stop()
	<-j.done
	j.client.CloseIdleConnections()
	return nil
}

func (j *RemoteJWT) run(ctx context.Context) {
	defer close(j.done)
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		var reply chan error
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		case <-j.kick:
			// Whoever kicked waits for the state that was in force then. If it was replaced
			// meanwhile, they know.
			if j.justTried(j.config.Now(), j.state.Load()) {
				continue
			}
		case reply = <-j.reload:
		}
		keys, err := j.fetch(ctx)
		old, st := j.state.Load(), &fetched{next: make(chan struct{}), tried: j.config.Now(), err: err}
		if st.keys, st.at = keys, st.tried; err != nil {
			st.keys, st.at = old.keys, old.at
		}
		j.state.Store(st)
		close(old.next)
		if reply != nil {
			reply <- err
		}
		if err != nil {
			due.Reset(j.config.MinRefresh)
		} else {
			due.Reset(j.config.Refresh)
		}
	}
}

func (j *RemoteJWT) fetch(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, j.config.Timeout)
	defer cancel()
	keys, err := j.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetching keys from %s: %w", j.url.Host, redact.Cause(err))
	}
	return keys, nil
}

func (j *RemoteJWT) get(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := j.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := readBody(resp.Body, maxKeyFile)
	if err != nil {
		return nil, err
	}
	return parseJWKS(body)
}

// Unguessable implements Unguessable: a token is signed.
func (*RemoteJWT) Unguessable() bool { return true }
