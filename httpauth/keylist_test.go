package httpauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

type listedKey struct {
	ID  string `json:"key_identifier"`
	Key string `json:"key"`
}

// published is a partner's list, in the test's hands.
type published struct {
	mu      sync.Mutex
	keys    []listedKey
	err     error
	fetched int
}

func (p *published) set(err error, keys ...listedKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.keys = err, keys
}

func (p *published) fetch(context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetched++
	body, err := json.Marshal(map[string]any{"public_keys": p.keys})
	return body, errors.Join(err, p.err)
}

// What is kept how long, and how often it is fetched.
func TestKeyListOverTime(t *testing.T) {
	t.Parallel()
	one, two := mustKey(elliptic.P256()), mustKey(elliptic.P256())
	first, second := listedKey{"one", pemOf(t, &one.PublicKey)}, listedKey{"two", pemOf(t, &two.PublicKey)}
	down := errors.New("down")
	const (
		found = iota
		unknown
		outage
	)
	type step struct {
		after   time.Duration
		publish func(p *published)
		ask     string
		want    int
		fetched int // in all
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"kept for an hour", []step{
			{0, nil, "one", found, 1},
			{time.Hour - 1, nil, "one", found, 1},
			{1, nil, "one", found, 2},
		}},
		{"a new key is found at once", []step{
			{0, nil, "one", found, 1},
			{time.Minute, func(p *published) { p.set(nil, first, second) }, "two", found, 2},
			{0, nil, "one", found, 2},
		}},
		{"unknown ones cause one fetch a minute", []step{
			{0, nil, "zero", unknown, 1},
			{0, nil, "zero", unknown, 1},
			{time.Minute - 1, nil, "null", unknown, 1},
			{1, nil, "null", unknown, 2},
			{0, nil, "one", found, 2},
		}},
		{"a key taken off ends within the hour", []step{
			{0, nil, "one", found, 1},
			{time.Hour - 1, func(p *published) { p.set(nil, second) }, "one", found, 1},
			{1, nil, "one", unknown, 2},
		}},
		{"a partner that is down is no answer", []step{
			{0, func(p *published) { p.set(down) }, "one", outage, 1},
			{0, func(p *published) { p.set(nil, first) }, "one", outage, 1},
			{time.Minute, nil, "one", found, 2},
		}},
		{"kept for a day while the partner is down", []step{
			{0, nil, "one", found, 1},
			{time.Hour, func(p *published) { p.set(down) }, "one", found, 2},
			{time.Second, nil, "one", found, 2},
			{0, nil, "zero", outage, 2},
			{23*time.Hour - time.Second - 1, nil, "one", found, 3},
			{1, nil, "one", outage, 3},
			{time.Minute, func(p *published) { p.set(nil, first) }, "one", found, 4},
		}},
		{"a list that cannot be read keeps the one before", []step{
			{0, nil, "one", found, 1},
			{time.Hour, func(p *published) { p.set(nil) }, "one", found, 2},
		}},
		{"an outage that says 'not found' is one", []step{
			{0, func(p *published) { p.set(fmt.Errorf("404: %w", apitoken.ErrNotFound)) }, "one", outage, 1},
		}},
		{"the clock steps back", []step{
			{0, nil, "one", found, 1},
			{-time.Hour, nil, "one", found, 2},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &published{keys: []listedKey{first}}
			clock := apitokentest.NewClock(apitokentest.Start)
			list := httpauth.NewKeyList(p.fetch, clock)
			for i, s := range c.steps {
				clock.Advance(s.after)
				if s.publish != nil {
					s.publish(p)
				}
				key, err := list.Key(t.Context(), s.ask)
				switch s.want {
				case found:
					require.NoError(t, err, i)
					require.True(t, key.Equal(map[string]*ecdsa.PublicKey{"one": &one.PublicKey, "two": &two.PublicKey}[s.ask]), i)
				case unknown:
					require.ErrorIs(t, err, apitoken.ErrNotFound, i)
				default:
					require.Error(t, err, i)
					require.NotErrorIs(t, err, apitoken.ErrNotFound, i)
				}
				require.Equal(t, s.fetched, p.fetched, i)
			}
		})
	}
}

// Entries that are of no use are passed over; a list of nothing else is an outage.
func TestKeyListEntries(t *testing.T) {
	t.Parallel()
	key := mustKey(elliptic.P256())
	good := pemOf(t, &key.PublicKey)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, bad := range map[string]listedKey{
		"no PEM":        {"bad", "key"},
		"empty":         {"bad", ""},
		"private":       {"bad", strings.ReplaceAll(good, "PUBLIC", "PRIVATE")},
		"damaged":       {"bad", strings.Replace(good, "MFkw", "MFkx", 1)},
		"RSA":           {"bad", pemOf(t, &rsaKey.PublicKey)},
		"another curve": {"bad", pemOf(t, &mustKey(elliptic.P384()).PublicKey)},
		"no identifier": {"", good},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &published{keys: []listedKey{bad, {"good", good}}}
			list := httpauth.NewKeyList(p.fetch, nil)
			got, err := list.Key(t.Context(), "good")
			require.NoError(t, err)
			require.True(t, got.Equal(&key.PublicKey))
			_, err = list.Key(t.Context(), bad.ID)
			require.ErrorIs(t, err, apitoken.ErrNotFound)

			p = &published{keys: []listedKey{bad}}
			_, err = httpauth.NewKeyList(p.fetch, nil).Key(t.Context(), "good")
			require.ErrorContains(t, err, "no P-256 key")
		})
	}
	for name, text := range map[string]string{"no JSON": "<html>", "another shape": `{"public_keys":{}}`, "too long": strings.Repeat(" ", 1<<20) + "{}"} {
		list := httpauth.NewKeyList(func(context.Context) ([]byte, error) { return []byte(text), nil }, nil)
		_, err := list.Key(t.Context(), "one")
		require.Error(t, err, name)
		require.NotErrorIs(t, err, apitoken.ErrNotFound, name)
	}
	require.Panics(t, func() { httpauth.NewKeyList(nil, nil) })
}

// A fetch belongs to nobody's request: one that goes away neither ends it nor
// waits for it, and it ends by itself.
func TestKeyListFetching(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := mustKey(elliptic.P256())
		p := &published{keys: []listedKey{{"one", pemOf(t, &key.PublicKey)}}}
		list := httpauth.NewKeyList(func(ctx context.Context) ([]byte, error) {
			select {
			case <-time.After(5 * time.Second):
				return p.fetch(ctx)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}, apitoken.SystemClock)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 { // the one that fetches, and one that waits
			go func() { _, _ = list.Key(ctx, "one") }()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		begin := time.Now()
		_, err := list.Key(t.Context(), "one")
		require.NoError(t, err)
		require.Equal(t, 5*time.Second, time.Since(begin))
		require.Equal(t, 1, p.fetched)

		_, err = list.Key(ctx, "two") // ctx is over: no more waiting than that
		if err == nil {
			t.Fatal("found")
		}
		stuck := httpauth.NewKeyList(func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }, nil)
		begin = time.Now()
		_, err = stuck.Key(t.Context(), "one")
		require.Error(t, err)
		require.Equal(t, 10*time.Second, time.Since(begin))
	})
}
