package httpauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/jws"
)

// BoundJWTOptions of [NewBoundJWT].
type BoundJWTOptions struct {
	// Audience is what the 'aud' of each JWT has to name: this service, such as
	// "https://api.example". A JWT for another service is refused here. Required.
	Audience string
	// MaxBody bounds the bodies of signed requests in bytes: one is read into memory
	// before its handler runs. Defaults to 1 MiB.
	MaxBody int64
}

const (
	maxSignedBody  = 1 << 20
	maxAudience    = 1024
	maxJWT         = 8 << 10
	maxJWTLifetime = 5 * 60 // seconds
	minJTI         = 8
	maxJTI         = 128
)

// BoundJWT is a [ProofReader] for requests that carry a JWT made for them alone:
//
//	Authorization: Bearer <header>.<claims>.<signature>
//
// It takes what has exactly two dots for a JWT, and leaves all else to the other
// credentials. Tokens that apitoken issues have no dot; imported keys of an older
// format with two dots cannot be used beside it, but in a header of their own.
//
// The header names alg and kid, the token's ID. The claims:
//
//	iat, exp     Unix seconds, integers, at most 5 minutes apart
//	jti          8 to 128 characters, another for each request
//	aud          the audience of [BoundJWTOptions], or a list with it
//	method       the request's, as sent
//	uri          the request target with its query, byte for byte as sent
//	body_sha256  of the body, in lower-case hexadecimal; needed if there is a body
//	iss, sub     if present, equal to kid
//	nbf          if present, not after iat
//
// Other claims mean nothing. Make it with [NewBoundJWT] and put it into
// [Options].Proofs as it is.
type BoundJWT struct {
	opts BoundJWTOptions
}

var _ ProofReader = (*BoundJWT)(nil)

// NewBoundJWT returns a reader of request-bound JWTs. A fault in opts panics, as in
// [New].
func NewBoundJWT(opts BoundJWTOptions) *BoundJWT {
	var errs []error
	if opts.Audience == "" {
		errs = append(errs, errors.New("httpauth: BoundJWTOptions.Audience is empty: name this service, or a JWT made for another one could be used here"))
	}
	if len(opts.Audience) > maxAudience || !utf8.ValidString(opts.Audience) {
		errs = append(errs, fmt.Errorf("httpauth: BoundJWTOptions.Audience needs UTF-8 of at most %d bytes", maxAudience))
	}
	if opts.MaxBody < 0 {
		errs = append(errs, errors.New("httpauth: BoundJWTOptions.MaxBody is negative: give bytes, or 0 for 1 MiB"))
	}
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = maxSignedBody
	}
	return &BoundJWT{opts}
}

// Challenge adds nothing: JWTs are sent as bearer tokens are, and the challenge for
// these is there.
func (b *BoundJWT) Challenge(http.Header) {}

// ReadProof implements [ProofReader].
func (b *BoundJWT) ReadProof(w http.ResponseWriter, r *http.Request) (*apitoken.Proof, error) {
	text, ok := bearerJWT(r.Header["Authorization"])
	if !ok {
		return nil, nil
	}
	signed, err := readJWS([]byte(text), jws.Limits{MaxToken: maxJWT})
	if err != nil {
		return nil, err
	}
	proof, err := signed.proof(apitoken.SchemeJWT)
	if err != nil {
		return nil, err
	}
	claims, err := jws.ParseObject(signed.Payload)
	if err != nil {
		return nil, malformed("claims: %w", err)
	}
	if err := checkJWTTimes(claims, proof); err != nil {
		return nil, err
	}
	if err := b.checkBinding(claims, r, proof); err != nil {
		return nil, err
	}
	digest, err := bodyDigest(claims)
	if err != nil {
		return nil, err
	}
	proof.CheckBody = func(context.Context) error { return checkBody(w, r, b.opts.MaxBody, digest) }
	return proof, nil
}

