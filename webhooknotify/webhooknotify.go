package webhooknotify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
)

// Options of [New].
type Options struct {
	// Endpoints says where a tenant's events go. Required: [Fixed] for endpoints
	// of the host's own.
	Endpoints Endpoints
	// Timeout bounds one request, from the look-up of the name to the answer.
	// Defaults to 15 seconds; 1 second to 1 minute.
	Timeout time.Duration
	// Gone is told of an endpoint that answered 410 Gone: take it out of what
	// Endpoints returns. If it returns nil, the endpoint counts as having the
	// event. nil = 410 is a failure like any other.
	Gone func(ctx context.Context, tenant string, e Endpoint) error

	// Proxy, such as http.ProxyFromEnvironment, says through which proxy a request
	// goes. The address that is checked is then the proxy's, and refusing what is
	// not public is the proxy's duty. nil = none, whatever the environment says.
	Proxy func(*http.Request) (*url.URL, error)
	// RootCAs are the authorities that endpoints' certificates are checked
	// against. nil = the system's.
	RootCAs *x509.CertPool

	// InsecureHTTP lets endpoints be http URLs: who is on the way reads the events.
	InsecureHTTP bool
	// DangerouslyAllow are addresses that may be connected to although they are
	// not public. Whoever can choose an endpoint can then make this server post to
	// anything there.
	DangerouslyAllow []netip.Prefix

	// Clock is read for webhook-timestamp. Defaults to [apitoken.SystemClock].
	Clock apitoken.Clock
}

// Endpoint is where events are sent.
type Endpoint struct {
	// URL is https, with a host and no user name.
	URL string
	// Secrets sign, each by itself: the current one first, then those that
	// receivers may still be checking against. At least one; see [NewSecret]. No
	// two endpoints should share one.
	Secrets []apitoken.Secret
	// Types are the events that are sent. Empty = all.
	Types []apitoken.EventType
}

// Endpoints says where a tenant's events go. It must be safe for concurrent use.
type Endpoints interface {
	// Endpoints of the tenant. [apitoken.ErrNotFound] = none; any other error
	// brings the event back later.
	Endpoints(ctx context.Context, tenant string) ([]Endpoint, error)
}

// EndpointsFunc adapts a function to [Endpoints].
type EndpointsFunc func(ctx context.Context, tenant string) ([]Endpoint, error)

// Endpoints calls f.
func (f EndpointsFunc) Endpoints(ctx context.Context, tenant string) ([]Endpoint, error) {
	return f(ctx, tenant)
}

// Fixed are endpoints that get the events of all tenants: they must be the
// host's own.
type Fixed []Endpoint

// Endpoints returns f.
func (f Fixed) Endpoints(context.Context, string) ([]Endpoint, error) { return f, nil }

// Payload is the body of a request.
type Payload struct {
	Type      apitoken.EventType `json:"type"`
	Timestamp time.Time          `json:"timestamp"` // of the event, not of the sending
	Data      apitoken.Event     `json:"data"`
}

// Error is why an endpoint does not have an event. Its text names the host and
// nothing else of the URL, whose path and query are often secret.
type Error struct {
	Host   string
	Status int   // of the answer, 0 if there was none
	Err    error // nil if there was an answer
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("webhooknotify: %s: %v", e.Host, e.Err)
	}
	return fmt.Sprintf("webhooknotify: %s answered with status %d", e.Host, e.Status)
}

func (e *Error) Unwrap() error { return e.Err }

// Notifier posts events. It is safe for concurrent use.
type Notifier struct {
	opts      Options
	transport http.RoundTripper
	sent      memory
}

var _ apitoken.Notifier = (*Notifier)(nil)

