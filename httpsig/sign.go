package httpsig

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strconv"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
)

func fieldError(field, format string, args ...any) error {
	return &apitoken.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// content is the body of a request, read once to be signed and again to be sent,
// perhaps more than once.
type content struct {
	sum    [sha256.Size]byte
	length int64
	held   []byte
	again  func() (io.ReadCloser, error) // nil = it is held
}

// readContent reads the body of r and closes it. At most most bytes are held.
func readContent(r *http.Request, most int64) (c content, err error) {
	if r.Body == nil || r.Body == http.NoBody {
		return content{}, nil
	}
	defer r.Body.Close()
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return content{}, fmt.Errorf("httpsig: Request.GetBody: %w", err)
		}
		defer body.Close()
		h := sha256.New()
		if c.length, err = io.Copy(h, body); err != nil {
			return content{}, fmt.Errorf("httpsig: the body cannot be read: %w", err)
		}
		c.again = r.GetBody
		h.Sum(c.sum[:0])
		return c, nil
	}
	if r.ContentLength > most {
		return content{}, signer.ErrBodyTooLarge
	}
	c.held, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return content{}, signer.ErrBodyTooLarge
	}
	if err != nil {
		return content{}, fmt.Errorf("httpsig: the body cannot be read: %w", err)
	}
	c.length, c.sum = int64(len(c.held)), sha256.Sum256(c.held)
	return c, nil
}

// putInto gives out the body, from its beginning.
func (c *content) putInto(out *http.Request) error {
	out.ContentLength, out.TransferEncoding = c.length, nil
	switch {
	case c.length == 0:
		out.Body, out.GetBody = http.NoBody, nil
		return nil
	case c.again == nil:
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.held)), nil }
	}
	var err error
	if out.Body, err = out.GetBody(); err != nil {
		return fmt.Errorf("httpsig: Request.GetBody: %w", err)
	}
	return nil
}

// signed makes the request that is sent for r.
func (t *Transport) signed(r *http.Request, body *content) (*http.Request, error) {
	o := &t.opts
	out := r.Clone(r.Context())
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	names := []string{"@method", "@target-uri"}
	if body.length > 0 {
		out.Header.Set("Content-Digest", contentDigest(body.sum[:]))
		if out.Header.Get("Content-Type") == "" {
			out.Header.Set("Content-Type", "application/octet-stream")
		}
		names = append(names, bodyComponents[:]...)
	}
	var components []component
	for _, name := range append(names, o.Covered...) {
		if c := (component{name: name}); !slices.Contains(components, c) {
			components = append(components, c)
		}
	}
	algorithm := algHMAC
	if o.Key != nil {
		algorithm = algECDSA
	}
	params := []param{
		{"created", item{kindInteger, strconv.FormatInt(o.Clock.Now().Unix(), 10)}},
		{"keyid", item{kindString, string(o.Token)}},
		{"nonce", item{kindString, rand.Text()}},
		{"alg", item{kindString, algorithm}},
	}
	if o.Tag != "" {
		params = append(params, param{"tag", item{kindString, o.Tag}})
	}
	host := cmp.Or(r.Host, r.URL.Host)
	m := message{
		method: cmp.Or(r.Method, http.MethodGet), scheme: r.URL.Scheme, authority: authority(host, r.URL.Scheme),
		target: r.URL.RequestURI(), host: host, length: body.length, header: out.Header,
	}
	base, err := m.appendBase(nil, components, params)
	if err != nil {
		return nil, fieldError("Covered", "%v", err)
	}
	signature, err := o.sign(base)
	if err != nil {
		return nil, err
	}
	out.Header.Set("Signature-Input", string(appendParams([]byte(o.Label+"="), components, params)))
	out.Header.Set("Signature", o.Label+"=:"+base64.StdEncoding.EncodeToString(signature)+":")
	return out, body.putInto(out)
}

func (o *TransportOptions) sign(base []byte) ([]byte, error) {
	if o.Key == nil {
		mac := hmac.New(sha256.New, []byte(o.Secret.Reveal()))
		mac.Write(base)
		return mac.Sum(nil), nil
	}
	digest := sha256.Sum256(base)
	der, err := o.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, &signer.KeyError{Err: err}
	}
	// Every crypto.Signer answers with ASN.1, and here it is r‖s (RFC 9421, 3.3.4).
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	if err != nil || len(rest) > 0 || pair.R.Sign() <= 0 || pair.S.Sign() <= 0 || pair.R.BitLen() > 256 || pair.S.BitLen() > 256 {
		return nil, &signer.KeyError{Err: errors.New("its answer is no ASN.1 signature of ECDSA on P-256")}
	}
	raw := make([]byte, 64)
	pair.R.FillBytes(raw[:32])
	pair.S.FillBytes(raw[32:])
	return raw, nil
}
