package httpauth_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

// limited is a handler that allows three failed attempts a minute. A request says
// in its token what the Verifier shall answer.
type limited struct {
	http.Handler
	clock *apitokentest.Clock
	v     *fakeVerifier
}

func newLimited(f httpauth.FailedAttempts) limited {
	answers := map[string]error{
		"bad": apitoken.ErrWrongSecret, "expired": apitoken.ErrExpired, "out": apitoken.ErrUnavailable,
		"kind": &apitoken.KindError{}, "busy": apitoken.ErrRateLimited, "odd": fmt.Errorf("%w: %w", apitoken.ErrUnauthenticated, apitoken.ErrUnavailable),
	}
	l := limited{
		clock: apitokentest.NewClock(apitokentest.Start),
		v:     &fakeVerifier{decide: func(req apitoken.VerifyRequest) error { return answers[req.Token] }},
	}
	l.Handler = httpauth.New(l.v, httpauth.Options{
		FailedAttempts: f, Clock: l.clock, Logger: slog.New(slog.DiscardHandler),
	}).Middleware(fine)
	return l
}

func (l limited) from(peer, token string) int { return l.ask(peer, token).Code }

func (l limited) ask(peer, token string) *httptest.ResponseRecorder {
	r := request()
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.RemoteAddr = peer
	return answer(l, r)
}

var three = httpauth.FailedAttempts{Limit: 3, Window: time.Minute}

func TestFailedAttempts(t *testing.T) {
	t.Parallel()
	const peer = "198.51.100.7:1"
	l := newLimited(three)
	for range 3 {
		require.Equal(t, 401, l.from(peer, "bad"))
	}
	asked := len(l.v.calls())
	w := l.ask(peer, "bad")
	require.Equal(t, 429, w.Code)
	require.Equal(t, "20", w.Header().Get("Retry-After"))
	require.Equal(t, `"failed_attempts";q=3;w=60`, w.Header().Get("RateLimit-Policy"))
	require.Equal(t, []any{"failed_attempts"}, body(t, w)["violated-policies"])
	require.Equal(t, 429, l.from(peer, "good"), "until one attempt has come back")
	require.Len(t, l.v.calls(), asked, "nothing is verified meanwhile")
	require.Equal(t, 204, l.from("198.51.100.8:1", "good"), "others are not concerned")

	l.clock.Advance(20*time.Second - time.Millisecond)
	require.Equal(t, 429, l.from(peer, "good"))
	l.clock.Advance(time.Millisecond)
	require.Equal(t, 204, l.from(peer, "good"), "exactly at Retry-After")
	require.Equal(t, 401, l.from(peer, "bad"))
	require.Equal(t, 429, l.from(peer, "bad"), "one has come back, not all")
	l.clock.Advance(time.Hour)
	for range 3 {
		require.Equal(t, 401, l.from(peer, "bad"))
	}
	require.Equal(t, 429, l.from(peer, "bad"), "and never more than Limit")
}

// Only a 401 for a credential that was presented is a failed attempt.
func TestWhatIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		token  string
		status int
		counts bool
	}{
		{"bad", 401, true},
		{"expired", 401, true},
		{string(make([]byte, 600)), 401, true},
		{"", 401, false},
		{"two words", 400, false},
		{"kind", 403, false},
		{"busy", 429, false},
		{"out", 503, false},
		{"odd", 503, false},
		{"good", 204, false},
	} {
		t.Run(fmt.Sprintf("%.9q", tc.token), func(t *testing.T) {
			t.Parallel()
			l := newLimited(three)
			for range 3 {
				require.Equal(t, tc.status, l.from("198.51.100.7:1", tc.token))
			}
			want := 204
			if tc.counts {
				want = 429
			}
			require.Equal(t, want, l.from("198.51.100.7:1", "good"))
		})
	}
}

// A request that presents nothing is answered 401 also by an address that is shut
// out: it is no attempt.
func TestNoCredentialIsNotHeldBack(t *testing.T) {
	t.Parallel()
	l := newLimited(httpauth.FailedAttempts{Limit: 1})
	require.Equal(t, 401, l.from("198.51.100.7:1", "bad"))
	require.Equal(t, 429, l.from("198.51.100.7:1", "bad"))
	require.Equal(t, 401, l.from("198.51.100.7:1", ""))
}

func TestFailedAttemptsByAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, one, other string
		same             bool
	}{
		{"port", "198.51.100.7:1", "198.51.100.7:2", true},
		{"IPv4", "198.51.100.7:1", "198.51.100.8:1", false},
		{"IPv4 written as IPv6", "198.51.100.7:1", "[::ffff:198.51.100.7]:1", true},
		{"two of IPv4 written as IPv6", "[::ffff:198.51.100.7]:1", "[::ffff:198.51.100.8]:1", false},
		{"one /64", "[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff:ffff:ffff:ffff]:1", true},
		{"two /64", "[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false},
		{"unknown addresses are not limited", "@", "@", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLimited(httpauth.FailedAttempts{Limit: 1})
			require.Equal(t, 401, l.from(tc.one, "bad"))
			want := 204
			if tc.same {
				want = 429
			}
			require.Equal(t, want, l.from(tc.other, "good"))
		})
	}
}

// The attempts are the client's, not the proxy's.
func TestFailedAttemptsBehindAProxy(t *testing.T) {
	t.Parallel()
	h := httpauth.New(refuseAll(apitoken.ErrWrongSecret), httpauth.Options{
		TrustedProxies: prefixes("192.0.2.1/32"), FailedAttempts: httpauth.FailedAttempts{Limit: 1},
	}).Middleware(fine)
	status := func(client string) int { return answer(h, bearer("X-Forwarded-For", client)).Code }
	require.Equal(t, 401, status("198.51.100.7"))
	require.Equal(t, 429, status("198.51.100.7"))
	require.Equal(t, 401, status("198.51.100.8"))
}

// A clock that is set back shuts nobody out for as long, and gives no attempt back.
func TestFailedAttemptsWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	const peer = "198.51.100.7:1"
	l := newLimited(three)
	for range 3 {
		require.Equal(t, 401, l.from(peer, "bad"))
	}
	l.clock.Advance(-time.Hour)
	require.Equal(t, 429, l.from(peer, "good"))
	l.clock.Advance(20 * time.Second)
	require.Equal(t, 204, l.from(peer, "good"))

	// Instants slightly out of order, as concurrent requests read them.
	l = newLimited(three)
	for range 3 {
		require.Equal(t, 401, l.from(peer, "bad"))
	}
	for range 1000 {
		l.clock.Advance(-500 * time.Millisecond)
		require.Equal(t, 429, l.from(peer, "bad"))
		l.clock.Advance(500 * time.Millisecond)
		require.Equal(t, 429, l.from(peer, "bad"))
	}
}

// The oldest are forgotten first; an address that goes on failing stays
// remembered.
func TestFailedAttemptsForgetTheOldest(t *testing.T) {
	t.Parallel()
	l := newLimited(httpauth.FailedAttempts{Limit: 2, Window: time.Hour, MaxAddresses: 4})
	require.Equal(t, 401, l.from("198.51.100.1:1", "bad"))
	require.Equal(t, 401, l.from("198.51.100.2:1", "bad")) // two of a generation
	require.Equal(t, 401, l.from("198.51.100.3:1", "bad"))
	require.Equal(t, 401, l.from("198.51.100.1:1", "bad")) // from the old generation into the young one
	require.Equal(t, 401, l.from("198.51.100.4:1", "bad")) // forgets 2
	require.Equal(t, 429, l.from("198.51.100.1:1", "good"))
	for range 2 {
		require.Equal(t, 401, l.from("198.51.100.2:1", "bad"), "began anew")
	}
	require.Equal(t, 429, l.from("198.51.100.2:1", "bad"))
}

// Memory is bounded, whoever comes (P14). Not parallel: it reads the heap, which
// all tests share.
func TestFailedAttemptsAreBounded(t *testing.T) {
	h := httpauth.New(refuseAll(apitoken.ErrWrongSecret), httpauth.Options{
		FailedAttempts: httpauth.FailedAttempts{Limit: 3, MaxAddresses: 1000},
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) {},
	}).Middleware(fine)
	heap := func(from, n int) uint64 {
		r := bearer()
		for i := range n {
			addr := netip.AddrFrom4([4]byte{byte((from + i) >> 24), byte((from + i) >> 16), byte((from + i) >> 8), byte(from + i)})
			r.RemoteAddr = netip.AddrPortFrom(addr, 1).String()
			h.ServeHTTP(nil, r)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	heap(0, 5_000)
	before := heap(5_000, 5_000)
	after := heap(10_000, 50_000)
	require.Less(t, int64(after)-int64(before), int64(4<<20), "50,000 buckets would be 10 MB")
}

// Failing attempts of many at once are counted, each once.
func TestFailedAttemptsConcurrently(t *testing.T) {
	t.Parallel()
	l := newLimited(httpauth.FailedAttempts{Limit: 100, Window: time.Hour})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 10 {
				l.from("198.51.100.7:1", "bad")
				l.from("198.51.100.7:1", "good")
			}
		})
	}
	wg.Wait()
	require.Equal(t, 429, l.from("198.51.100.7:1", "good"))
	l.clock.Advance(time.Hour / 100)
	require.Equal(t, 204, l.from("198.51.100.7:1", "good"), "exactly 100 were counted")
}
