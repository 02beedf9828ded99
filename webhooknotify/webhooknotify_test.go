package webhooknotify_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/webhooknotify"
)

// The whole way: from a change of a token to a request that the standard's own
// library accepts, with every secret of a rotation, and no other.
func TestDelivery(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, nil)
	old, current := webhooknotify.NewSecret(), webhooknotify.NewSecret()
	opts := rec.open(webhooknotify.EndpointsFunc(func(_ context.Context, tenant string) ([]webhooknotify.Endpoint, error) {
		if tenant != "acme" {
			return nil, apitoken.ErrNotFound
		}
		e := rec.endpoint("/hook?of=acme#fragment")
		e.Secrets = []apitoken.Secret{current, old}
		return []webhooknotify.Endpoint{e}, nil
	}))
	opts.Clock = nil // the library compares with its own clock
	env := apitokentest.New(t, apitoken.Options{Notifier: newNotifier(t, opts)})
	issued := env.Issue(apitoken.IssueRequest{Name: "ci"})
	env.IssueAs(apitoken.Actor{ID: "zoe", Tenant: "rival"}, apitoken.IssueRequest{})
	require.NoError(t, env.Service.Revoke(t.Context(), env.Actor(apitokentest.User), issued.Token.ID, "left"))
	delivered, err := env.Service.Deliver(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, delivered, "that nobody wants the rival's is no failure")

	got := rec.take()
	require.Len(t, got, 2)
	for _, r := range got {
		require.Equal(t, "POST", r.method)
		require.Equal(t, "/hook?of=acme", r.target)
		require.Equal(t, "application/json", r.header.Get("Content-Type"))
		require.Empty(t, r.header.Get("Authorization"))
		require.NotContains(t, string(r.body), issued.Secret.Reveal())
		for _, s := range []apitoken.Secret{old, current} {
			lib, err := standardwebhooks.NewWebhook(s.Reveal())
			require.NoError(t, err)
			require.NoError(t, lib.Verify(r.body, r.header))
			require.Error(t, lib.Verify(append(r.body, ' '), r.header))
		}
		lib, err := standardwebhooks.NewWebhook(webhooknotify.NewSecret().Reveal())
		require.NoError(t, err)
		require.ErrorIs(t, lib.Verify(r.body, r.header), standardwebhooks.ErrNoMatchingSignature)
	}
	require.NotEqual(t, got[0].header.Get("Webhook-Id"), got[1].header.Get("Webhook-Id"))
}

// The documented body, to the byte: a change here is a change for receivers.
func TestSchema(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, nil)
	n := newNotifier(t, rec.open(webhooknotify.Fixed{rec.endpoint("/")}))
	require.NoError(t, n.Notify(t.Context(), note("tok.3.1")))
	require.NoError(t, n.Notify(t.Context(), apitoken.Notification{Event: apitoken.Event{ID: "x", Type: "t", Time: start}}))
	got := rec.take()
	require.Equal(t, `{"type":"token.revoked","timestamp":"2027-03-01T11:59:59.000001Z","data":{"id":"tok.3.1","type":"token.revoked",`+
		`"message":"API Token revoked","category":"token lifecycle","time":"2027-03-01T11:59:59.000001Z","due_at":"2027-03-01T11:00:00Z",`+
		`"tenant":"acme","actor":{"type":"user","id":"ann"},"via":"via","target":{"token":"tok","name":"\u003cci\u003e","kind":"personal",`+
		`"owner":{"type":"user","id":"bob"}},"version":3,"ordinal":1,"cause":"by_hand","reason":"left","changed":["name"],`+
		`"expires_at":"2027-03-01T13:00:00Z","creator":"bob","request_id":"r-1","address":"192.0.2.7"}}`, string(got[0].body))
	require.Equal(t, `{"type":"t","timestamp":"2027-03-01T12:00:00Z","data":{"id":"x","type":"t","message":"","category":"",`+
		`"time":"2027-03-01T12:00:00Z","tenant":"","actor":{"type":"","id":""},"target":{"owner":{"type":"","id":""}},"version":0,"ordinal":0}}`,
		string(got[1].body))
	require.Equal(t, "1803902400", got[0].header.Get("Webhook-Timestamp"), "of the sending, not of the event")
}