// New returns a Notifier. All faults of opts come joined, each an
// [apitoken.FieldError]. New connects to nothing.
func New(opts Options) (*Notifier, error) {
	var errs []error
	bad := func(field, problem string) { errs = append(errs, &apitoken.FieldError{Field: field, Problem: problem}) }
	if opts.Timeout == 0 {
		opts.Timeout = 15 * time.Second
	}
	if opts.Timeout < time.Second || opts.Timeout > time.Minute {
		bad("Timeout", fmt.Sprintf("is %s: give 1s to 1m0s, or 0 for 15s", opts.Timeout))
	}
	if opts.Clock == nil {
		opts.Clock = apitoken.SystemClock
	}
	opts.DangerouslyAllow = slices.Clone(opts.DangerouslyAllow)
	for i, p := range opts.DangerouslyAllow {
		if !p.IsValid() || p.Masked() != p {
			bad(fmt.Sprintf("DangerouslyAllow[%d]", i), "is not a range of addresses: write it as 10.1.0.0/16, with no bits set after its length")
		}
	}
	n := &Notifier{opts: opts}
	if opts.Endpoints == nil {
		bad("Endpoints", "is nil: say where events go, for example webhooknotify.Fixed{{URL: …, Secrets: …}}")
	}
	if fixed, ok := opts.Endpoints.(Fixed); ok {
		for i, e := range fixed {
			for _, f := range apitoken.Fields(n.Check(e)) {
				bad(fmt.Sprintf("Endpoints[%d].%s", i, f.Field), f.Problem)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: opts.Timeout, Control: addressCheck(opts.DangerouslyAllow)}
	// It is used without an http.Client, which would follow redirects, and show the
	// whole URL in its errors.
	n.transport = &http.Transport{
		Proxy:           opts.Proxy,
		DialContext:     dialer.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: opts.RootCAs, MinVersion: tls.VersionTLS12},
		// A connection that is kept needs somebody to close it, and its endpoint may
		// be another tomorrow. Deliveries are rare.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return n, nil
}

// Check says what is wrong with an endpoint, each fault an [apitoken.FieldError]
// with the field "URL" or "Secrets[0]". Ask it when a customer enters one. It
// resolves no names: whether an address may be connected to is known only then.
func (n *Notifier) Check(e Endpoint) error {
	_, _, err := n.parse(e)
	return err
}

// Notify implements [apitoken.Notifier]: it posts the event to each endpoint of
// its tenant that wants its type and does not have it yet. Recipients play no
// part. The errors are joined, each an [Error].
func (n *Notifier) Notify(ctx context.Context, note apitoken.Notification) error {
	event := note.Event
	endpoints, err := n.opts.Endpoints.Endpoints(ctx, event.Tenant)
	if errors.Is(err, apitoken.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("webhooknotify: asking for the endpoints: %w", err)
	}
	body, err := json.Marshal(Payload{Type: event.Type, Timestamp: event.Time, Data: event})
	if err != nil {
		return fmt.Errorf("webhooknotify: writing the event: %w", err)
	}
	var errs []error
	for _, e := range endpoints {
		key := keyOf(event.ID, e.URL)
		if len(e.Types) > 0 && !slices.Contains(e.Types, event.Type) || n.sent.has(key) {
			continue
		}
		if err := n.post(ctx, event, e, body); err != nil {
			errs = append(errs, err)
			continue
		}
		n.sent.add(key)
	}
	return errors.Join(errs...)
}

func (n *Notifier) post(ctx context.Context, event apitoken.Event, e Endpoint, body []byte) error {
	target, keys, err := n.parse(e)
	if err != nil {
		host := "an endpoint" // it may not be a URL at all, so nothing of it is shown
		if target != nil {
			host = target.Host
		}
		return &Error{Host: host, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, n.opts.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return &Error{Host: target.Host, Err: errors.New("the request cannot be made")} // err would show the URL
	}
	id, now := messageID(event.ID), n.opts.Clock.Now().Unix()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "apitoken-webhook")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now, 10))
	r.Header.Set("Webhook-Signature", sign(keys, id, now, body))
	res, err := n.transport.RoundTrip(r)
	if err != nil {
		return &Error{Host: target.Host, Err: err}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // lets an ordinary answer end in peace; its status has decided
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return nil
	case res.StatusCode == http.StatusGone && n.opts.Gone != nil:
		if err := n.opts.Gone(ctx, event.Tenant, e); err != nil {
			return &Error{Host: target.Host, Status: res.StatusCode, Err: fmt.Errorf("is gone, and taking it out failed: %w", err)}
		}
		return nil
	}
	return &Error{Host: target.Host, Status: res.StatusCode}
}

// parse takes an endpoint apart, and says all that is wrong with it. The URL is
// nil if it is none that may be called.
func (n *Notifier) parse(e Endpoint) (*url.URL, [][]byte, error) {
	var errs []error
	bad := func(field, problem string) { errs = append(errs, &apitoken.FieldError{Field: field, Problem: problem}) }
	target, err := url.Parse(e.URL)
	problem := ""
	switch {
	case err != nil:
		problem = "is not a URL"
	case target.Scheme != "https" && !(target.Scheme == "http" && n.opts.InsecureHTTP):
		problem = "must begin with https://"
	case target.Hostname() == "" || target.Opaque != "":
		problem = "names no host"
	case target.User != nil:
		problem = "has a user name or password: the signature is what tells the receiver who sends"
	case carriesIPv4(target.Hostname()):
		problem = "has an IPv6 address that carries another address, or a zone: write the address itself"
	case strings.HasSuffix(target.Host, ":"):
		problem = "has a colon and no port after it"
	}
	if problem != "" {
		bad("URL", problem)
		target = nil
	} else {
		target.Fragment, target.RawFragment = "", ""
	}
	if len(e.Secrets) == 0 {
		bad("Secrets", "are missing: events are never sent unsigned; make one with NewSecret")
	}
	var keys [][]byte
	for i, s := range e.Secrets {
		key, problem := parseSecret(s)
		if problem != "" {
			bad(fmt.Sprintf("Secrets[%d]", i), problem)
		}
		keys = append(keys, key)
	}
	return target, keys, errors.Join(errs...)
}