// bearerJWT returns the JWT of an Authorization header, if that is what it holds.
func bearerJWT(lines []string) (string, bool) {
	const scheme = "Bearer "
	if len(lines) != 1 || len(lines[0]) > maxJWT || len(lines[0]) < len(scheme) {
		return "", false
	}
	line := lines[0]
	if line[len(scheme)-1] != ' ' || !strings.EqualFold(line[:len(scheme)-1], "Bearer") {
		return "", false
	}
	text := strings.TrimLeft(line[len(scheme):], " ")
	return text, strings.Count(text, ".") == 2 && !strings.ContainsAny(text, " \t,")
}

// checkJWTTimes reads when the JWT was made and until when it is good, and what
// makes it unlike any other.
func checkJWTTimes(claims jws.Object, proof *apitoken.Proof) error {
	var at [2]int64
	for i, name := range [...]string{"iat", "exp"} {
		n, err := claims.Int(name)
		if err != nil {
			return malformed("claims: %w", err)
		}
		at[i] = n
	}
	issued, ok := instant(at[0], time.Second)
	if !ok {
		return malformed("claims: iat is no number of seconds of our time")
	}
	if at[1] <= at[0] || at[1]-at[0] > maxJWTLifetime {
		return malformed("claims: exp must be after iat, by 5 minutes at most")
	}
	if claims.Has("nbf") {
		if nbf, err := claims.Int("nbf"); err != nil || nbf > at[0] {
			return malformed("claims: nbf must be an integer and not after iat")
		}
	}
	jti, err := claims.String("jti")
	if err != nil {
		return malformed("claims: %w", err)
	}
	if n := utf8.RuneCountInString(jti); n < minJTI || n > maxJTI {
		return malformed("claims: jti needs %d to %d characters", minJTI, maxJTI)
	}
	proof.Created, proof.Expires, proof.Nonce = issued, time.Unix(at[1], 0).UTC(), jti
	return nil
}

// checkBinding compares what the claims say of the request with what was received.
// The target is taken from the request line: r.URL is decoded, and rewritten by what
// stands in front of the handler.
func (b *BoundJWT) checkBinding(claims jws.Object, r *http.Request, proof *apitoken.Proof) error {
	audiences, err := claims.Strings("aud")
	if err != nil {
		return malformed("claims: %w", err)
	}
	if !slices.Contains(audiences, b.opts.Audience) {
		return malformed("claims: aud names another service")
	}
	for _, claim := range [...]struct{ name, want string }{{"method", r.Method}, {"uri", r.RequestURI}} {
		got, err := claims.String(claim.name)
		if err != nil {
			return malformed("claims: %w", err)
		}
		if got != claim.want {
			return malformed("claims: %s is another than the request's", claim.name)
		}
	}
	for _, name := range [...]string{"iss", "sub"} {
		if !claims.Has(name) {
			continue
		}
		if got, err := claims.String(name); err != nil || got != string(proof.Token) {
			return malformed("claims: %s is there and is not the kid of the header", name)
		}
	}
	return nil
}

// bodyDigest returns the SHA-256 that the claims name, nil if they name none.
func bodyDigest(claims jws.Object) ([]byte, error) {
	const name = "body_sha256"
	if !claims.Has(name) {
		return nil, nil
	}
	text, err := claims.String(name)
	if err != nil {
		return nil, malformed("claims: %w", err)
	}
	digest, err := hex.DecodeString(text)
	if err != nil || len(digest) != sha256.Size || strings.ToLower(text) != text {
		return nil, malformed("claims: %s needs 64 lower-case hexadecimal digits", name)
	}
	return digest, nil
}

// checkBody compares the body with its signed digest. Without one there may be no
// body.
func checkBody(w http.ResponseWriter, r *http.Request, limit int64, digest []byte) error {
	body, err := ReadBody(w, r, limit)
	switch {
	case err != nil:
		return err
	case digest == nil && len(body) == 0:
		return nil
	}
	sum := sha256.Sum256(body)
	if subtle.ConstantTimeCompare(sum[:], digest) != 1 {
		return apitoken.ErrBodyDigest
	}
	return nil
}
