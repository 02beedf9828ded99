package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// families are errors that an outage is not, beside ErrNotFound.
var families = []error{
	apitoken.ErrUnauthenticated, apitoken.ErrForbidden, apitoken.ErrRateLimited,
	apitoken.ErrInvalid, apitoken.ErrConflict,
}

// fail reports what was seen, and the sentence it breaks.
func (c clause) fail(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf("%s\n\tthe contract says: %s", fmt.Sprintf(format, args...), string(c))
}

// ok stops the test on an error.
func (c clause) ok(t *testing.T, err error, what string) {
	t.Helper()
	if err != nil {
		c.fail(t, "%s: %v", what, err)
		t.FailNow()
	}
}

// is demands an error of a family.
func (c clause) is(t *testing.T, err, family error, what string) {
	t.Helper()
	if !errors.Is(err, family) {
		c.fail(t, "%s: got error %v, want %v", what, err, family)
	}
}

// outage demands an error that is no answer.
func (c clause) outage(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil {
		c.fail(t, "%s: no error", what)
	}
	if errors.Is(err, apitoken.ErrNotFound) {
		notFoundIsNo.fail(t, "%s: got error %v", what, err)
	}
	for _, family := range families {
		if errors.Is(err, family) {
			outageIsOther.fail(t, "%s: %v is %v", what, err, family)
		}
	}
}

// duplicate demands a *DuplicateError.
func (c clause) duplicate(t *testing.T, err error, field string, existing apitoken.ID, what string) {
	t.Helper()
	dup, ok := errors.AsType[*apitoken.DuplicateError](err)
	if !ok || dup.Field != field {
		c.fail(t, "%s: got error %v, want a *DuplicateError for the %s", what, err, field)
		return
	}
	if dup.Existing != existing && (dup.Existing != "" || field == "idempotency key") {
		duplicateTells.fail(t, "%s: Existing is %q, want %q", what, dup.Existing, existing)
	}
}

// same demands equal values, field by field.
func (c clause) same(t *testing.T, got, want any, what string) {
	t.Helper()
	for _, d := range differences(got, want) {
		c.fail(t, "%s: %s", what, d)
	}
}

// differences compares exported fields, however deep. A nil list and an empty
// one are the same; instants are equal when they are the same moment and in UTC.
func differences(got, want any) []string {
	var out []string
	compare("", reflect.ValueOf(got), reflect.ValueOf(want), &out)
	return out
}

func compare(path string, got, want reflect.Value, out *[]string) {
	if got.IsValid() != want.IsValid() || got.IsValid() && got.Type() != want.Type() {
		*out = append(*out, fmt.Sprintf("%s is %v, want %v", path, got, want))
		return
	}
	if !got.IsValid() {
		return
	}
	differ := func() { *out = append(*out, fmt.Sprintf("%s is %#v, want %#v", path, got, want)) }
	switch g := got.Interface().(type) {
	case time.Time:
		if w := want.Interface().(time.Time); !g.Equal(w) || g.Location() != time.UTC {
			*out = append(*out, fmt.Sprintf("%s is %v, want %v", path, g, w))
		}
		return
	case netip.Addr, netip.Prefix:
		if g != want.Interface() {
			*out = append(*out, fmt.Sprintf("%s is %v, want %v", path, g, want))
		}
		return
	case []byte:
		if !bytes.Equal(g, want.Bytes()) {
			differ()
		}
		return
	}
	switch got.Kind() {
	case reflect.Pointer:
		if got.IsNil() || want.IsNil() {
			if got.IsNil() != want.IsNil() {
				differ()
			}
			return
		}
		compare(path, got.Elem(), want.Elem(), out)
	case reflect.Struct:
		for i := range got.NumField() {
			f := got.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			at := f.Name
			if path != "" {
				at = path + "." + at
			}
			compare(at, got.Field(i), want.Field(i), out)
		}
	case reflect.Slice:
		if got.Len() != want.Len() {
			*out = append(*out, fmt.Sprintf("%s has %d elements, want %d: %.500s, want %.500s", path, got.Len(), want.Len(), fmt.Sprint(got), fmt.Sprint(want)))
			return
		}
		for i := range got.Len() {
			compare(fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i), out)
		}
	case reflect.Map:
		if got.Len() != want.Len() {
			differ()
			return
		}
		for _, key := range want.MapKeys() {
			compare(fmt.Sprintf("%s[%v]", path, key), got.MapIndex(key), want.MapIndex(key), out)
		}
	default:
		if !got.Equal(want) {
			differ()
		}
	}
}
