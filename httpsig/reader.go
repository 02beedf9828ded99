package httpsig

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/dunglas/httpsfv"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// Reader reads HTTP Message Signatures from requests, for
// [httpauth.Options].Proofs. It is safe for concurrent use. Make it with [New].
type Reader struct {
	opts      Options
	sites     []site
	external  site
	challenge string
}

var _ httpauth.ProofReader = (*Reader)(nil)

// derived are the components that a request has besides its fields.
var derived = []string{"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"}

// bodyComponents are covered by the signature of a request with a body.
var bodyComponents = [...]string{"content-digest", "content-type"}

// New returns a Reader. A fault in opts is a fault in the program: New panics and
// names all of them. For options that come from a configuration file, ask
// [Options.Check] first.
func New(opts Options) *Reader {
	if err := opts.Check(); err != nil {
		panic(err)
	}
	r := &Reader{opts: opts}
	r.opts.MaxBody = cmp.Or(opts.MaxBody, defaultMaxBody)
	r.opts.Covered = slices.Clone(opts.Covered)
	for _, host := range opts.Hosts {
		s, _ := parseSite(host)
		r.sites = append(r.sites, s)
	}
	if opts.ExternalURL != "" {
		s, _ := parseSite(opts.ExternalURL)
		r.external = site{s.scheme, authority(s.host, s.scheme)}
		r.sites = append(r.sites, s)
	}
	r.challenge = r.acceptSignature()
	return r
}

// acceptSignature writes what is asked of clients (RFC 9421, section 5.1).
func (r *Reader) acceptSignature() string {
	list := httpsfv.InnerList{Params: httpsfv.NewParams()}
	names := append([]string{"@method", "@target-uri"}, bodyComponents[:]...)
	for _, name := range append(names, r.opts.Covered...) {
		item := httpsfv.NewItem(name)
		if !slices.ContainsFunc(list.Items, func(before httpsfv.Item) bool { return before.Value == item.Value }) {
			list.Items = append(list.Items, item)
		}
	}
	list.Params.Add("created", true)
	if r.opts.Tag != "" {
		list.Params.Add("tag", r.opts.Tag)
	}
	wanted := httpsfv.NewDictionary()
	wanted.Add(cmp.Or(r.opts.Label, defaultLabel), list)
	text, err := httpsfv.Marshal(wanted)
	if err != nil {
		panic(err) // cannot happen: Check has seen every part
	}
	return text
}

const defaultLabel = "sig1"

// Challenge adds Accept-Signature to the header of a 401 (RFC 9421, section 5.1).
// It lists the components of a request with a body; one without leaves out
// content-digest and content-type. The nonce and keyid, which are required too,
// cannot be asked for there.
func (r *Reader) Challenge(h http.Header) { h.Add("Accept-Signature", r.challenge) }

// ReadProof returns what the request's signature says, nil if it carries none that
// is meant for this server. The body is not read yet: that, and comparing its
// digest, is what the Proof's CheckBody does, which puts the body back into req.
//
// Errors are [apitoken.ErrMalformedProof] and [apitoken.ErrAlgorithm]; they say what is
// wrong to an operator and show a client nothing. Those of CheckBody are
// [apitoken.ErrBodyDigest], [httpauth.ErrBodyTooLarge] and [httpauth.ErrUnreadableBody].
func (r *Reader) ReadProof(w http.ResponseWriter, req *http.Request) (*apitoken.Proof, error) {
	lines := req.Header["Signature-Input"]
	if len(lines) == 0 {
		return nil, nil
	}
	text, err := joined("Signature-Input", lines)
	if err != nil {
		return nil, err
	}
	inputs, err := parseInputs(text)
	if err != nil {
		return nil, malformed("Signature-Input %w", err)
	}
	in, err := choose(inputs, r.opts.Tag, r.opts.Label)
	if in == nil || err != nil {
		return nil, err
	}
	m, err := r.message(req)
	if err != nil {
		return nil, err
	}
	p := &apitoken.Proof{Scheme: apitoken.SchemeHTTPSignature, Repeatable: r.opts.InsecureRepeatable}
	if err := in.fill(p); err != nil {
		return nil, err
	}
	if p.Nonce == "" && !p.Repeatable {
		return nil, malformed("parameter nonce is missing: send random text, another for each request")
	}
	if err := r.checkCoverage(in.components, req.ContentLength); err != nil {
		return nil, err
	}
	if p.Signed, err = m.appendBase(make([]byte, 0, 1<<10), in.components, in.params); err != nil {
		return nil, err
	}
	text, err = joined("Signature", req.Header["Signature"])
	if err != nil {
		return nil, err
	}
	if p.Signature, err = parseSignature(text, in.label); err != nil {
		return nil, err
	}
	if err := r.readDigest(w, req, in.components, p); err != nil {
		return nil, err
	}
	return p, nil
}

// message returns what components are made of, if the request is for a host of this
// server. Path and query are those of the request line: what middleware made of
// them in req.URL was not signed.
func (r *Reader) message(req *http.Request) (message, error) {
	if len(req.RequestURI) == 0 || req.RequestURI[0] != '/' {
		return message{}, malformed("the request target %q does not begin with a path", clip(req.RequestURI))
	}
	m := message{method: req.Method, target: req.RequestURI, host: req.Host, length: req.ContentLength, header: req.Header}
	connection := "http"
	if req.TLS != nil {
		connection = "https"
	}
	for _, s := range r.sites {
		m.scheme = cmp.Or(s.scheme, connection)
		if m.authority = authority(req.Host, m.scheme); m.authority != authority(s.host, m.scheme) {
			continue
		}
		if r.external.host != "" {
			m.scheme, m.authority = r.external.scheme, r.external.host
		}
		return m, nil
	}
	return message{}, malformed("host %q is not among Options.Hosts", clip(req.Host))
}

// checkCoverage refuses a signature that leaves open what is asked of the server.
// length is that of the body, -1 if it is not known beforehand.
func (r *Reader) checkCoverage(components []component, length int64) error {
	covers := func(names ...string) bool {
		for _, name := range names {
			if !slices.ContainsFunc(components, func(c component) bool { return c.name == name }) {
				return false
			}
		}
		return true
	}
	switch {
	case !covers("@method"):
		return malformed("the signature does not cover @method")
	case covers("@target-uri"):
	case !covers("@authority"):
		return malformed("the signature covers neither @target-uri nor @authority")
	case !covers("@request-target") && !covers("@path", "@query"):
		return malformed("the signature covers neither @target-uri nor @request-target nor both @path and @query")
	}
	// Of unknown length it may be none, as some clients send none over HTTP/2. Without a
	// digest that is what readDigest makes sure of.
	if length > 0 || length < 0 && covers("content-digest") {
		for _, name := range bodyComponents {
			if !covers(name) {
				return malformed("the request has a body and the signature does not cover %s", name)
			}
		}
	}
	for _, name := range r.opts.Covered {
		if !covers(name) {
			return malformed("the signature does not cover %s", name)
		}
	}
	return nil
}

// readDigest sets the proof's CheckBody.
func (r *Reader) readDigest(w http.ResponseWriter, req *http.Request, components []component, p *apitoken.Proof) error {
	var want digests // all nil: there must be no body
	if slices.ContainsFunc(components, func(c component) bool { return c.name == "content-digest" }) {
		var err error
		if want, err = parseDigests(req.Header["Content-Digest"]); err != nil {
			return err
		}
	} else if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	p.CheckBody = func(context.Context) error { return want.check(w, req, r.opts.MaxBody) }
	return nil
}
