package httpauth

import (
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/jws"
)

// What both schemes that sign with a compact JWS have in common.

// signedText is a compact JWS whose form was checked, and nothing else.
type signedText struct {
	jws.Compact
	header jws.Object
}

func readJWS(text []byte, limits jws.Limits) (signedText, error) {
	c, err := jws.Parse(text, limits)
	if err != nil {
		return signedText{}, malformed("%w", err)
	}
	header, err := jws.ParseObject(c.Header)
	if err != nil {
		return signedText{}, malformed("header: %w", err)
	}
	if err := jws.CheckHeader(header); err != nil {
		return signedText{}, malformed("header: %w", err)
	}
	return signedText{c, header}, nil
}

// proof returns the part of a proof that the header holds. An empty algorithm would
// mean that the scheme lets clients leave it out, which these two do not.
func (s *signedText) proof(scheme apitoken.Scheme) (*apitoken.Proof, error) {
	algorithm, err := s.header.String("alg")
	if err != nil {
		return nil, malformed("header: %w", err)
	}
	if algorithm == "" {
		return nil, malformed("header: alg is empty")
	}
	kid, err := s.header.String("kid")
	if err != nil {
		return nil, malformed("header: %w", err)
	}
	return &apitoken.Proof{
		Scheme: scheme, Token: apitoken.ID(kid), Algorithm: algorithm, Signed: s.Signed, Signature: s.Signature,
	}, nil
}

// maxUnix is in the year 2286. Differences to instants some centuries away overflow
// a time.Duration, and nobody signs then.
const maxUnix = 9_999_999_999

// instant makes an instant of a number of ticks since 1970.
func instant(ticks int64, tick time.Duration) (time.Time, bool) {
	if ticks <= 0 || ticks > maxUnix*int64(time.Second/tick) {
		return time.Time{}, false
	}
	perSecond := int64(time.Second / tick)
	return time.Unix(ticks/perSecond, ticks%perSecond*int64(tick)).UTC(), true
}

// malformed says to the operator why a signed request is not looked at any further.
// It repeats nothing of the request.
func malformed(format string, args ...any) error {
	return &malformedError{fmt.Errorf(format, args...)}
}

type malformedError struct{ why error }

func (e *malformedError) Error() string {
	return apitoken.ErrMalformedProof.Error() + ": " + e.why.Error()
}
func (e *malformedError) Unwrap() []error { return []error{apitoken.ErrMalformedProof, e.why} }
