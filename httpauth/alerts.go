package httpauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/tokenry/apitoken"
)

// LeakReporter is what [Alerts] needs of an apitoken.Service.
type LeakReporter interface {
	ReportLeak(ctx context.Context, actor apitoken.Actor, report apitoken.LeakReport) (apitoken.Leak, error)
}

// KeySource finds the public keys that a partner signs its alerts with:
// [NewKeyList], or the host's own. It must be safe for concurrent use.
type KeySource interface {
	// Key returns the P-256 key with this identifier, which comes from a request
	// that nobody has checked yet. apitoken.ErrNotFound = the partner has no such
	// key; any other error is an outage.
	Key(ctx context.Context, id string) (*ecdsa.PublicKey, error)
}

// KeySourceFunc adapts a function to a [KeySource].
type KeySourceFunc func(ctx context.Context, id string) (*ecdsa.PublicKey, error)

// Key calls f.
func (f KeySourceFunc) Key(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	return f(ctx, id)
}

// AlertOptions of [Alerts].
type AlertOptions struct {
	// Keys are the partner's. Required.
	Keys KeySource
	// Actor reports the leaks, and is named in the events. It must see all tokens
	// that may be found, so it is apitoken.DangerouslyCrossTenant with the partner's
	// name as a rule. Required.
	Actor apitoken.Actor
	// KeyIDHeader and SignatureHeader are the headers that carry the identifier of
	// the key, and the signature. Default to Github-Public-Key-Identifier and
	// Github-Public-Key-Signature.
	KeyIDHeader, SignatureHeader string
	// MaxBody bounds the body in bytes. Defaults to 1 MiB, some 4,000 alerts.
	MaxBody int64
	// Logger is told how many alerts came and what failed, never a token or a
	// place. Defaults to slog.Default().
	Logger *slog.Logger
}

const (
	githubKeyID     = "Github-Public-Key-Identifier"
	githubSignature = "Github-Public-Key-Signature"
	maxAlertBody    = 1 << 20
	maxKeyID        = 256
	maxSignature    = 128 // base64 of at most 72 bytes of ASN.1 for P-256
)

// Alerts returns a handler for the alerts of a secret scanning partner, in the
// form of GitHub's secret scanning partner program: a POST of a JSON array of
//
//	{"token": "acme_…", "type": "acme_api_token", "url": "https://…", "source": "commit"}
//
// whose body, as it was sent, is signed with ECDSA on P-256 and SHA-256, in ASN.1
// and base64. Nothing is parsed before the signature is checked. Each token is
// reported ([apitoken.Service.ReportLeak]), and the answer tells the partner which
// were real, by their SHA-256 in hexadecimal:
//
//	[{"token_hash": "…", "token_type": "acme_api_token", "label": "true_positive"}]
//
// 'false_positive' is every value that opens no token. The answer is a 403 for
// whatever is wrong with key and signature, 413 for a longer body, 400 for one
// that is signed and not of that form, 503 when a part did not answer: all alerts
// were tried then, and to send them again is safe.
//
// The handler needs no other authentication, and no layer of an [Auth] around it.
// A fault in opts panics, as in [New].
func Alerts(reporter LeakReporter, opts AlertOptions) http.Handler {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("httpauth: "+format, args...)) }
	if reporter == nil {
		bad("Alerts needs a LeakReporter: pass the Service of apitoken.New")
	}
	if opts.Keys == nil {
		bad("AlertOptions.Keys is nil: without the partner's keys anybody could report: see NewKeyList")
	}
	if opts.Actor.ID == "" {
		bad("AlertOptions.Actor has no ID: use apitoken.DangerouslyCrossTenant with the partner's name")
	}
	if opts.KeyIDHeader == "" {
		opts.KeyIDHeader = githubKeyID
	}
	if opts.SignatureHeader == "" {
		opts.SignatureHeader = githubSignature
	}
	for field, name := range map[string]*string{"KeyIDHeader": &opts.KeyIDHeader, "SignatureHeader": &opts.SignatureHeader} {
		if !isHeaderName(*name) {
			bad("AlertOptions.%s %q is no header name", field, *name)
		}
		*name = http.CanonicalHeaderKey(*name)
	}
	if opts.KeyIDHeader == opts.SignatureHeader {
		bad("AlertOptions.KeyIDHeader and SignatureHeader are the same")
	}
	if opts.MaxBody < 0 {
		bad("AlertOptions.MaxBody is negative: give bytes, or 0 for 1 MiB")
	}
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = maxAlertBody
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &alerts{reporter, opts}
}

type alerts struct {
	reporter LeakReporter
	opts     AlertOptions
}

type alert struct {
	Token  string `json:"token"`
	Type   string `json:"type"`
	URL    string `json:"url"`
	Source string `json:"source"`
}

