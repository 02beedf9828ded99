// Package tokenfile reads and writes .token files: the ID and the secret of one
// token as text, for the holder to keep (S2.29).
//
//	# Keep this file safe, like a password. Share it with nobody.
//	Token ID: 2w7RkZ…
//	Secret Key: acme_sk_2w7RkZ…
//
// A file is UTF-8 with these two lines, in any order; all other lines begin with #.
// Only generated tokens have one: the private key of an uploaded public key was
// never here.
package tokenfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unicode/utf8"

	"github.com/tokenry/apitoken"
)

// File is what a .token file holds. Printing one does not show the secret.
type File struct {
	ID apitoken.ID
	// Secret is the secret key of a token that signs, or the value of a bearer
	// token.
	Secret apitoken.Secret
}

const (
	maxFile      = 8 << 10
	fieldID      = "token_id"
	fieldSecret  = "secret_key"
	labelID      = "Token ID: "
	labelSecret  = "Secret Key: "
	bom          = "\ufeff"
	othersMayUse = 0o077
)

// words stand in every file, for whoever opens it (S1.4).
const words = `# This file holds the secret of an API token. Whoever has it can act as you.
# Keep it safe, like a password. Share it with nobody, and never put it into
# source code, a ticket or a chat. If somebody else has seen it, have the token
# revoked and issue a new one. The secret cannot be shown again.
`

// Encode writes f. It writes nothing if f has no ID or secret, or one that does not
// fit on a line: the error is then an [apitoken.FieldError].
func Encode(w io.Writer, f File) error {
	if err := f.check(); err != nil {
		return err
	}
	_, err := io.WriteString(w, words+labelID+string(f.ID)+"\n"+labelSecret+f.Secret.Reveal()+"\n")
	return err
}

// Parse reads a file of at most 8 KiB. A byte-order mark and CRLF are accepted, as
// editors write them. What is wrong is an [apitoken.FieldError] of token_id,
// secret_key, or line[n], that never repeats any of the file; other errors are r's.
func Parse(r io.Reader) (File, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return File{}, err
	}
	if len(data) > maxFile {
		return File{}, fault("file", "is longer than %d bytes: this is no .token file", maxFile)
	}
	if !utf8.Valid(data) {
		return File{}, fault("file", "is not UTF-8 text: download the .token file again")
	}
	var f File
	var seenID, seenSecret bool
	text := strings.TrimSuffix(strings.TrimPrefix(string(data), bom), "\n")
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		id, isID := strings.CutPrefix(line, labelID)
		secret, isSecret := strings.CutPrefix(line, labelSecret)
		switch {
		case strings.HasPrefix(line, "#"), text == "":
		case isID && !seenID:
			seenID, f.ID = true, apitoken.ID(id)
		case isSecret && !seenSecret:
			seenSecret, f.Secret = true, apitoken.NewSecret(secret)
		case isID:
			return File{}, fault(fieldID, "is there twice, again in line %d: keep one token in a file", i+1)
		case isSecret:
			return File{}, fault(fieldSecret, "is there twice, again in line %d: keep one token in a file", i+1)
		default:
			return File{}, fault(fmt.Sprintf("line[%d]", i+1), "begins neither with %q nor with %q nor with #: remove it", labelID, labelSecret)
		}
	}
	if err := f.check(); err != nil {
		return File{}, err
	}
	return f, nil
}

// Read reads the file at path. The warning, if any, is for the person who runs the
// program: on systems with permission bits, that others than the owner may read or
// change the file. The file was read all the same.
func Read(path string) (f File, warning string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return File{}, "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return File{}, "", err
	}
	if f, err = Parse(file); err != nil {
		return File{}, "", fmt.Errorf("%s: %w", path, err)
	}
	if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&othersMayUse != 0 {
		warning = fmt.Sprintf("%s can be used by others, its mode is %04o: run chmod 600 on it", path, info.Mode().Perm())
	}
	return f, warning, nil
}

// Write makes the file at path, for its owner only. It never replaces a file: the
// error is then os.ErrExist. What it could not write whole it removes.
func Write(path string, f File) (err error) {
	var text bytes.Buffer
	if err := Encode(&text, f); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if _, err = file.Write(text.Bytes()); err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// check refuses what would not come back from a file as it went in.
func (f *File) check() error {
	switch secret := f.Secret.Reveal(); {
	case f.ID == "":
		return fault(fieldID, "is missing: give the ID of the token")
	case !f.ID.Valid():
		return fault(fieldID, "is no ID of a token: copy it again, whole")
	case secret == "":
		return fault(fieldSecret, "is missing: only a generated token has one, and only when it is issued or rotated; with an uploaded public key, its holder keeps the private key")
	case len(secret) > apitoken.MaxTokenLength:
		return fault(fieldSecret, "has %d bytes: at most %d are possible", len(secret), apitoken.MaxTokenLength)
	case strings.IndexFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0:
		return fault(fieldSecret, "has a character that no secret has: copy it again, whole, without spaces")
	}
	return nil
}

func fault(field, format string, args ...any) error {
	return &apitoken.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
