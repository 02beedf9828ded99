package httpauth

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/tokenry/apitoken"
)

// ProofReader reads the signatures of one scheme from requests: [BoundJWT], or
// package httpsig's. It must be safe for concurrent use.
type ProofReader interface {
	// ReadProof returns the proof that r carries, nil without an error for a request
	// that carries none of the scheme. It reads no body: the CheckBody of the proof
	// does, with [ReadBody] as a rule, and puts the body back into r.Body. r is a
	// shallow copy of the request, and the handler gets what becomes of it; the
	// header is the request's own and must not be changed.
	//
	// Errors are of the families of apitoken, as a rule apitoken.ErrMalformedProof
	// with more said for the operator. An error means that there is a signature: a
	// second credential beside it is refused all the same.
	ReadProof(w http.ResponseWriter, r *http.Request) (*apitoken.Proof, error)
	// Challenge adds to the header of a 401 what the scheme asks of clients.
	// WWW-Authenticate is there already.
	Challenge(h http.Header)
}

// Errors of bodies that are read before a handler gets them. They wrap
// [apitoken.ErrInvalid].
var (
	// ErrBodyTooLarge: the body is longer than a signed one may be. HTTP 413.
	ErrBodyTooLarge error = &requestError{"body_too_large", "the body is longer than a signed request may have here: send less at once"}
	// ErrUnreadableBody: the body broke off, or is not framed as HTTP asks. HTTP 400.
	ErrUnreadableBody error = &requestError{"unreadable_body", "the body cannot be read to its end: send the request again"}
)

type requestError struct{ reason, text string }

func (e *requestError) Error() string  { return "httpauth: " + e.text }
func (e *requestError) Unwrap() error  { return apitoken.ErrInvalid }
func (e *requestError) Reason() string { return e.reason }

// ReadBody reads the whole body of r, at most limit bytes, and puts it back, so
// that a handler reads the same bytes again. A longer body is not read to its end.
// Errors are [ErrBodyTooLarge] and [ErrUnreadableBody]; nothing is put back then.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := readWhole(w, r, limit)
	if err == nil && body != nil {
		r.Body = readAgain{bytes.NewReader(body), r.Body}
	}
	return body, err
}

// readWhole is ReadBody for a body that nobody reads again.
func readWhole(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, ErrBodyTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return nil, ErrBodyTooLarge
		}
		return nil, ErrUnreadableBody
	}
	return body, nil
}

// readAgain is a body that was read once. Closing it closes what it came from.
type readAgain struct {
	io.Reader
	io.Closer
}

// readSigned is readCredential for an Auth that reads proofs too. r is a copy that
// the reader of a proof may change.
func (a *Auth) readSigned(w http.ResponseWriter, r *http.Request, req *apitoken.VerifyRequest) error {
	var fault error
	found, inAuthorization := 0, false
	for _, reader := range a.opts.Proofs {
		proof, err := reader.ReadProof(w, r)
		if proof == nil && err == nil {
			continue
		}
		if found++; found > 1 {
			return apitoken.ErrTwoCredentials
		}
		_, inAuthorization = reader.(*BoundJWT)
		req.Proof, fault = proof, err
	}
	switch {
	case found == 0:
		return a.readCredential(r.Header, req)
	case a.presentsOwn(r.Header) || len(r.Header["Authorization"]) > 0 && !inAuthorization:
		return apitoken.ErrTwoCredentials
	}
	return fault
}