// place is where the token was found. The URL may be missing.
func (a *alert) place() string {
	switch {
	case a.URL == "":
		return a.Source
	case a.Source == "":
		return a.URL
	}
	return a.URL + " (" + a.Source + ")"
}

// verdict is what the partner learns. It holds no token: an answer may be
// logged on its way.
type verdict struct {
	Hash  string `json:"token_hash"`
	Type  string `json:"token_type"`
	Label string `json:"label"`
}

// alertError is why a request is not dealt with.
type alertError struct {
	status         int
	reason, detail string
	err            error // for the log
}

func (a *alerts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	verdicts, fault := a.serve(w, r)
	var body any = verdicts
	status, kind := http.StatusOK, "application/json"
	if fault != nil {
		status, kind = fault.status, "application/problem+json"
		body = problem{Title: http.StatusText(status), Status: status, Detail: fault.detail, Reason: fault.reason}
		a.opts.Logger.WarnContext(r.Context(), "httpauth: leak alerts not dealt with", "status", status, "reason", fault.reason, "error", fault.err)
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", fmt.Sprint(outageSeconds))
	}
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, nil // cannot happen: strings and numbers only
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

func (a *alerts) serve(w http.ResponseWriter, r *http.Request) ([]verdict, *alertError) {
	if r.Method != http.MethodPost {
		return nil, &alertError{http.StatusMethodNotAllowed, "method", "alerts are sent by POST", nil}
	}
	body, fault := a.signed(w, r)
	if fault != nil {
		return nil, fault
	}
	var found []alert
	if err := json.Unmarshal(body, &found); err != nil || found == nil {
		// The error of encoding/json may quote the body.
		return nil, &alertError{http.StatusBadRequest, "invalid", "the body is not an array of alerts", nil}
	}
	return a.report(r.Context(), found)
}

// signed returns the body, if the partner signed it. What is wrong with key or
// signature looks alike from outside.
func (a *alerts) signed(w http.ResponseWriter, r *http.Request) ([]byte, *alertError) {
	refuse := func(err error) *alertError {
		return &alertError{http.StatusForbidden, "signature", "the signature was not accepted", err}
	}
	id, sig := r.Header[a.opts.KeyIDHeader], r.Header[a.opts.SignatureHeader]
	if len(id) != 1 || len(sig) != 1 || id[0] == "" || len(id[0]) > maxKeyID || len(sig[0]) > maxSignature {
		return nil, refuse(errors.New("needs one key identifier and one signature"))
	}
	signature, err := base64.StdEncoding.DecodeString(sig[0])
	if err != nil {
		return nil, refuse(errors.New("the signature is not base64"))
	}
	key, err := a.opts.Keys.Key(r.Context(), id[0])
	switch {
	case errors.Is(err, apitoken.ErrNotFound):
		return nil, refuse(errors.New("the partner has no such key"))
	case err != nil:
		return nil, &alertError{http.StatusServiceUnavailable, "unavailable", "the signature cannot be checked now: send it again later", err}
	case key == nil || key.Curve != elliptic.P256():
		return nil, refuse(errors.New("the key is not of P-256"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.opts.MaxBody))
	if err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return nil, &alertError{http.StatusRequestEntityTooLarge, "too_large", "the body is too long: send fewer alerts at once", err}
		}
		return nil, &alertError{http.StatusBadRequest, "invalid", "the body cannot be read", err}
	}
	if sum := sha256.Sum256(body); !ecdsa.VerifyASN1(key, sum[:], signature) {
		return nil, refuse(errors.New("the signature is wrong"))
	}
	return body, nil
}

// report reports each alert, also after one that failed.
func (a *alerts) report(ctx context.Context, found []alert) ([]verdict, *alertError) {
	verdicts := make([]verdict, len(found))
	var failure error
	failed, known := 0, 0
	for i := range found {
		al := &found[i]
		sum := sha256.Sum256([]byte(al.Token))
		v := verdict{Hash: hex.EncodeToString(sum[:]), Type: al.Type, Label: "false_positive"}
		_, err := a.reporter.ReportLeak(ctx, a.opts.Actor, apitoken.LeakReport{Value: apitoken.NewSecret(al.Token), Where: al.place()})
		switch {
		case err == nil:
			v.Label = "true_positive"
			known++
		case !errors.Is(err, apitoken.ErrNotFound) || errors.Is(err, apitoken.ErrUnavailable):
			failed, failure = failed+1, err
		}
		verdicts[i] = v
	}
	a.opts.Logger.InfoContext(ctx, "httpauth: leak alerts", "alerts", len(found), "tokens", known, "failed", failed)
	if failure != nil {
		return nil, &alertError{http.StatusServiceUnavailable, "unavailable", "not every alert could be dealt with: send them again later", failure}
	}
	return verdicts, nil
}
