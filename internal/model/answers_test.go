package model_test

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/tokenry/apitoken"
)

// answer is what a call said, or what a look at the store showed.
type answer struct {
	what  string
	value any
	err   error
}

// letIn is all that a verified request can be asked.
type letIn struct {
	Principal   apitoken.Principal
	Permissions []string
	Resources   apitoken.Resources
	Name, Team  string
	ExpiresAt   time.Time
}

// begin forgets what the action before left.
func (m *machine) begin() {
	m.calls, m.answers = nil, nil
	m.roll()
}

func (m *machine) answer(what string, value any, err error) {
	m.answers = append(m.answers, answer{what, value, err})
}

// gather returns all that is yielded before an error.
func gather[V any](all iter.Seq2[V, error]) ([]V, error) {
	var out []V
	for v, err := range all {
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// same requires that the action got the same answers as of the first machine, and
// asked the same of the store.
func (t *choices) same() {
	t.sameSoFar()
	first, m := t.first, t.m
	if !slices.Equal(first.calls, m.calls) {
		t.Fatalf("the calls of the store are not those of %s: %v, not %v", first.name, m.calls, first.calls)
	}
	if len(first.answers) != len(m.answers) || t.used != len(t.made) {
		t.Fatalf("gave %d answers after %d choices, %s gave %d after %d", len(m.answers), t.used, first.name, len(first.answers), len(t.made))
	}
}

// sameSoFar is same in the middle of an action.
func (t *choices) sameSoFar() {
	first, m := t.first, t.m
	for i := range min(len(first.answers), len(m.answers)) {
		a, b := first.answers[i], m.answers[i]
		if a.what != b.what {
			t.Fatalf("comes to %q, %s came to %q", b.what, first.name, a.what)
		}
		if errorWords(a.err) != errorWords(b.err) {
			t.Fatalf("%s: the error is %v, of %s it was %v", b.what, b.err, first.name, a.err)
		}
		if where := differ(reflect.ValueOf(&a.value).Elem(), reflect.ValueOf(&b.value).Elem()); where != "" {
			t.Fatalf("%s: the answer is not that of %s: it%s", b.what, first.name, where)
		}
	}
}

// whole are compared as they are, and not by their fields.
var whole = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix]()}

// differ returns where b, the answer of a later machine, is another than a, and
// how; "" = nowhere. A nil list and an empty one are the same, an instant is to be
// in UTC.
func differ(a, b reflect.Value) string {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return fmt.Sprintf(" is %v, not %v", b, a)
	}
	if !a.IsValid() {
		return ""
	}
	switch a.Kind() {
	case reflect.Interface, reflect.Pointer:
		if err, ok := a.Interface().(error); ok {
			other, _ := b.Interface().(error)
			return unlike(errorWords(err), errorWords(other))
		}
		return differ(a.Elem(), b.Elem())
	case reflect.Struct:
		if slices.Contains(whole, a.Type()) {
			return unlike(a.Interface(), b.Interface())
		}
		if a.Type() == reflect.TypeFor[apitoken.Secret]() {
			return unlike(a.Interface().(apitoken.Secret).Reveal(), b.Interface().(apitoken.Secret).Reveal())
		}
		for i := range a.NumField() {
			if !a.Field(i).CanInterface() {
				continue // not exported
			}
			if where := differ(a.Field(i), b.Field(i)); where != "" {
				return "." + a.Type().Field(i).Name + where
			}
		}
	case reflect.Slice:
		for i := range min(a.Len(), b.Len()) {
			if where := differ(a.Index(i), b.Index(i)); where != "" {
				return fmt.Sprintf("[%d]%s", i, where)
			}
		}
		if a.Len() != b.Len() {
			return fmt.Sprintf(" has %d elements, not %d", b.Len(), a.Len())
		}
	case reflect.Map:
		for _, key := range append(a.MapKeys(), b.MapKeys()...) {
			if where := differ(a.MapIndex(key), b.MapIndex(key)); where != "" {
				return fmt.Sprintf("[%v]%s", key, where)
			}
		}
	default:
		if !a.Equal(b) {
			return unlike(a.Interface(), b.Interface())
		}
	}
	return ""
}

func unlike(a, b any) string {
	if a == b {
		return ""
	}
	return fmt.Sprintf(" is %#v, not %#v", b, a)
}

// errorWords is what of an error does not depend on the store: its reason and,
// unless it is an outage, its text.
func errorWords(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, apitoken.ErrUnavailable) {
		return apitoken.ReasonOf(err)
	}
	return fmt.Sprintf("%s: %v", apitoken.ReasonOf(err), err)
}
