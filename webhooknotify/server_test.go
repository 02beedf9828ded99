package webhooknotify_test

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/webhooknotify"
)

// receiver is an endpoint on loopback, over TLS.
type receiver struct {
	*httptest.Server
	answer http.HandlerFunc // nil = 204; set it before the first request

	mu  sync.Mutex
	got []request
}

type request struct {
	method, target string
	header         http.Header
	body           []byte
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	rec := &receiver{answer: answer}
	rec.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		rec.mu.Lock()
		rec.got = append(rec.got, request{r.Method, r.RequestURI, r.Header.Clone(), body})
		rec.mu.Unlock()
		if rec.answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		rec.answer(w, r)
	}))
	t.Cleanup(rec.Close)
	return rec
}

// take returns what came since the last take.
func (rec *receiver) take() []request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	got := rec.got
	rec.got = nil
	return got
}

func (rec *receiver) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(rec.Certificate())
	return pool
}

var (
	loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	start    = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	secret   = apitoken.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
)

func fixedClock() time.Time { return start }

// open are options under which rec can be reached.
func (rec *receiver) open(endpoints webhooknotify.Endpoints) webhooknotify.Options {
	return webhooknotify.Options{
		Endpoints: endpoints, DangerouslyAllow: loopback, RootCAs: rec.roots(), Clock: apitoken.ClockFunc(fixedClock),
	}
}

func (rec *receiver) endpoint(path string) webhooknotify.Endpoint {
	return webhooknotify.Endpoint{URL: rec.URL + path, Secrets: []apitoken.Secret{secret}}
}

func newNotifier(t *testing.T, opts webhooknotify.Options) *webhooknotify.Notifier {
	t.Helper()
	n, err := webhooknotify.New(opts)
	require.NoError(t, err)
	return n
}

// event is an event with every field.
func event(id string) apitoken.Event {
	return apitoken.Event{
		ID: id, Type: apitoken.EventRevoked, Message: "API Token revoked", Category: apitoken.EventCategory,
		Time: start.Add(-time.Second + time.Microsecond), DueAt: start.Add(-time.Hour), Tenant: "acme",
		Actor: apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}, Via: "via",
		Target:  apitoken.Target{Token: "tok", Name: "<ci>", Kind: "personal", Owner: apitoken.Party{Type: apitoken.PartyUser, ID: "bob"}},
		Version: 3, Ordinal: 1, Cause: apitoken.CauseByHand, Reason: "left", Changed: []string{"name"}, ExpiresAt: start.Add(time.Hour),
		Creator: "bob", RequestID: "r-1", Address: netip.MustParseAddr("192.0.2.7"), Deliver: true,
	}
}

func note(id string) apitoken.Notification { return apitoken.Notification{Event: event(id)} }
