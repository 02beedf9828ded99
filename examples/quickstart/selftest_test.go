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
)

func TestSelfTestPasses(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-selftest"}, &out), "%s", &out)
	require.Contains(t, out.String(), "answers were right")
	require.NotRegexp(t, regexp.MustCompile(`[0-9A-Za-z]{40}`), out.String(), "a secret is printed")
}

// spoiler is a server that gives one wrong answer, the one numbered at.
type spoiler struct {
	http.Handler
	at    int64
	spoil func(*httptest.ResponseRecorder)
	asked atomic.Int64
}

func (s *spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	s.Handler.ServeHTTP(rec, r)
	if s.asked.Add(1) == s.at {
		s.spoil(rec)
	}
	w.WriteHeader(rec.Code)
	_, _ = io.Copy(w, rec.Body)
}

func TestSelfTestNoticesEachWrongAnswer(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, at int64, spoil func(*httptest.ResponseRecorder)) (int64, error) {
		tokens, err := newTokens()
		require.NoError(t, err)
		server := &spoiler{Handler: newAPI(tokens, newInventory()), at: at, spoil: spoil}
		err = selfTest(t.Context(), tokens, server, io.Discard)
		return server.asked.Load(), err
	}
	steps, err := try(t, 0, nil)
	require.NoError(t, err)
	require.Greater(t, steps, int64(30))

	for _, c := range []struct {
		name  string
		spoil func(*httptest.ResponseRecorder)
	}{
		{"another status", func(rec *httptest.ResponseRecorder) { rec.Code++ }},
		{"no right word in it", func(rec *httptest.ResponseRecorder) {
			if rec.Code != http.StatusNoContent {
				rec.Body.Reset()
				rec.Body.WriteString("{}")
			} else {
				rec.Code = http.StatusOK
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for at := range steps {
				_, err := try(t, at+1, c.spoil)
				require.ErrorContains(t, err, "wrong", "answer %d", at+1)
			}
		})
	}
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
