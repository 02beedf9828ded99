package httpsig

import (
	"net/http"
	"strconv"
	"strings"
)

// maxBase bounds the signature base, in bytes.
const maxBase = 64 << 10

// message is a request, as far as components are made of it.
type message struct {
	method    string
	scheme    string
	authority string // lower case, without the default port
	target    string // as it was sent: a path and perhaps a query
	host      string // the field
	length    int64  // the field content-length, where header has none; 0 and -1 = it has none
	header    http.Header
}

// appendBase writes the signature base of the request (RFC 9421, section 2.5), and
// refuses by its name whatever cannot be signed or would be ambiguous.
func (m *message) appendBase(b []byte, components []component, params []param) ([]byte, error) {
	for i, c := range components {
		if c.params > 0 {
			return nil, malformed("component %q has parameters, none are supported", clip(c.name))
		}
		for _, before := range components[:i] {
			if before.name == c.name {
				return nil, malformed("component %q is covered twice", clip(c.name))
			}
		}
		b = append(b, '"')
		b = append(b, c.name...)
		b = append(b, `": `...)
		from := len(b)
		var err error
		if b, err = m.appendValue(b, c.name); err != nil {
			return nil, err
		}
		for _, c := range b[from:] {
			// A line break would begin a component that nobody sent.
			if c < ' ' && c != '\t' || c == 0x7f {
				return nil, malformed("component %q holds a control character", clip(components[i].name))
			}
		}
		b = append(b, '\n')
		if len(b) > maxBase {
			return nil, malformed("what is covered has more than %d bytes", maxBase)
		}
	}
	b = append(b, `"@signature-params": `...)
	return appendParams(b, components, params), nil
}

// appendParams writes the member of Signature-Input that the components and
// parameters are.
func appendParams(b []byte, components []component, params []param) []byte {
	b = append(b, '(')
	for i, c := range components {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendItem(b, item{kindString, c.name})
	}
	b = append(b, ')')
	for _, p := range params {
		b = append(b, ';')
		b = append(b, p.name...)
		b = append(b, '=')
		b = appendItem(b, p.item)
	}
	return b
}

func (m *message) appendValue(b []byte, name string) ([]byte, error) {
	if strings.HasPrefix(name, "@") {
		return m.appendDerived(b, name)
	}
	return m.appendField(b, name)
}

// appendDerived writes a derived component (RFC 9421, section 2.2).
func (m *message) appendDerived(b []byte, name string) ([]byte, error) {
	path, query, _ := strings.Cut(m.target, "?")
	switch name {
	case "@method":
		b = append(b, m.method...)
	case "@authority":
		b = append(b, m.authority...)
	case "@scheme":
		b = append(b, m.scheme...)
	case "@target-uri":
		b = append(b, m.scheme...)
		b = append(b, "://"...)
		b = append(b, m.authority...)
		b = append(b, m.target...)
	case "@request-target":
		b = append(b, m.target...)
	case "@path":
		b = append(b, path...)
	case "@query":
		b = append(b, '?') // stands there even if there is none (section 2.2.7)
		b = append(b, query...)
	default:
		return nil, malformed("component %q is not supported in a request", clip(name))
	}
	return b, nil
}

// appendField writes the value of a field (RFC 9421, section 2.1): its lines
// without white space around them, joined.
func (m *message) appendField(b []byte, name string) ([]byte, error) {
	switch {
	case !isFieldName(name):
		return nil, malformed("component %q is no name of a field in lower case", clip(name))
	case name == "signature" || name == "signature-input":
		return nil, malformed("component %q cannot be covered by itself", name)
	case name == "host":
		return append(b, strings.TrimSpace(m.host)...), nil
	}
	lines := m.header[http.CanonicalHeaderKey(name)]
	if len(lines) == 0 && name == "content-length" && m.length > 0 {
		return strconv.AppendInt(b, m.length, 10), nil
	}
	if len(lines) == 0 {
		return nil, malformed("component %q is covered and the request has no such field", clip(name))
	}
	for i, line := range lines {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, strings.Trim(line, " \t")...)
	}
	return b, nil
}

// isFieldName reports whether name is a token of RFC 9110 without capitals.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isTokenChar(c) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return name != ""
}

// authority writes a host as @authority wants it (RFC 9421, section 2.2.3).
func authority(host, scheme string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}
