package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// tokenAdmin manages tokens for the holder of a token that may.
type tokenAdmin struct{ tokens apitoken.Manager }

// call makes a handler of a managing call: the body in, the answer or the error
// out. The actor is the owner of the token that calls, with no more permissions
// than that token has. A console would fill apitoken.Actor from its session;
// nothing in it may come from what a request claims.
func call[In any](auth *httpauth.Auth, do func(r *http.Request, by apitoken.Actor, in In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		var answer any
		err := read(w, r, &in)
		if err == nil {
			by, _ := auth.Actor(r) // without the middleware: the zero Actor, which may do nothing
			answer, err = do(r, by, in)
		}
		if err != nil {
			httpauth.WriteError(w, r, err)
			return
		}
		switch answer := answer.(type) {
		case nil:
			w.WriteHeader(http.StatusNoContent)
		case apitoken.Issued:
			if err := httpauth.WriteSecret(w, answer); err != nil {
				slog.WarnContext(r.Context(), "a secret may not have reached its holder: revoke the token", "token", answer.Token.ID, "error", err)
			}
		default:
			writeJSON(w, answer)
		}
	}
}

type issueBody struct {
	Kind        apitoken.Kind `json:"kind"`
	Name        string        `json:"name"`
	Expiry      string        `json:"expiry"`
	Permissions []string      `json:"permissions"` // left out: all that the actor has; []: none
	Networks    []string      `json:"networks"`
	Share       int           `json:"share"`
}

func (a tokenAdmin) issue(r *http.Request, by apitoken.Actor, in issueBody) (any, error) {
	return a.tokens.Issue(r.Context(), by, apitoken.IssueRequest{
		Kind: in.Kind, Name: in.Name, Expiry: expiry(in.Expiry), Permissions: in.Permissions, Networks: in.Networks, Share: in.Share,
		IdempotencyKey: r.Header.Get("Idempotency-Key"),
	})
}

func (a tokenAdmin) list(r *http.Request, by apitoken.Actor, _ struct{}) (any, error) {
	q := r.URL.Query()
	query := apitoken.ListQuery{Status: apitoken.Status(q.Get("status")), Sort: apitoken.SortKey(q.Get("sort")), Cursor: q.Get("cursor")}
	for _, kind := range q["kind"] {
		query.Kinds = append(query.Kinds, apitoken.Kind(kind))
	}
	return a.tokens.List(r.Context(), by, query)
}

func (a tokenAdmin) get(r *http.Request, by apitoken.Actor, _ struct{}) (any, error) {
	return a.tokens.Get(r.Context(), by, id(r))
}

type editBody struct {
	Name        *string   `json:"name"`
	Permissions *[]string `json:"permissions"`
	Networks    *[]string `json:"networks"`
	Share       *int      `json:"share"`
	IfVersion   int64     `json:"if_version"`
}

func (a tokenAdmin) edit(r *http.Request, by apitoken.Actor, in editBody) (any, error) {
	return a.tokens.Edit(r.Context(), by, id(r), apitoken.EditRequest{
		Name: in.Name, Permissions: in.Permissions, Networks: in.Networks, Share: in.Share, IfVersion: in.IfVersion,
	})
}

// reasonBody says why, for the audit event.
type reasonBody struct {
	Reason string `json:"reason"`
}

func (a tokenAdmin) disable(r *http.Request, by apitoken.Actor, in reasonBody) (any, error) {
	return a.tokens.Disable(r.Context(), by, id(r), in.Reason)
}

func (a tokenAdmin) enable(r *http.Request, by apitoken.Actor, in struct {
	Expiry string `json:"expiry"`
}) (any, error) {
	return a.tokens.Enable(r.Context(), by, id(r), apitoken.EnableRequest{Expiry: expiry(in.Expiry)})
}

func (a tokenAdmin) rotate(r *http.Request, by apitoken.Actor, in struct {
	OverlapSeconds int   `json:"overlap_seconds"`
	IfVersion      int64 `json:"if_version"`
}) (any, error) {
	return a.tokens.Rotate(r.Context(), by, id(r), apitoken.RotateRequest{
		Overlap: time.Duration(in.OverlapSeconds) * time.Second, IfVersion: in.IfVersion, IdempotencyKey: r.Header.Get("Idempotency-Key"),
	})
}

func (a tokenAdmin) revoke(r *http.Request, by apitoken.Actor, in reasonBody) (any, error) {
	return nil, a.tokens.Revoke(r.Context(), by, id(r), in.Reason)
}

func (a tokenAdmin) delete(r *http.Request, by apitoken.Actor, in reasonBody) (any, error) {
	return nil, a.tokens.Delete(r.Context(), by, id(r), in.Reason)
}

// find takes the secret in the body: URLs are logged.
func (a tokenAdmin) find(r *http.Request, by apitoken.Actor, in struct {
	Secret string `json:"secret"`
}) (any, error) {
	return a.tokens.FindBySecret(r.Context(), by, in.Secret)
}

// explain tells why a token works or does not, for these permissions.
func (a tokenAdmin) explain(r *http.Request, by apitoken.Actor, in struct {
	ID          apitoken.ID `json:"id"`
	Permissions []string    `json:"permissions"`
}) (any, error) {
	need, err := catalog.Require(in.Permissions...)
	if err != nil {
		return nil, err
	}
	return a.tokens.Explain(r.Context(), by, apitoken.ExplainRequest{ID: in.ID, Verify: apitoken.VerifyRequest{Need: need}})
}

func id(r *http.Request) apitoken.ID { return apitoken.ID(r.PathValue("id")) }

// expiry is a date, YYYY-MM-DD; "" leaves it to the kind's policy.
func expiry(date string) apitoken.Expiry {
	if date == "" {
		return apitoken.Expiry{}
	}
	return apitoken.ExpiresOn(date)
}

// read decodes a JSON body of bounded size. Unknown fields are errors: a
// misspelt 'permisions' would else make a token with all permissions.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	body.DisallowUnknownFields()
	err := body.Decode(into)
	if err == io.EOF { // no body
		return nil
	}
	if err == nil && body.More() {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return &apitoken.FieldError{Field: "body", Problem: err.Error()}
	}
	return nil
}

func writeJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client is gone: nobody to tell
}
