package httpsig

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const defaultMaxBody = 1 << 20

// Options of [New]. One of Hosts and ExternalURL is required.
type Options struct {
	// Hosts are the authorities that the server answers for, as clients write them:
	// "api.example.com", "api.example.com:8443". A signature for any other host is
	// refused, or one made for a neighbour would be good here. Where a proxy in front
	// ends TLS and passes the Host on, write the scheme too, which is otherwise that
	// of the connection: "https://api.example.com". Required without ExternalURL.
	Hosts []string
	// ExternalURL is what clients see of a server whose proxy puts another Host into
	// requests: scheme and authority, "https://api.example.com". Signatures are for
	// it, and Hosts are then what the proxy puts there. Defaults to none.
	ExternalURL string

	// Tag is what the signature for this server has as its tag, so that it is told
	// from those of proxies and other services. A request without one of this tag
	// carries no credential. Defaults to any.
	Tag string
	// Label is the name of the signature for this server. A request without one of
	// this label carries no credential. Defaults to any; a request then has one
	// signature (of the Tag).
	Label string

	// Covered are components that a signature must cover besides those it always
	// must: see the package's documentation. Names of fields are in lower case; a
	// request without such a field is refused. Defaults to none.
	Covered []string
	// MaxBody is how many bytes of a body are read to check its digest. Defaults to
	// 1 MiB.
	MaxBody int64
	// InsecureRepeatable accepts the same signed request again and again for as long
	// as it is fresh, and asks for no nonce: who reads one on its way can repeat it.
	// Defaults to off.
	InsecureRepeatable bool
}

// Check returns what is wrong with the options, all faults joined, each naming the
// field and saying what to do. [New] panics with it.
func (o Options) Check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("httpsig: Options."+field+" "+format, args...))
	}
	if len(o.Hosts) == 0 && o.ExternalURL == "" {
		bad("Hosts", "is empty: name the hosts that clients send requests to, such as api.example.com")
	}
	for i, host := range o.Hosts {
		if _, err := parseSite(host); err != nil {
			bad(fmt.Sprintf("Hosts[%d]", i), "%w", err)
		}
	}
	if o.ExternalURL != "" {
		if s, err := parseSite(o.ExternalURL); err != nil {
			bad("ExternalURL", "%w", err)
		} else if s.scheme == "" {
			bad("ExternalURL", "%q has no scheme: write it as https://api.example.com", o.ExternalURL)
		}
	}
	checkNames(bad, o.Tag, o.Label, o.Covered)
	if o.MaxBody < 0 {
		bad("MaxBody", "%d is less than no byte: leave it 0 for 1 MiB", o.MaxBody)
	}
	return errors.Join(errs...)
}

// checkNames checks what the two sides of a signature have in common.
func checkNames(bad func(field, format string, args ...any), tag, label string, covered []string) {
	if len(tag) > 64 || strings.IndexFunc(tag, func(c rune) bool { return c < ' ' || c > '~' }) >= 0 {
		bad("Tag", "%q cannot be written: use at most 64 characters of ASCII", clip(tag))
	}
	if s := (scanner{text: label}); label != "" {
		if _, ok := s.key(); !ok || !s.done() || len(label) > 64 {
			bad("Label", "%q is no label: use at most 64 of a-z 0-9 _ - . * and begin with a letter", clip(label))
		}
	}
	for i, name := range covered {
		field := fmt.Sprintf("Covered[%d]", i)
		switch {
		case slices.Contains(derived, name):
		case !isFieldName(name) || strings.HasPrefix(name, "@"):
			bad(field, "%q is no component: use names of fields in lower case, or any of %s", clip(name), strings.Join(derived, " "))
		case name == "signature" || name == "signature-input":
			bad(field, "%q cannot be covered by itself: leave it out", name)
		}
		if slices.Contains(covered[:i], name) {
			bad(field, "%q is there twice: remove one", clip(name))
		}
	}
}

// site is a host, and the scheme by which clients reach it: "" = that of the
// connection.
type site struct{ scheme, host string }

func parseSite(text string) (site, error) {
	full := text
	if !strings.Contains(text, "://") {
		full = "//" + text
	}
	u, err := url.Parse(full)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || strings.ContainsAny(u.Host, "*%") || strings.HasSuffix(u.Host, ":"):
		return site{}, fmt.Errorf("%q is no host: write one such as api.example.com or api.example.com:8443", clip(text))
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return site{}, fmt.Errorf("%q has another scheme than http and https", clip(text))
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "" || strings.Contains(text, "#"):
		return site{}, fmt.Errorf("%q has more than a scheme, a host and a port: remove the rest", clip(text))
	}
	return site{u.Scheme, strings.ToLower(u.Host)}, nil
}
