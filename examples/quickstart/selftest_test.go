package main

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelfTestPasses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.db")
	for _, c := range []struct {
		name     string
		args     []string
		restarts bool
	}{
		{"by default", nil, true},
		{"in memory", []string{"-db", "memory"}, false},
		{"in a file", []string{"-db", file}, true},
		{"in a file with tokens", []string{"-db", file}, true}, // after the one before
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			require.NoError(t, run(t.Context(), append([]string{"-selftest"}, c.args...), &out), "%s", &out)
			require.Contains(t, out.String(), "answers were right")
			require.Equal(t, c.restarts, strings.Contains(out.String(), "started again"))
			require.NotRegexp(t, regexp.MustCompile(`[0-9A-Za-z]{40}`), out.String(), "a secret is printed")
		})
	}
	require.FileExists(t, file)
}

// spoiler is a server that gives one wrong answer, the one numbered at.
type spoiler struct {
	http.Handler
	at    int64
	spoil func(*httptest.ResponseRecorder)
	asked *atomic.Int64
}

func (s *spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	s.Handler.ServeHTTP(rec, r)
	if s.asked.Add(1) == s.at {
		s.spoil(rec)
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = io.Copy(w, rec.Body)
}

func TestSelfTestNoticesEachWrongAnswer(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, db place, at int64, spoil func(*httptest.ResponseRecorder)) (int64, error) {
		var asked atomic.Int64
		err := selfTest(t.Context(), db, func(ctx context.Context, db place) (*server, error) {
			s, err := newServer(ctx, db)
			if err == nil {
				s.handler = &spoiler{s.handler, at, spoil, &asked}
			}
			return s, err
		}, io.Discard)
		return asked.Load(), err
	}
	file := func(t *testing.T) place { return place(filepath.Join(t.TempDir(), "tokens.db")) }
	before, err := try(t, memory, 0, nil)
	require.NoError(t, err)
	require.Greater(t, before, int64(30))
	steps, err := try(t, file(t), 0, nil)
	require.NoError(t, err)
	require.Greater(t, steps, before, "nothing is asked after the restart")

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
		{"no header", func(rec *httptest.ResponseRecorder) {
			if rec.Header().Get("RateLimit") == "" {
				rec.Code++ // this answer needs none
			}
			clear(rec.Header())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for at := range steps {
				db := memory
				if at >= before {
					db = file(t)
				}
				_, err := try(t, db, at+1, c.spoil)
				require.ErrorContains(t, err, "wrong", "answer %d", at+1)
			}
		})
	}
}

// Here the restart begins with an empty database.
func TestSelfTestNoticesForgottenTokens(t *testing.T) {
	t.Parallel()
	dir, starts := t.TempDir(), 0
	var out strings.Builder
	err := selfTest(t.Context(), "tokens.db", func(ctx context.Context, db place) (*server, error) {
		starts++
		return newServer(ctx, place(filepath.Join(dir, strings.Repeat("x", starts)+string(db))))
	}, &out)
	require.ErrorContains(t, err, "3 of 46 answers", "%s", &out)
	require.Equal(t, 2, starts)
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
