package httpsig_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/memstore"
)

// P15: a signed request is accepted once, whoever writes its signature how.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	again := func(r *http.Request) *http.Request {
		out := post("/", "{}")
		out.Header = r.Header.Clone()
		return out
	}
	r := c.good("/", "{}")
	require.Empty(t, w.answer(again(r)))
	require.Equal(t, "401 replayed", w.answer(again(r)))

	other := again(r)
	raw, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(r.Header.Get("Signature"), "sig1="), ":"))
	require.NoError(t, err)
	other.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(malleated(raw))+":")
	require.Equal(t, "401 replayed", w.answer(other), "the other signature that verifies")

	spare := c.good("/", "{}")
	text := spare.Header.Get("Signature")
	spare.Header.Set("Signature", text[:len(text)-4]+string(text[len(text)-4]+1)+"==:")
	require.Equal(t, malformed, w.answer(spare), "bits beyond the last byte")

	same := c.signed(post("/", "{}"), fmt.Sprintf(`;created=%d;keyid=%q;nonce="n"`, w.Clock.Now().Unix(), c.id),
		"@method", "POST", "@target-uri", "http://"+host+"/", "content-digest", digest("{}"), "content-type", "application/json")
	require.Empty(t, w.answer(same))
	next := c.signed(post("/b", "{}"), fmt.Sprintf(`;created=%d;keyid=%q;nonce="n"`, w.Clock.Now().Unix(), c.id),
		"@method", "POST", "@target-uri", "http://"+host+"/b", "content-digest", digest("{}"), "content-type", "application/json")
	require.Equal(t, "401 replayed", w.answer(next), "one nonce for two requests")

	failed := c.good("/", "{}")
	broken := again(failed)
	broken.Body, broken.ContentLength = io.NopCloser(strings.NewReader("[]")), 2
	require.Equal(t, "401 body_digest", w.answer(broken))
	require.Empty(t, w.answer(again(failed)), "what was refused burns no nonce")
}

// P15: of two copies at once, exactly one is accepted.
func TestConcurrentCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	reader := httpsig.New(httpsig.Options{Hosts: []string{host}})
	for range 50 {
		var accepted, replayed atomic.Int32
		first := c.good("/", "{}")
		start := make(chan struct{})
		var group sync.WaitGroup
		for range 2 {
			r := post("/", "{}")
			r.Header = first.Header.Clone()
			group.Go(func() {
				proof, err := reader.ReadProof(httptest.NewRecorder(), r)
				if err != nil {
					return
				}
				<-start
				switch _, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: proof}); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, apitoken.ErrReplayed):
					replayed.Add(1)
				}
			})
		}
		close(start)
		group.Wait()
		require.Equal(t, [2]int32{1, 1}, [2]int32{accepted.Load(), replayed.Load()})
	}
}

// P4, P15: a guard that fails or is full refuses as an outage, and evicts nothing.
func TestGuardOutage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		guard apitoken.ReplayGuard
		good  int // requests let through before the outage
	}{
		{"failing", &guard{errors.New("no connection")}, 0},
		{"full", memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{Max: 20}), 2},
		{"restarted", memstore.NewReplayGuard(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), memstore.ReplayOptions{}), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{})
			c := w.keyClient(t, ann())
			w.Options.ReplayGuard = tc.guard
			w.Service = w.Node()
			w.serve(httpsig.Options{})
			var first *http.Request
			for range tc.good {
				r := c.good("/", "{}")
				first = post("/", "{}")
				first.Header = r.Header.Clone()
				require.Empty(t, w.answer(r))
			}
			require.Equal(t, "503 unavailable", w.answer(c.good("/", "{}")))
			if first != nil {
				require.Equal(t, "401 replayed", w.answer(first))
			}
		})
	}
}

// Both windows, to the nanosecond on the server's side.
func TestTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		move    time.Duration // of the server's clock after signing
		expires time.Duration // after signing; 0 = none
		want    string
	}{
		{"five minutes old", 5 * time.Minute, 0, ""},
		{"older", 5*time.Minute + 1, 0, "401 stale"},
		{"two minutes ahead", -2 * time.Minute, 0, ""},
		{"further ahead", -2*time.Minute - 1, 0, "401 stale"},
		{"just before expires", time.Minute - 1, time.Minute, ""},
		{"at expires", time.Minute, time.Minute, "401 stale"},
		{"expires beyond the window", 5*time.Minute + 1, time.Hour, "401 stale"},
		{"expires before created", 0, -time.Second, malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{})
			c := w.keyClient(t, ann())
			params := c.params()
			if tc.expires != 0 {
				params += fmt.Sprintf(";expires=%d", w.Clock.Now().Add(tc.expires).Unix())
			}
			r := c.signed(get("/"), params, "@method", "GET", "@target-uri", "http://"+host+"/")
			w.Clock.Advance(tc.move)
			require.Equal(t, tc.want, w.answer(r))
		})
	}
}
