package httpsig

import (
	"strconv"
	"strings"
)

// itemKind is the type of a bare item (RFC 8941, section 3.3).
type itemKind byte

const (
	kindInteger itemKind = iota + 1
	kindDecimal
	kindString
	kindToken
	kindBytes
	kindBoolean
)

// item is a bare item: the characters of a string, of all else the text as it
// stands there.
type item struct {
	kind itemKind
	text string
}

// param is a parameter, in the order in which it came. One without a value is true.
type param struct {
	name string
	item
}

// scanner reads structured fields (RFC 8941, section 4.2): as much of them as the
// fields of a signature need, without a map for each component and refusing names
// that come twice. Each method returns false where the text is not well formed.
type scanner struct {
	text string
	pos  int
}

func (s *scanner) done() bool { return s.pos == len(s.text) }

// is reports whether c comes next, and passes it.
func (s *scanner) is(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) spaces() {
	for s.is(' ') {
	}
}

// white passes optional white space, in which tabs count too.
func (s *scanner) white() {
	for s.is(' ') || s.is('\t') {
	}
}

// while passes all characters of which ok is true, and returns them.
func (s *scanner) while(ok func(byte) bool) string {
	from := s.pos
	for s.pos < len(s.text) && ok(s.text[s.pos]) {
		s.pos++
	}
	return s.text[from:s.pos]
}

// more passes the comma between members of a dictionary, and reports whether
// another member comes. A comma at the end is a fault: ok is false.
func (s *scanner) more() (more, ok bool) {
	s.white()
	if s.done() {
		return false, true
	}
	if !s.is(',') {
		return false, false
	}
	s.white()
	return true, !s.done()
}

// key reads the name of a member or of a parameter.
func (s *scanner) key() (string, bool) {
	if s.done() || !isLower(s.text[s.pos]) && s.text[s.pos] != '*' {
		return "", false
	}
	return s.while(func(c byte) bool {
		return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
	}), true
}

// params reads parameters and appends them to list. No name comes twice.
func (s *scanner) params(list []param, most int) ([]param, bool) {
	from := len(list)
	for s.is(';') {
		s.spaces()
		p := param{item: item{kindBoolean, "?1"}}
		var ok bool
		if p.name, ok = s.key(); !ok || len(list)-from == most {
			return list, false
		}
		for _, before := range list[from:] {
			if before.name == p.name {
				return list, false
			}
		}
		if s.is('=') {
			if p.item, ok = s.bareItem(); !ok {
				return list, false
			}
		}
		list = append(list, p)
	}
	return list, true
}

func (s *scanner) bareItem() (item, bool) {
	if s.done() {
		return item{}, false
	}
	switch c := s.text[s.pos]; {
	case c == '"':
		return s.quoted()
	case c == ':':
		return s.bytes()
	case c == '?':
		s.pos++
		return item{kindBoolean, s.text[s.pos-1 : min(s.pos+1, len(s.text))]}, s.is('0') || s.is('1')
	case c == '-' || isDigit(c):
		return s.number()
	case c == '*' || isLower(c|0x20):
		return item{kindToken, s.while(func(c byte) bool { return isTokenChar(c) || c == ':' || c == '/' })}, true
	}
	return item{}, false
}

func (s *scanner) quoted() (item, bool) {
	s.pos++
	from, escaped := s.pos, false
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch {
		case c == '"':
			text := s.text[from : s.pos-1]
			if escaped {
				text = unescape.Replace(text)
			}
			return item{kindString, text}, true
		case c == '\\':
			escaped = true
			if !s.is('"') && !s.is('\\') {
				return item{}, false
			}
		case c < ' ' || c > '~':
			return item{}, false
		}
	}
	return item{}, false
}

// unescape reads from left to right, as a scanner does.
var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

// bytes reads a byte sequence and returns its base64, well formed with its padding
// but not decoded.
func (s *scanner) bytes() (item, bool) {
	s.pos++
	from := s.pos
	s.while(func(c byte) bool { return isLower(c|0x20) || isDigit(c) || c == '+' || c == '/' })
	padding := len(s.while(func(c byte) bool { return c == '=' }))
	text := s.text[from:s.pos]
	return item{kindBytes, text}, s.is(':') && len(text)%4 == 0 && padding <= 2
}

func (s *scanner) number() (item, bool) {
	from := s.pos
	s.is('-')
	whole := s.while(isDigit)
	if !s.is('.') {
		return item{kindInteger, s.text[from:s.pos]}, whole != "" && len(whole) <= 15
	}
	fraction := s.while(isDigit)
	return item{kindDecimal, s.text[from:s.pos]}, whole != "" && len(whole) <= 12 && fraction != "" && len(fraction) <= 3
}

// appendItem writes a string or an integer, the two that parameters of a signature
// are, in the one way to write it (RFC 8941, section 4.1).
func appendItem(b []byte, it item) []byte {
	if it.kind == kindInteger {
		n, _ := strconv.ParseInt(it.text, 10, 64) // at most 15 digits
		return strconv.AppendInt(b, n, 10)
	}
	b = append(b, '"')
	for i := range len(it.text) {
		if c := it.text[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, it.text[i])
	}
	return append(b, '"')
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isTokenChar is for tchar of RFC 9110, section 5.6.2.
func isTokenChar(c byte) bool {
	return isLower(c|0x20) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
