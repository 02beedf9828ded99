package jws

import (
	"encoding/json"
	"strconv"
)

// Object is one JSON object, read strictly. Names are compared exactly, by case
// too. It shares the memory of the text that it was read from.
type Object struct {
	members []member
}

type member struct {
	name  []byte // unescaped
	value []byte // as written
}

// Len returns the number of members.
func (o Object) Len() int { return len(o.members) }

// Has reports whether there is a member of that name, whatever its value.
func (o Object) Has(name string) bool {
	_, ok := o.Raw(name)
	return ok
}

// Raw returns a member's value as it was written, byte for byte, without the white
// space around it.
func (o Object) Raw(name string) (json.RawMessage, bool) {
	for i := range o.members {
		if string(o.members[i].name) == name {
			return o.members[i].value, true
		}
	}
	return nil, false
}

// String returns a member that is a string. Errors are [ErrMissing] and
// [ErrNotText].
func (o Object) String(name string) (string, error) {
	raw, ok := o.Raw(name)
	if !ok {
		return "", ErrMissing.of(name)
	}
	if raw[0] != '"' {
		return "", ErrNotText.of(name)
	}
	return string(unquote(raw)), nil
}

// Strings returns a member that is a string or an array of strings, as the
// audience of a JWT may be (RFC 7519, 4.1.3). Errors are [ErrMissing] and
// [ErrNotText].
func (o Object) Strings(name string) ([]string, error) {
	raw, ok := o.Raw(name)
	switch {
	case !ok:
		return nil, ErrMissing.of(name)
	case raw[0] == '"':
		return []string{string(unquote(raw))}, nil
	case raw[0] != '[':
		return nil, ErrNotText.of(name)
	}
	// The scanner has accepted the array: it only needs to be cut.
	list := []string{}
	s := scanner{data: raw, pos: 1}
	for s.space(); s.data[s.pos] != ']'; s.space() {
		if s.data[s.pos] == ',' {
			s.pos++
			continue
		}
		start := s.pos
		if s.data[start] != '"' || s.text() != nil {
			return nil, ErrNotText.of(name)
		}
		list = append(list, string(unquote(raw[start:s.pos])))
	}
	return list, nil
}

// Int returns a member that is a JSON number without fraction and exponent and fits
// 64 bits. Errors are [ErrMissing] and [ErrNotInteger].
func (o Object) Int(name string) (int64, error) {
	raw, ok := o.Raw(name)
	if !ok {
		return 0, ErrMissing.of(name)
	}
	return integer(raw, name)
}

// IntOrDigits is Int for a member that may be a string of digits too: published
// samples of the tunnel write issuedAt so.
func (o Object) IntOrDigits(name string) (int64, error) {
	raw, ok := o.Raw(name)
	if !ok {
		return 0, ErrMissing.of(name)
	}
	if raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
		// A number in JSON has no leading zero, and here no sign.
		if len(raw) == 0 || raw[0] == '-' || len(raw) > 1 && raw[0] == '0' {
			return 0, ErrNotInteger.of(name)
		}
	}
	return integer(raw, name)
}

func integer(raw []byte, name string) (int64, error) {
	for i, c := range raw {
		if (c < '0' || c > '9') && (c != '-' || i > 0) {
			return 0, ErrNotInteger.of(name)
		}
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, ErrNotInteger.of(name)
	}
	return n, nil
}