// What each answer means, and that the body of none is needed.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			n, err := w.Write(make([]byte, 1<<10))
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	}
	tests := []struct {
		name   string
		status int
		header string
		body   http.HandlerFunc
		want   bool
	}{
		{name: "200", status: 200, want: true},
		{name: "202", status: 202, want: true},
		{name: "299", status: 299, want: true},
		{name: "200 with a body without end", status: 200, body: endless, want: true},
		{name: "300", status: 300},
		{name: "301 elsewhere", status: 301, header: "/elsewhere"},
		{name: "302 to no URL", status: 302, header: "%zz"},
		{name: "307 elsewhere", status: 307, header: "/elsewhere"},
		{name: "308 elsewhere", status: 308, header: "/elsewhere"},
		{name: "400", status: 400},
		{name: "404", status: 404},
		{name: "410 without Gone", status: 410},
		{name: "429", status: 429},
		{name: "500", status: 500},
		{name: "502", status: 502},
		{name: "503 with a body without end", status: 503, body: endless},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.header != "" {
					w.Header().Set("Location", tt.header)
				}
				w.WriteHeader(tt.status)
				if tt.body != nil {
					tt.body(w, r)
				}
			})
			n := newNotifier(t, rec.open(webhooknotify.Fixed{rec.endpoint("/secret-path")}))
			err := n.Notify(t.Context(), note("a"))
			require.Len(t, rec.take(), 1, "no redirect is followed")
			require.Less(t, sent.Load(), int64(64<<20), "more than the kernel holds: the body is being read")
			if tt.want {
				require.NoError(t, err)
				return
			}
			refused, ok := errors.AsType[*webhooknotify.Error](err)
			require.True(t, ok, err)
			require.Equal(t, tt.status, refused.Status)
			require.NotContains(t, err.Error(), "secret-path")
			require.Error(t, n.Notify(t.Context(), note("a")))
			again := rec.take()
			require.Len(t, again, 1, "it is sent again")
			require.Equal(t, webhooknotify.MessageID("a"), again[0].header.Get("Webhook-Id"), "under the same ID")
		})
	}
}

// 410 with Gone: the host takes the endpoint out, and the event is settled.
func TestGone(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	opts := rec.open(webhooknotify.Fixed{rec.endpoint("/")})
	fail := apitokentest.ErrFault
	var told []string
	opts.Gone = func(_ context.Context, tenant string, e webhooknotify.Endpoint) error {
		told = append(told, tenant+" "+e.URL)
		return fail
	}
	n := newNotifier(t, opts)
	require.ErrorIs(t, n.Notify(t.Context(), note("a")), apitokentest.ErrFault)
	fail = nil
	require.NoError(t, n.Notify(t.Context(), note("a")))
	require.NoError(t, n.Notify(t.Context(), note("a")))
	require.Equal(t, []string{"acme " + rec.URL + "/", "acme " + rec.URL + "/"}, told)
	require.Len(t, rec.take(), 2)
}

// An endpoint that has the event does not get it again for another's sake; types
// are chosen; a wrong endpoint stops no other one.
func TestSeveralEndpoints(t *testing.T) {
	t.Parallel()
	status := http.StatusInternalServerError
	bad := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	good := newReceiver(t, nil)
	only := good.endpoint("/created-only")
	only.Types = []apitoken.EventType{apitoken.EventCreated}
	list := []webhooknotify.Endpoint{{URL: "ftp://x"}, bad.endpoint("/"), only, good.endpoint("/all")}
	opts := good.open(webhooknotify.EndpointsFunc(func(context.Context, string) ([]webhooknotify.Endpoint, error) { return list, nil }))
	opts.RootCAs.AddCert(bad.Certificate())
	n := newNotifier(t, opts)
	for range 3 {
		err := n.Notify(t.Context(), note("a"))
		require.ErrorContains(t, err, "status 500")
		require.ErrorContains(t, err, "an endpoint: ")
	}
	require.Len(t, bad.take(), 3)
	got := good.take()
	require.Len(t, got, 1)
	require.Equal(t, "/all", got[0].target)
	status, list = http.StatusOK, list[1:]
	require.NoError(t, n.Notify(t.Context(), note("a")))
	require.Len(t, bad.take(), 1)
	require.Empty(t, good.take())
	created := note("b")
	created.Event.Type = apitoken.EventCreated
	require.NoError(t, n.Notify(t.Context(), created))
	require.Len(t, good.take(), 2)
}

// A failed look-up of endpoints is an error, unless it is 'none'.
func TestEndpointsFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{{"none", apitoken.ErrNotFound, nil}, {"outage", apitokentest.ErrFault, apitokentest.ErrFault}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNotifier(t, webhooknotify.Options{Endpoints: webhooknotify.EndpointsFunc(
				func(context.Context, string) ([]webhooknotify.Endpoint, error) { return nil, tt.err })})
			require.ErrorIs(t, n.Notify(t.Context(), note("a")), tt.want)
		})
	}
}

// A connection into the host's own network is refused when it is made, whatever
// name or spelling leads there, and nothing arrives.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, nil)
	port := rec.Listener.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.0.1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			to := &url.URL{Scheme: "https", Host: host + ":" + strconv.Itoa(port)}
			opts := rec.open(webhooknotify.Fixed{{URL: to.String(), Secrets: []apitoken.Secret{secret}}})
			opts.DangerouslyAllow = []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}
			require.ErrorIs(t, newNotifier(t, opts).Notify(t.Context(), note("a")), webhooknotify.ErrAddress)
		})
	}
	t.Cleanup(func() { require.Empty(t, rec.take()) })
}

// The environment's proxy plays no part; a proxy that is asked for is a
// connection like any other.
func TestProxy(t *testing.T) {
	rec := newReceiver(t, nil)
	var asked int
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	opts := rec.open(webhooknotify.Fixed{rec.endpoint("/")})
	require.NoError(t, newNotifier(t, opts).Notify(t.Context(), note("a")))
	require.Zero(t, asked)
	require.Len(t, rec.take(), 1)

	to, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	opts.Proxy = http.ProxyURL(to)
	require.Error(t, newNotifier(t, opts).Notify(t.Context(), note("a")))
	require.Equal(t, 1, asked)
	opts.DangerouslyAllow = nil
	require.ErrorIs(t, newNotifier(t, opts).Notify(t.Context(), note("a")), webhooknotify.ErrAddress)
	require.Empty(t, rec.take())
}

