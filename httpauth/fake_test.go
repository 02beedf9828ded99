package httpauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// fakeVerifier answers as it is told and remembers what it was asked.
type fakeVerifier struct {
	principal apitoken.Principal
	decide    func(apitoken.VerifyRequest) error // nil = accept
	admitErr  error
	decisions []apitoken.Decision // what the limiter said

	mu       sync.Mutex
	verified []apitoken.VerifyRequest
	admitted []apitoken.AdmitRequest
}

func refuseAll(err error) *fakeVerifier {
	return &fakeVerifier{decide: func(apitoken.VerifyRequest) error { return err }}
}

func (f *fakeVerifier) Verify(_ context.Context, req apitoken.VerifyRequest) (apitoken.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.Decisions != nil {
		*req.Decisions = append(*req.Decisions, f.decisions...)
	}
	req.Decisions = nil // of each call another
	f.verified = append(f.verified, req)
	if f.decide != nil {
		if err := f.decide(req); err != nil {
			return apitoken.Principal{}, err
		}
	}
	return f.principal, nil
}

func (f *fakeVerifier) Admit(_ context.Context, _ apitoken.Principal, req apitoken.AdmitRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.Decisions != nil {
		*req.Decisions = append(*req.Decisions, f.decisions...)
	}
	req.Decisions = nil // of each call another
	f.admitted = append(f.admitted, req)
	return f.admitErr
}

func (f *fakeVerifier) Recheck(_ context.Context, p apitoken.Principal) (apitoken.Principal, error) {
	return p, nil
}

func (f *fakeVerifier) calls() []apitoken.VerifyRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.verified)
}

func (f *fakeVerifier) admissions() []apitoken.AdmitRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.admitted)
}

// request is a GET of / with these headers, name and value by turns.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// bearer is a request with a token string that only fakes accept.
func bearer(headers ...string) *http.Request {
	return request(append([]string{"Authorization", "Bearer acme_token"}, headers...)...)
}

func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// fine answers 204.
var fine = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// present runs a request through Middleware and returns what the Verifier was
// given, nil = it was not asked, and why the request was refused.
func present(opts httpauth.Options, r *http.Request) (*apitoken.VerifyRequest, error) {
	v := new(fakeVerifier)
	var refused error
	opts.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, err error) { refused = err }
	httpauth.New(v, opts).Middleware(fine).ServeHTTP(httptest.NewRecorder(), r)
	if calls := v.calls(); len(calls) > 0 {
		return &calls[0], refused
	}
	return nil, refused
}
