package httpauth

import (
	"bytes"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tokenry/apitoken/internal/jws"
)

// tunnelled is a request that the signed fields of a JWS describe.
type tunnelled struct {
	method      string
	contentType string
	target      string // as in a request line
	url         *url.URL
	body        []byte
}

// readHeader reads all but the body. content-type and query-string may be missing.
func (c *tunnelled) readHeader(header jws.Object) error {
	var err error
	if c.method, err = header.String("method"); err != nil {
		return malformed("header: %w", err)
	}
	uri, err := header.String("uri")
	if err != nil {
		return malformed("header: %w", err)
	}
	if c.contentType, err = optionalText(header, "content-type"); err != nil {
		return err
	}
	query, err := optionalText(header, "query-string")
	if err != nil {
		return err
	}
	if len(c.contentType) > maxTunnelContentType || strings.IndexFunc(c.contentType, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return malformed("header: content-type needs at most %d printable ASCII characters", maxTunnelContentType)
	}
	return c.readTarget(uri, query)
}

func optionalText(header jws.Object, name string) (string, error) {
	if !header.Has(name) {
		return "", nil
	}
	text, err := header.String(name)
	if err != nil {
		return "", malformed("header: %w", err)
	}
	return text, nil
}

// readTarget makes the request target. What differs between two readers of a path
// is refused: whoever routes the request must see what was signed.
func (c *tunnelled) readTarget(uri, query string) error {
	switch {
	case uri == "" || uri[0] != '/':
		return malformed("header: uri must begin with a slash")
	case len(uri) > maxTunnelURI:
		return malformed("header: uri has %d bytes, %d are possible", len(uri), maxTunnelURI)
	case !isTargetText(uri, `?#\`):
		return malformed("header: uri needs ASCII without spaces, control characters, ?, # and backslash: percent-encode them")
	}
	decoded, err := url.PathUnescape(uri)
	switch {
	case err != nil:
		return malformed("header: uri has a percent sign without two hexadecimal digits")
	case !utf8.ValidString(decoded) || strings.ContainsFunc(decoded, unicode.IsControl) || strings.Contains(decoded, `\`):
		return malformed("header: uri hides control characters, a backslash or what is not UTF-8")
	case strings.HasPrefix(decoded, "//"):
		return malformed("header: uri must begin with one slash")
	case hasDots(decoded):
		return malformed("header: uri has a segment of dots")
	}
	if _, err := url.QueryUnescape(query); err != nil || !isTargetText(query, "#") || strings.HasPrefix(query, "?") {
		return malformed("header: query-string needs k=v&k=v, percent-encoded, without a question mark in front")
	}
	c.target = uri
	if query != "" {
		c.target += "?" + query
	}
	if c.url, err = url.ParseRequestURI(c.target); err != nil || c.url.Path != decoded || c.url.RawQuery != query || c.url.Host != "" {
		return malformed("header: uri and query-string are no request target")
	}
	return nil
}

// isTargetText reports whether s is visible ASCII without any of these characters.
func isTargetText(s, without string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(without, r) }) < 0
}

// hasDots reports whether a path has a segment of one or two dots.
func hasDots(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// leadsTo reports whether the request would come to where outer came: its own path
// or, where something in front has rewritten that, the path it was sent to.
func (c *tunnelled) leadsTo(outer *http.Request) bool {
	clean := cleanPath(c.url.Path)
	if clean == cleanPath(outer.URL.Path) {
		return true
	}
	if outer.RequestURI == outer.URL.Path {
		return false
	}
	sent, err := url.ParseRequestURI(outer.RequestURI)
	return err == nil && clean == cleanPath(sent.Path)
}

func cleanPath(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	return path.Clean(p)
}

// readPayload takes the body out of the payload, byte for byte as it stands there.
func (c *tunnelled) readPayload(payload []byte) error {
	o, err := jws.ParseObject(payload)
	if err != nil {
		return malformed("payload: %w", err)
	}
	data, ok := o.Raw("data")
	if !ok && o.Len() > 0 || o.Len() > 1 {
		return malformed("payload: it may have the member data and no other")
	}
	if !ok || isEmptyData(data) {
		return nil
	}
	c.body = data
	return nil
}

// isEmptyData reports whether the member stands for a request without a body: "" or
// an object without members. It is valid JSON.
func isEmptyData(data []byte) bool {
	return string(data) == `""` || data[0] == '{' && len(bytes.Trim(data[1:len(data)-1], " \t\r\n")) == 0
}
