package signer

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/tokenry/apitoken"
)

// prepared makes the request that is sent for r, with a signature of its own.
func (t *Transport) prepared(r *http.Request, body *body) (*http.Request, error) {
	switch t.opts.Scheme {
	case apitoken.SchemeJWS:
		return t.tunnelled(r, body)
	case apitoken.SchemeJWT:
		return t.bound(r, body)
	default:
		out := clone(r)
		out.Header.Set("Authorization", "Bearer "+t.opts.Secret.Reveal())
		return out, nil
	}
}

// tunnelHeader is the JOSE header of a tunnelled request: what is signed of it, but
// for the body.
type tunnelHeader struct {
	Alg         string      `json:"alg"`
	KeyID       apitoken.ID `json:"kid"`
	Method      string      `json:"method"`
	ContentType string      `json:"content-type"`
	URI         string      `json:"uri"`
	QueryString string      `json:"query-string"`
	IssuedAt    int64       `json:"issuedAt"` // Unix milliseconds
}

// tunnelled puts r into a JWS. What else r has in its header goes along, unsigned:
// the service decides what of it counts.
func (t *Transport) tunnelled(r *http.Request, body *body) (*http.Request, error) {
	payload := []byte("{}")
	if len(body.buffered) > 0 {
		if !json.Valid(body.buffered) {
			return nil, ErrBodyForm
		}
		payload = append(append([]byte(`{"data":`), body.buffered...), '}')
	}
	jws, err := t.opts.signed(tunnelHeader{
		Alg:    t.opts.algorithm(),
		KeyID:  t.opts.Token,
		Method: method(r),
		// Without a body it says nothing, but the scheme has it always.
		ContentType: cmp.Or(r.Header.Get("Content-Type"), "application/json"),
		URI:         cmp.Or(r.URL.EscapedPath(), "/"),
		QueryString: r.URL.RawQuery,
		IssuedAt:    t.issuedAt(),
	}, payload)
	if err != nil {
		return nil, err
	}
	out := clone(r)
	out.Method = http.MethodPost
	out.URL = &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: t.opts.TunnelPath}
	if unescaped, err := url.PathUnescape(t.opts.TunnelPath); err == nil {
		out.URL.Path, out.URL.RawPath = unescaped, t.opts.TunnelPath
	}
	out.Header.Set("Content-Type", "application/jose") // RFC 7515, section 9.2.1
	return out, buffered([]byte(jws)).putInto(out)
}

// issuedAt is the time, or up to a second more if another request was signed in this
// millisecond: two that are the same would else be taken for one that was repeated.
func (t *Transport) issuedAt() int64 {
	for {
		now, last := t.opts.Clock.Now().UnixMilli(), t.issued.Load()
		if last >= now && last < now+1000 {
			now = last + 1
		}
		if t.issued.CompareAndSwap(last, now) {
			return now
		}
	}
}

// boundClaims are the claims of a request-bound JWT (RFC 7519).
type boundClaims struct {
	IssuedAt  int64  `json:"iat"` // Unix seconds
	ExpiresAt int64  `json:"exp"`
	ID        string `json:"jti"`
	Audience  string `json:"aud"`
	Method    string `json:"method"`
	URI       string `json:"uri"`
	BodyHash  string `json:"body_sha256"` // hexadecimal, also of no body
}

// boundLife is as far as a client's clock may be ahead of the service's by default,
// so that one that is as far behind is let in too.
const boundLife = 2 * time.Minute

// bound signs r with a JWT in its Authorization header.
func (t *Transport) bound(r *http.Request, body *body) (*http.Request, error) {
	now := t.opts.Clock.Now().Unix()
	claims, err := encodeJSON(boundClaims{
		IssuedAt:  now,
		ExpiresAt: now + int64(boundLife/time.Second),
		ID:        rand.Text(),
		Audience:  t.opts.Audience,
		Method:    method(r),
		URI:       r.URL.RequestURI(),
		BodyHash:  hex.EncodeToString(body.sum[:]),
	})
	if err != nil {
		return nil, err
	}
	token, err := t.opts.signed(struct {
		Alg   string      `json:"alg"`
		KeyID apitoken.ID `json:"kid"`
		Type  string      `json:"typ"`
	}{t.opts.algorithm(), t.opts.Token, "JWT"}, claims)
	if err != nil {
		return nil, err
	}
	out := clone(r)
	out.Header.Set("Authorization", "Bearer "+token)
	return out, body.putInto(out)
}

// clone returns a copy of r, whose header can be changed.
func clone(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	return out
}

// method returns the method as it is sent.
func method(r *http.Request) string { return cmp.Or(r.Method, http.MethodGet) }
