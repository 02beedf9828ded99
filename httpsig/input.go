package httpsig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
)

const (
	maxLabels     = 4
	maxComponents = 32
	maxFieldBytes = 8 << 10 // of all lines of one of the two fields
	maxParams     = 16
	maxNonce      = 256
)

// The algorithms of RFC 9421, section 3.3, that tokens have, and their names in
// JWS, which are those of the records.
const (
	algECDSA = "ecdsa-p256-sha256"
	algHMAC  = "hmac-sha256"
)

// malformed wraps [apitoken.ErrMalformedProof]: an operator reads what is wrong, the
// client does not.
func malformed(format string, args ...any) error {
	return fmt.Errorf("httpsig: "+format+": %w", append(args, apitoken.ErrMalformedProof)...)
}

// clip shortens what a client sent before it is quoted in an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// component is a covered component as it is named.
type component struct {
	name   string
	params int
}

// input is a member of Signature-Input: what a signature is over, and its
// parameters in the order in which they came.
type input struct {
	label      string
	broken     bool // it is no list of strings
	components []component
	params     []param
}

// tag returns the text of the tag, "" if there is none.
func (in *input) tag() string {
	p, _ := in.param("tag")
	return p.text
}

func (in *input) param(name string) (item, bool) {
	for _, p := range in.params {
		if p.name == name {
			return p.item, true
		}
	}
	return item{}, false
}

// joined returns all lines of a field as one (RFC 9110, section 5.2), which costs
// nothing for one line.
func joined(name string, lines []string) (string, error) {
	size := 0
	for _, line := range lines {
		size += len(line) + len(", ")
	}
	if size > maxFieldBytes {
		return "", malformed("%s has %d bytes, at most %d are read", name, size, maxFieldBytes)
	}
	return strings.Trim(strings.Join(lines, ", "), " "), nil
}

var errDictionary = errors.New("is no dictionary of structured fields, or names something twice")

// parseInputs reads Signature-Input (RFC 9421, section 4.1). What it returns is
// well formed, all labels differ; whether it makes sense is not looked at.
func parseInputs(text string) ([]input, error) {
	s := scanner{text: text}
	inputs := make([]input, 0, 1)
	for more := !s.done(); more; {
		if len(inputs) == maxLabels {
			return nil, fmt.Errorf("has more than %d signatures", maxLabels)
		}
		label, ok := s.key()
		if !ok {
			return nil, errDictionary
		}
		for i := range inputs {
			if inputs[i].label == label {
				return nil, errDictionary
			}
		}
		in := input{label: label}
		if err := s.member(&in); err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
		if more, ok = s.more(); !ok {
			return nil, errDictionary
		}
	}
	return inputs, nil
}

func (s *scanner) member(in *input) error {
	ok := true
	switch {
	case !s.is('='):
		in.broken = true
	case s.is('('):
		in.components = make([]component, 0, 8)
		for {
			s.spaces()
			if s.is(')') {
				break
			}
			if len(in.components) == maxComponents {
				return fmt.Errorf("covers more than %d components", maxComponents)
			}
			name, fine := s.bareItem()
			if !fine {
				return errDictionary
			}
			list, fine := s.params(nil, maxParams)
			if !fine || s.done() || s.text[s.pos] != ' ' && s.text[s.pos] != ')' {
				return errDictionary
			}
			in.broken = in.broken || name.kind != kindString
			in.components = append(in.components, component{name.text, len(list)})
		}
	default:
		in.broken = true
		_, ok = s.bareItem()
	}
	if !ok {
		return errDictionary
	}
	if in.params, ok = s.params(make([]param, 0, 6), maxParams); !ok {
		return errDictionary
	}
	return nil
}

// choose returns the signature that is for this server: by its tag, by its label,
// or the only one there is. nil = there is none, all are for somebody else. Two
// are one too many: two parties might each believe another.
func choose(inputs []input, tag, label string) (*input, error) {
	var chosen *input
	for i := range inputs {
		in := &inputs[i]
		if tag != "" && in.tag() != tag || label != "" && in.label != label {
			continue
		}
		if chosen != nil {
			return nil, malformed("Signature-Input has more than one signature that may be meant: set Options.Tag or Options.Label, and send one")
		}
		chosen = in
	}
	return chosen, nil
}

// fill puts the parameters into a proof (RFC 9421, section 2.3).
func (in *input) fill(p *apitoken.Proof) error {
	if in.broken {
		return malformed("signature %q covers something other than names in quotes", clip(in.label))
	}
	for _, param := range in.params {
		want := kindString
		switch param.name {
		case "created", "expires":
			want = kindInteger
		case "keyid", "alg", "nonce", "tag":
		default:
			return malformed("parameter %q is not known", clip(param.name))
		}
		if param.kind != want || want == kindInteger && param.text[0] == '-' {
			return malformed("parameter %q is not of its type", param.name)
		}
		switch param.name {
		case "created":
			p.Created = unix(param.text)
		case "expires":
			p.Expires = unix(param.text)
		case "keyid":
			p.Token = apitoken.ID(param.text)
		case "nonce":
			p.Nonce = param.text
		case "alg":
			switch param.text {
			case algECDSA:
				p.Algorithm = apitoken.AlgorithmES256
			case algHMAC:
				p.Algorithm = apitoken.AlgorithmHS256
			default:
				return fmt.Errorf("httpsig: alg %q is neither %s nor %s: %w", clip(param.text), algECDSA, algHMAC, apitoken.ErrAlgorithm)
			}
		}
	}
	switch {
	case p.Created.IsZero():
		return malformed("parameter created is missing")
	case p.Token == "":
		return malformed("parameter keyid is missing: it is the token's ID")
	case !p.Expires.IsZero() && p.Expires.Before(p.Created):
		return malformed("parameter expires is before created")
	case len(p.Nonce) > maxNonce:
		return malformed("parameter nonce has %d bytes, at most %d are allowed", len(p.Nonce), maxNonce)
	}
	return nil
}

// unix is for an integer of at most 15 digits.
func unix(text string) time.Time {
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Unix(n, 0)
}

var errBytes = errors.New("is no dictionary of byte sequences, has more than 4, or names one twice")

// parseSignature returns the bytes that Signature has under a label (RFC 9421,
// section 4.2).
func parseSignature(text, label string) ([]byte, error) {
	s := scanner{text: text}
	var found string
	var labels [maxLabels]string
	n := 0
	for more := !s.done(); more; n++ {
		name, ok := s.key()
		if !ok || n == maxLabels || !s.is('=') {
			return nil, malformed("Signature %w", errBytes)
		}
		for _, before := range labels[:n] {
			ok = ok && before != name
		}
		labels[n] = name
		value, fine := s.bareItem()
		if _, plain := s.params(nil, maxParams); !ok || !fine || !plain || value.kind != kindBytes {
			return nil, malformed("Signature %w", errBytes)
		}
		if name == label {
			found = value.text
		}
		if more, ok = s.more(); !ok {
			return nil, malformed("Signature %w", errBytes)
		}
	}
	if found == "" {
		return nil, malformed("Signature has nothing under the label %q", clip(label))
	}
	// One byte string has one text.
	signature, err := base64.StdEncoding.Strict().DecodeString(found)
	if err != nil {
		return nil, malformed("Signature is not base64 with padding")
	}
	return signature, nil
}
