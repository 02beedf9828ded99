package httpsig

import (
	"fmt"
	"net/http"
)

// Base returns the signature base of the request's only signature, and that
// signature, without asking what it covers.
func (r *Reader) Base(req *http.Request) (base, signature []byte, err error) {
	text, err := joined("Signature-Input", req.Header["Signature-Input"])
	if err != nil {
		return nil, nil, err
	}
	inputs, err := parseInputs(text)
	if err != nil {
		return nil, nil, err
	}
	if len(inputs) != 1 || inputs[0].broken {
		return nil, nil, fmt.Errorf("%d signatures", len(inputs))
	}
	m, err := r.message(req)
	if err != nil {
		return nil, nil, err
	}
	if base, err = m.appendBase(nil, inputs[0].components, inputs[0].params); err != nil {
		return nil, nil, err
	}
	signature, err = parseSignature(req.Header.Get("Signature"), inputs[0].label)
	return base, signature, err
}

// ParseInputs returns, of each member of Signature-Input that covers names, its
// label and the text that stands for it in a signature base.
func ParseInputs(text string) (labels, members []string, err error) {
	inputs, err := parseInputs(text)
	for _, in := range inputs {
		labels = append(labels, in.label)
		member := ""
		if !in.broken && plain(&in) {
			member = string(appendParams(nil, in.components, in.params))
		}
		members = append(members, member)
	}
	return labels, members, err
}

func plain(in *input) bool {
	for _, c := range in.components {
		if c.params > 0 {
			return false
		}
	}
	for _, p := range in.params {
		if p.kind != kindString && p.kind != kindInteger {
			return false
		}
	}
	return true
}
