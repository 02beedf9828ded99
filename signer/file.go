package signer

import (
	"errors"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/tokenfile"
)

// FromFile is [New] with the token ID and the secret of a .token file (S2.29), which
// opts then leave out, and Key too. The warning, if any, is for the person who runs
// the program, as in [tokenfile.Read].
func FromFile(path string, opts Options) (t *Transport, warning string, err error) {
	var faults []error
	for field, set := range map[string]bool{"Key": opts.Key != nil, "Secret": !opts.Secret.IsZero(), "Token": opts.Token != ""} {
		if set {
			faults = append(faults, &apitoken.FieldError{Field: field, Problem: "is set, and the file names a token with its secret: leave it out"})
		}
	}
	if len(faults) > 0 {
		return nil, "", errors.Join(faults...)
	}
	file, warning, err := tokenfile.Read(path)
	if err != nil {
		return nil, "", err
	}
	opts.Secret = file.Secret
	if opts.Scheme == apitoken.SchemeJWS || opts.Scheme == apitoken.SchemeJWT {
		opts.Token = file.ID
	}
	if t, err = New(opts); err != nil {
		return nil, "", err
	}
	return t, warning, nil
}
