package httpauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tokenry/apitoken"
)

// outageSeconds is the Retry-After of an outage: nobody knows when it ends, and
// this keeps clients from asking at once.
const outageSeconds = 5

// WriteError answers with the status, headers and problem details that fit an
// error of this module, for handlers of managing calls and for
// [Options].ErrorHandler. An error that this module did not make is a 500 of which
// nothing is shown, and so is nil. It uses the default realm and tells holders
// nothing; [Auth.WriteError] goes by the Auth's options.
func WriteError(w http.ResponseWriter, _ *http.Request, err error) {
	writeError(w, err, defaultRealm, false, nil)
}

// WriteError is the function [WriteError] with the Auth's Realm, TellHolder and
// Proofs.
func (a *Auth) WriteError(w http.ResponseWriter, _ *http.Request, err error) {
	writeError(w, err, a.opts.Realm, a.opts.TellHolder, a.opts.Proofs)
}

// problem is problem details (RFC 9457). An absent type is about:blank.
type problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Reason string `json:"reason"`

	Missing  []string        `json:"missing,omitempty"`
	Groups   []string        `json:"groups,omitempty"`
	Kinds    []apitoken.Kind `json:"kinds,omitempty"`
	Token    apitoken.ID     `json:"token_id,omitempty"`
	Violated []string        `json:"violated-policies,omitempty"`
	Errors   []fieldProblem  `json:"errors,omitempty"`
}

type fieldProblem struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

// unauthorized is the one body of every 401 (P17).
const unauthorized = `{"title":"Unauthorized","status":401,` +
	`"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}` + "\n"

func writeError(w http.ResponseWriter, err error, realm string, tellHolder bool, proofs []ProofReader) {
	status := statusOf(err)
	h := w.Header()
	for _, stale := range []string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified"} {
		h.Del(stale) // of the answer that a handler had begun to prepare
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")

	if status == http.StatusUnauthorized {
		told := holderMayKnow(err, tellHolder)
		switch {
		case told != nil:
			challenge(h, realm, "invalid_token", "error_description", publicText(told))
		case errors.Is(err, apitoken.ErrNoCredential):
			challenge(h, realm, "", "", "") // RFC 6750, section 3.1: no error code
		default:
			challenge(h, realm, "invalid_token", "", "")
		}
		for _, reader := range proofs {
			reader.Challenge(h)
		}
		if told == nil {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(unauthorized)) // a client that is gone needs no answer
			return
		}
		err = told
	}

	p := describe(err, status)
	switch status {
	case http.StatusBadRequest:
		challenge(h, realm, "invalid_request", "", "")
	case http.StatusForbidden:
		if p.Reason == "permission" {
			challenge(h, realm, "insufficient_scope", "scope", scopeOf(p.Missing))
		}
	case http.StatusTooManyRequests:
		if limit, ok := errors.AsType[*apitoken.RateLimitError](err); ok {
			h.Set("Retry-After", strconv.FormatInt(ceilSeconds(limit.RetryAfter), 10))
			rateLimitFields(h, &limit.Decision)
			for i := range limit.Others {
				rateLimitFields(h, &limit.Others[i])
			}
		} else {
			h.Set("Retry-After", "1")
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(outageSeconds))
	}
	body, err := json.Marshal(p)
	if err != nil {
		status, body = http.StatusInternalServerError, nil // cannot happen: strings and numbers only
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// statusOf sorts an error into its family. An outage comes first: it carries the
// failing part's own error, which may look like any other family.
func statusOf(err error) int {
	switch {
	case errors.Is(err, apitoken.ErrUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, apitoken.ErrRateLimited):
		return http.StatusTooManyRequests
	case errors.Is(err, apitoken.ErrUnauthenticated):
		return http.StatusUnauthorized
	case errors.Is(err, apitoken.ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, apitoken.ErrTwoCredentials), errors.Is(err, apitoken.ErrUnreadableHeader), errors.Is(err, ErrClientAddress),
		errors.Is(err, ErrUnreadableBody):
		return http.StatusBadRequest
	case errors.Is(err, errTunnelMethod):
		return http.StatusMethodNotAllowed
	case errors.Is(err, ErrBodyTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, apitoken.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, apitoken.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, apitoken.ErrInvalid):
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// describe says of an error what the client may know.
func describe(err error, status int) problem {
	p := problem{Title: http.StatusText(status), Status: status, Reason: "internal"}
	if status == http.StatusServiceUnavailable {
		p.Reason = apitoken.ReasonOf(apitoken.ErrUnavailable)
		p.Detail = "the request could not be decided: repeat it later"
		return p
	}
	public := publicPart(err)
	if status == http.StatusInternalServerError || public == nil {
		return p
	}
	p.Reason, p.Detail = apitoken.ReasonOf(public), publicText(public)
	switch e := public.(type) {
	case *apitoken.PermissionError:
		p.Missing, p.Groups = e.Missing, e.Groups
	case *apitoken.KindError:
		p.Kinds = e.Accepted
	case *apitoken.AlreadyIssuedError:
		p.Token = e.Token.ID
	case *apitoken.RateLimitError:
		p.Type, p.Title = quotaExceeded, quotaExceededTitle
		p.Violated = []string{e.Limit}
		for _, other := range e.Others {
			p.Violated = append(p.Violated, other.Limit)
		}
	}
	if status == http.StatusUnprocessableEntity {
		for _, f := range apitoken.Fields(err) {
			p.Errors = append(p.Errors, fieldProblem{f.Field, f.Problem})
		}
	}
	return p
}

// sentinels are the errors whose text may be shown, children before families.
var sentinels = []error{
	apitoken.ErrOrigin, apitoken.ErrNetwork, apitoken.ErrMayNot, apitoken.ErrNotOwner,
	apitoken.ErrTwoCredentials, apitoken.ErrUnreadableHeader, ErrClientAddress,
	ErrBodyTooLarge, ErrUnreadableBody, errTunnelMethod,
	apitoken.ErrVersion,
	apitoken.ErrExpired, apitoken.ErrDisabled, // come here only with TellHolder
	apitoken.ErrRateLimited, apitoken.ErrForbidden, apitoken.ErrNotFound, apitoken.ErrConflict, apitoken.ErrInvalid,
}

// publicPart finds the part of err that this module made. What others wrapped
// around it or joined to it may name hosts, tables and people, and is never shown.
func publicPart(err error) error {
	if e, ok := errors.AsType[*apitoken.PermissionError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*apitoken.KindError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*apitoken.ActorError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*apitoken.RateLimitError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*apitoken.StateError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*apitoken.AlreadyIssuedError](err); ok {
		return e
	}
	for _, e := range sentinels {
		if errors.Is(err, e) {
			return e
		}
	}
	return nil
}

func publicText(err error) string {
	text := strings.TrimPrefix(err.Error(), "apitoken: ")
	return strings.TrimPrefix(text, "httpauth: ")
}

// holderMayKnow returns what the holder is told of a token, nil = nothing. These
// two come from the Verifier only after the secret compared equal.
func holderMayKnow(err error, tell bool) error {
	switch {
	case !tell:
		return nil
	case errors.Is(err, apitoken.ErrExpired):
		return apitoken.ErrExpired
	case errors.Is(err, apitoken.ErrDisabled):
		return apitoken.ErrDisabled
	}
	return nil
}
