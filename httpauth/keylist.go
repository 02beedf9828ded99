package httpauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
)

// KeyList is a [KeySource] over the list of keys that a partner publishes. Make
// it with [NewKeyList].
type KeyList struct {
	fetch func(ctx context.Context) ([]byte, error)
	clock apitoken.Clock
	turn  chan struct{} // a lock that one can stop waiting for

	keys    map[string]*ecdsa.PublicKey
	fetched time.Time
	tried   time.Time
	err     error // of the last try
}

const (
	keysFresh   = time.Hour
	keysUsable  = 24 * time.Hour // while the list cannot be fetched
	keysRetry   = time.Minute    // whoever sends unknown identifiers causes no more than this
	keysTimeout = 10 * time.Second
	maxKeyList  = 1 << 20
)

// NewKeyList returns the keys of a list that fetch gets from the partner, with the
// host's own HTTP client, over TLS:
//
//	{"public_keys": [{"key_identifier": "…", "key": "-----BEGIN PUBLIC KEY-----…"}]}
//
// GitHub's is at https://api.github.com/meta/public_keys/secret_scanning. Entries
// that are not P-256 keys are passed over. fetch must bound what it reads; its
// context ends after 10 seconds. The list is kept for an hour, or a day while it
// cannot be fetched anew, and asked for again, at most once a minute, when an
// identifier is not on it. clock is for tests; nil = [apitoken.SystemClock].
func NewKeyList(fetch func(ctx context.Context) ([]byte, error), clock apitoken.Clock) *KeyList {
	if fetch == nil {
		panic(errors.New("httpauth: NewKeyList needs a function that fetches the partner's list"))
	}
	if clock == nil {
		clock = apitoken.SystemClock
	}
	return &KeyList{fetch: fetch, clock: clock, turn: make(chan struct{}, 1)}
}

// Key implements [KeySource].
func (l *KeyList) Key(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := l.clock.Now()
	if key := l.keys[id]; key != nil && within(now, l.fetched, keysFresh) {
		return key, nil
	}
	if !within(now, l.tried, keysRetry) {
		l.refresh(ctx, now)
	}
	key := l.keys[id]
	switch {
	case key != nil && within(now, l.fetched, keysUsable):
		return key, nil
	case l.err != nil:
		return nil, fmt.Errorf("httpauth: fetching the partner's keys: %v", l.err) // no family of its own passes
	}
	return nil, apitoken.ErrNotFound
}

// within reports whether less than d has passed from then to now.
func within(now, then time.Time, d time.Duration) bool {
	age := now.Sub(then)
	return age >= 0 && age < d
}

// refresh fetches the list. The request that happens to need it may be anybody's,
// so its end does not end the fetching.
func (l *KeyList) refresh(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	defer cancel()
	l.tried = now
	var body []byte
	if body, l.err = l.fetch(ctx); l.err != nil {
		return
	}
	var keys map[string]*ecdsa.PublicKey
	if keys, l.err = parseKeyList(body); l.err == nil {
		l.keys, l.fetched = keys, now
	}
}

func parseKeyList(body []byte) (map[string]*ecdsa.PublicKey, error) {
	if len(body) > maxKeyList {
		return nil, fmt.Errorf("the list has %d bytes: at most %d are read", len(body), maxKeyList)
	}
	var list struct {
		Keys []struct {
			ID  string `json:"key_identifier"`
			PEM string `json:"key"`
		} `json:"public_keys"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	keys := make(map[string]*ecdsa.PublicKey)
	for _, k := range list.Keys {
		block, _ := pem.Decode([]byte(k.PEM))
		if block == nil || block.Type != "PUBLIC KEY" || k.ID == "" {
			continue
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if key, ok := parsed.(*ecdsa.PublicKey); err == nil && ok && key.Curve == elliptic.P256() {
			keys[k.ID] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the list has no P-256 key")
	}
	return keys, nil
}
