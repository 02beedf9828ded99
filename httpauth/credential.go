package httpauth

import (
	"net/http"
	"strings"

	"github.com/tokenry/apitoken"
)

// readCredential puts the one credential of a request into req. Its errors are
// [apitoken.ErrNoCredential]; [apitoken.ErrTwoCredentials] and
// [apitoken.ErrUnreadableHeader], which are a 400; and
// [apitoken.ErrMalformedToken] for a value that is too long to be looked at
// (P16), which is a 401 like any damaged token.
func (a *Auth) readCredential(h http.Header, req *apitoken.VerifyRequest) error {
	found, tooLong := 0, false
	if lines := h["Authorization"]; len(lines) > 0 {
		if len(lines) > 1 {
			return apitoken.ErrTwoCredentials
		}
		token, err := parseAuthorization(lines[0])
		switch err {
		case nil:
			req.Token = token
		case apitoken.ErrMalformedToken:
			tooLong = true
		case errForeignScheme:
			if a.presentsOwn(h) {
				return apitoken.ErrTwoCredentials
			}
			return apitoken.ErrNoCredential
		default:
			return err
		}
		found++
	}
	for _, name := range a.headers {
		lines := h[name]
		if len(lines) == 0 {
			continue
		}
		if found += len(lines); found > 1 {
			return apitoken.ErrTwoCredentials
		}
		switch err := checkToken(lines[0]); err {
		case nil:
			req.Token = lines[0]
		case apitoken.ErrMalformedToken:
			tooLong = true
		default:
			return err
		}
	}
	if a.opts.LegacyIDHeader != "" {
		ids, secrets := h[a.opts.LegacyIDHeader], h[a.opts.LegacySecretHeader]
		if len(ids)+len(secrets) > 0 {
			if found++; found > 1 || len(ids) > 1 || len(secrets) > 1 {
				return apitoken.ErrTwoCredentials
			}
			if len(ids) == 0 || len(secrets) == 0 || ids[0] == "" || secrets[0] == "" {
				return apitoken.ErrUnreadableHeader
			}
			if len(ids[0]) > apitoken.MaxTokenLength || len(secrets[0]) > apitoken.MaxTokenLength {
				tooLong = true
			}
			req.LegacyID, req.LegacySecret = ids[0], secrets[0]
		}
	}
	switch {
	case found == 0:
		return apitoken.ErrNoCredential
	case tooLong:
		return apitoken.ErrMalformedToken
	}
	return nil
}

// presentsOwn reports whether any of the host's own credential headers is there.
func (a *Auth) presentsOwn(h http.Header) bool {
	for _, name := range a.headers {
		if len(h[name]) > 0 {
			return true
		}
	}
	return a.opts.LegacyIDHeader != "" && len(h[a.opts.LegacyIDHeader])+len(h[a.opts.LegacySecretHeader]) > 0
}

type foreignScheme struct{}

func (foreignScheme) Error() string { return "httpauth: the scheme is not ours" }

// errForeignScheme stays within this file.
var errForeignScheme error = foreignScheme{}

// parseAuthorization returns the token of an Authorization header of the schemes
// Bearer and SSWS, which are compared without regard to case (RFC 9110, section
// 11.1).
func parseAuthorization(line string) (string, error) {
	// A scheme is short, and no more of the line is looked at to find it (P16).
	end := strings.IndexByte(line[:min(len(line), apitoken.MaxTokenLength)], ' ')
	if end < 0 || !isOurs(line[:end]) {
		// Without a space it is one of our schemes alone, or most likely a token
		// without a scheme in front of it.
		if end < 0 || !isHeaderName(line[:end]) {
			return "", apitoken.ErrUnreadableHeader
		}
		return "", errForeignScheme
	}
	if len(line) > apitoken.MaxTokenLength {
		return "", apitoken.ErrMalformedToken
	}
	token := line[end:]
	for len(token) > 0 && token[0] == ' ' {
		token = token[1:]
	}
	return token, checkToken(token)
}

// isOurs compares lengths first: EqualFold alone would take a long s (ſ) for an S.
func isOurs(scheme string) bool {
	switch len(scheme) {
	case len("Bearer"):
		return scheme == "Bearer" || strings.EqualFold(scheme, "Bearer")
	case len("SSWS"):
		return strings.EqualFold(scheme, "SSWS")
	}
	return false
}

// checkToken refuses what is empty or more than one word. Whether the word is a
// token is the Verifier's to say. A comma is how a proxy joins two lines.
func checkToken(token string) error {
	switch {
	case token == "":
		return apitoken.ErrUnreadableHeader
	case len(token) > apitoken.MaxTokenLength:
		return apitoken.ErrMalformedToken
	case strings.IndexByte(token, ' ') >= 0, strings.IndexByte(token, '\t') >= 0, strings.IndexByte(token, ',') >= 0:
		return apitoken.ErrUnreadableHeader
	}
	return nil
}