// Who cannot prove the host's name gets nothing; http only if asked for.
func TestTLS(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t, nil)
	opts := rec.open(webhooknotify.Fixed{rec.endpoint("/")})
	opts.RootCAs = nil
	require.ErrorContains(t, newNotifier(t, opts).Notify(t.Context(), note("a")), "certificate")
	require.Empty(t, rec.take())

	var heard int
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard++ }))
	t.Cleanup(plain.Close)
	opts.Endpoints = webhooknotify.Fixed{{URL: plain.URL, Secrets: []apitoken.Secret{secret}}}
	_, err := webhooknotify.New(opts)
	require.ErrorContains(t, err, "Endpoints[0].URL: must begin with https://")
	opts.InsecureHTTP = true
	require.NoError(t, newNotifier(t, opts).Notify(t.Context(), note("a")))
	require.Equal(t, 1, heard)
}

// The context and Timeout end a request that gets no answer.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 2)
	rec := newReceiver(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	opts := rec.open(webhooknotify.Fixed{rec.endpoint("/")})
	opts.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	require.ErrorIs(t, newNotifier(t, opts).Notify(ctx, note("a")), context.Canceled)
	opts.Timeout = time.Second
	require.ErrorIs(t, newNotifier(t, opts).Notify(t.Context(), note("a")), context.DeadlineExceeded)
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	_, err := webhooknotify.New(webhooknotify.Options{
		Timeout: time.Millisecond, DangerouslyAllow: []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.1/8")},
	})
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.Equal(t, []string{"Timeout", "DangerouslyAllow[0]", "DangerouslyAllow[1]", "Endpoints"}, fields(err))
	_, err = webhooknotify.New(webhooknotify.Options{Endpoints: webhooknotify.Fixed{{}, {URL: "https://h", Secrets: []apitoken.Secret{secret, {}}}}})
	require.Equal(t, []string{"Endpoints[0].URL", "Endpoints[0].Secrets", "Endpoints[1].Secrets[1]"}, fields(err))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	n := newNotifier(t, webhooknotify.Options{Endpoints: webhooknotify.Fixed{}})
	for _, tt := range []struct {
		name, url string
		want      string
	}{
		{"a host", "https://hooks.example.com", ""},
		{"all that may be", "https://hooks.example.com:8443/a/b?c=d#e", ""},
		{"a public IPv6 address", "https://[2606:4700::1111]/", ""},
		{"empty", "", "must begin"},
		{"http", "http://hooks.example.com", "must begin"},
		{"file", "file:///etc/passwd", "must begin"},
		{"no scheme", "//hooks.example.com", "must begin"},
		{"no host", "https:///path", "names no host"},
		{"only a port", "https://:443/", "names no host"},
		{"opaque", "https:hooks.example.com", "names no host"},
		{"a password", "https://a:b@hooks.example.com", "user name"},
		{"a user name", "https://a@hooks.example.com", "user name"},
		{"no port", "https://hooks.example.com:", "colon"},
		{"4-in-6", "https://[::ffff:8.8.8.8]/", "carries"},
		{"4-in-6 in hexadecimal", "https://[::ffff:7f00:1]/", "carries"},
		{"a zone", "https://[2606:4700::1111%25eth0]/", "carries"},
		{"a line break", "https://hooks.example.com/\r\nHost: x", "is not a URL"},
		{"noise", "https://%zz", "is not a URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := n.Check(webhooknotify.Endpoint{URL: tt.url, Secrets: []apitoken.Secret{secret}})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, []string{"URL"}, fields(err))
		})
	}
}

// Whatever fails, its error shows neither the path nor a secret.
func TestErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, dead.Close())
	for _, to := range []string{
		"https://" + dead.Addr().String() + "/canary", "https://127.0.0.1/canary?canary", "canary", "https://canary@h/canary", "https://h/\x00canary", "https://[canary",
	} {
		n := newNotifier(t, webhooknotify.Options{DangerouslyAllow: loopback, Endpoints: webhooknotify.EndpointsFunc(
			func(context.Context, string) ([]webhooknotify.Endpoint, error) {
				return []webhooknotify.Endpoint{{URL: to, Secrets: []apitoken.Secret{secret}}, {URL: to, Secrets: []apitoken.Secret{apitoken.NewSecret("canary")}}}, nil
			})})
		err := n.Notify(t.Context(), note("a"))
		require.Error(t, err, to)
		require.NotContains(t, err.Error(), "canary")
		require.NotContains(t, err.Error(), strings.TrimPrefix(secret.Reveal(), "whsec_"))
	}
}

func fields(err error) []string {
	var names []string
	for _, f := range apitoken.Fields(err) {
		names = append(names, f.Field)
	}
	return names
}
