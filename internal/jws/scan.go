package jws

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxDepth   = 32
	maxMembers = 64 // of the outermost object
	fewNames   = 16 // compared one by one; more are looked up
)

// ParseObject reads one JSON object (RFC 8259), strictly: UTF-8 without a byte-order
// mark, escapes of surrogates in pairs, at any depth no name twice (compared after
// unescaping), nothing but white space around it, at most 64 members, and 32 levels
// deep. Errors are [ErrUTF8], [ErrJSON], [ErrNotObject], [ErrDuplicate],
// [ErrTooDeep] and [ErrTooMany].
//
// The Object shares the memory of data, which must not be changed.
func ParseObject(data []byte) (Object, error) {
	if !utf8.Valid(data) {
		return Object{}, ErrUTF8
	}
	s := scanner{data: data}
	s.space()
	if s.peek() != '{' {
		return Object{}, ErrNotObject
	}
	// Most headers have fewer members.
	o := Object{members: make([]member, 0, 10)}
	if err := s.object(1, &o); err != nil {
		return Object{}, err
	}
	s.space()
	if s.pos < len(data) {
		return Object{}, ErrNotObject
	}
	return o, nil
}

// scanner walks over JSON that is valid UTF-8.
type scanner struct {
	data []byte
	pos  int
	// names are those of the objects that are open, but the outermost: each
	// object takes its own off at its end.
	names [][]byte
}

// peek returns the next byte, 0 at the end: no JSON has a bare 0.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// object reads an object, and its members into o unless it is nil.
func (s *scanner) object(depth int, o *Object) error {
	if depth > maxDepth {
		return ErrTooDeep
	}
	outer := len(s.names)
	defer func() { s.names = s.names[:outer] }()
	var many map[string]struct{}

	s.pos++
	if s.space(); s.peek() == '}' {
		s.pos++
		return nil
	}
	for n := 0; ; n++ {
		s.space()
		if s.peek() != '"' {
			return ErrJSON
		}
		start := s.pos
		if err := s.text(); err != nil {
			return err
		}
		name := unquote(s.data[start:s.pos])
		if o != nil {
			if o.Has(string(name)) {
				return ErrDuplicate
			}
			if n == maxMembers {
				return ErrTooMany
			}
		} else if s.seen(name, outer, &many) {
			return ErrDuplicate
		}
		if s.space(); s.peek() != ':' {
			return ErrJSON
		}
		s.pos++
		s.space()
		start = s.pos
		if err := s.value(depth); err != nil {
			return err
		}
		if o != nil {
			o.members = append(o.members, member{name, s.data[start:s.pos:s.pos]})
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return ErrJSON
		}
	}
}

// seen adds a name to the innermost object, whose names begin at outer, and
// reports whether it was there already. The work does not grow with the square of
// the names.
func (s *scanner) seen(name []byte, outer int, many *map[string]struct{}) bool {
	if *many != nil {
		if _, found := (*many)[string(name)]; found {
			return true
		}
		(*many)[string(name)] = struct{}{}
		return false
	}
	for _, other := range s.names[outer:] {
		if bytes.Equal(other, name) {
			return true
		}
	}
	if s.names = append(s.names, name); len(s.names)-outer == fewNames {
		*many = make(map[string]struct{}, 4*fewNames)
		for _, other := range s.names[outer:] {
			(*many)[string(other)] = struct{}{}
		}
	}
	return false
}

func (s *scanner) value(depth int) error {
	switch c := s.peek(); c {
	case '"':
		return s.text()
	case '{':
		return s.object(depth+1, nil)
	case '[':
		return s.array(depth + 1)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return ErrTooDeep
	}
	s.pos++
	if s.space(); s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return ErrJSON
		}
	}
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return ErrJSON
	}
	s.pos += len(w)
	return nil
}

// number reads what RFC 8259, section 6, calls a number.
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return ErrJSON
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return ErrJSON
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return ErrJSON
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

// text reads a string.
func (s *scanner) text() error {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c < ' ':
			return ErrJSON
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return ErrJSON
}

// escape reads an escape sequence, and both of a surrogate pair, up to its last
// byte.
func (s *scanner) escape() error {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return ErrJSON
	}
	r, ok := hexRune(s.data[s.pos+1:])
	if !ok {
		return ErrJSON
	}
	s.pos += 4
	if !utf16.IsSurrogate(r) {
		return nil
	}
	rest := s.data[s.pos+1:]
	if len(rest) < 2 || rest[0] != '\\' || rest[1] != 'u' {
		return ErrUTF8
	}
	low, ok := hexRune(rest[2:])
	if !ok {
		return ErrJSON
	}
	if utf16.DecodeRune(r, low) == utf8.RuneError {
		return ErrUTF8
	}
	s.pos += 6
	return nil
}

// hexRune reads four hexadecimal digits.
func hexRune(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unquote returns what a string that the scanner accepted stands for; without
// escapes, that is part of raw.
func unquote(raw []byte) []byte {
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hexRune(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hexRune(raw[i+3:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out
}
