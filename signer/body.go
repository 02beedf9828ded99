package signer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tokenry/apitoken"
)

// body is the body of a request, which is read to be signed and again to be sent,
// perhaps more than once.
type body struct {
	sum      [sha256.Size]byte
	buffered []byte
	again    func() (io.ReadCloser, error) // nil = it is buffered
}

func buffered(content []byte) *body {
	return &body{sum: sha256.Sum256(content), buffered: content}
}

// readBody reads the body of r, and closes it.
func (t *Transport) readBody(r *http.Request) (*body, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return buffered(nil), nil
	}
	defer r.Body.Close()
	if r.GetBody != nil && t.opts.Scheme == apitoken.SchemeJWT {
		b := &body{again: r.GetBody}
		return b, b.digest()
	}
	if r.ContentLength > t.opts.MaxBody {
		return nil, ErrBodyTooLarge
	}
	content, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, t.opts.MaxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, ErrBodyTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("signer: the body cannot be read: %w", err)
	}
	return buffered(content), nil
}

// digest reads a copy of the body, of which nothing is kept.
func (b *body) digest() error {
	in, err := b.again()
	if err != nil {
		return fmt.Errorf("signer: Request.GetBody: %w", err)
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return fmt.Errorf("signer: the body cannot be read: %w", err)
	}
	h.Sum(b.sum[:0])
	return nil
}

// putInto gives out the body, from its beginning.
func (b *body) putInto(out *http.Request) error {
	if b.again != nil {
		in, err := b.again()
		if err != nil {
			return fmt.Errorf("signer: Request.GetBody: %w", err)
		}
		out.Body = in
		return nil
	}
	out.ContentLength, out.TransferEncoding = int64(len(b.buffered)), nil
	out.GetBody = func() (io.ReadCloser, error) {
		if len(b.buffered) == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(bytes.NewReader(b.buffered)), nil
	}
	out.Body, _ = out.GetBody()
	return nil
}
