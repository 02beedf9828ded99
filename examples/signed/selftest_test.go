package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/examples/signed/server"
)

func TestSelfTestPasses(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-selftest"}, &out), "%s", &out)
	require.Contains(t, out.String(), "answers were right")
	for _, scheme := range []string{"jws", "jwt", "http-signature"} {
		require.Contains(t, out.String(), "== "+scheme+" with an uploaded key")
		require.Contains(t, out.String(), "== "+scheme+" with a generated secret")
	}
	require.NotRegexp(t, regexp.MustCompile(`[0-9A-Za-z+/]{40}`), out.String(), "a secret is printed")
}

func TestSelfTestNoticesEachWrongAnswer(t *testing.T) {
	t.Parallel()
	// try gives one wrong answer, the one numbered at, and says how many there were.
	try := func(t *testing.T, at int64, code int) (int64, error) {
		var answered atomic.Int64
		err := selfTest(t.Context(), func(host string) (*server.Server, error) {
			s, err := server.New(host)
			if err != nil {
				return nil, err
			}
			right := s.Handler
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				right.ServeHTTP(rec, r)
				if answered.Add(1) == at {
					rec.Code = code
				}
				w.WriteHeader(rec.Code)
				_, _ = io.Copy(w, rec.Body)
			})
			return s, nil
		}, io.Discard)
		return answered.Load(), err
	}
	all, err := try(t, 0, 0)
	require.NoError(t, err)
	require.Greater(t, all, int64(30))
	for at := range all {
		_, err := try(t, at+1, http.StatusTeapot)
		require.ErrorContains(t, err, "wrong", "answer %d", at+1)
	}
}

// A server that accepts a signed request twice is noticed, and one that looks at no
// signature.
func TestSelfTestNoticesACarelessServer(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := selfTest(t.Context(), func(host string) (*server.Server, error) {
		s, err := server.New(host)
		if err != nil {
			return nil, err
		}
		strict := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			strict.ServeHTTP(rec, r)
			if rec.Code == http.StatusUnauthorized {
				rec.Code = http.StatusOK
			}
			w.WriteHeader(rec.Code)
			_, _ = io.Copy(w, rec.Body)
		})
		return s, nil
	}, &out)
	require.ErrorContains(t, err, "20 of 36 answers were wrong", "%s", &out)
}

func TestListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{":8080", "0.0.0.0:0", "192.0.2.1:0", "[::]:0", "example.com:0", "8080"} {
		_, err := listen(t.Context(), addr)
		require.ErrorContains(t, err, "-addr", addr)
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		listener, err := listen(t.Context(), addr)
		require.NoError(t, err, addr)
		require.NoError(t, listener.Close())
	}
}
