package storetest

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// epoch is when the suite's tokens are made: microseconds matter.
var epoch = time.Date(2026, 2, 28, 23, 59, 59, 999_999_000, time.UTC)

var ids atomic.Int64

// newID returns an ID that no token has yet. Later ones sort later.
func newID() apitoken.ID {
	n := fmt.Sprintf("%010d", ids.Add(1))
	return apitoken.ID("Suite" + strings.Repeat("z", 22-5-len(n)) + n)
}

// plain returns the simplest record: what an Issue with a name makes.
func plain(tenant string) *apitoken.Record {
	return &apitoken.Record{
		Token: apitoken.Token{
			ID: newID(), Version: 1, Tenant: tenant, Kind: apitoken.DefaultKind,
			Name: "plain", Hint: "acme_Suite", Owner: "ann", Creator: "ann",
			State: apitoken.StateActive, StateAt: epoch, Share: 100,
			CreatedAt: epoch, UpdatedAt: epoch,
		},
		Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: []byte{0, 1, 254, 255}},
		Op:      "first",
	}
}

// next returns rec as its owner would write it next.
func next(rec *apitoken.Record) *apitoken.Record {
	n := rec.Clone()
	n.Token.Version++
	n.Op = fmt.Sprintf("%s+%d", n.Op, n.Token.Version)
	return n
}

// eventsOf returns n events of the record's version.
func eventsOf(rec *apitoken.Record, n int) []apitoken.Event {
	var out []apitoken.Event
	for i := range n {
		out = append(out, apitoken.Event{
			ID:   fmt.Sprintf("%s.%d.%d", rec.Token.ID, rec.Token.Version, i),
			Type: apitoken.EventEdited, Message: "API Token updated", Category: apitoken.EventCategory,
			Time: epoch.Add(time.Duration(rec.Token.Version) * time.Second), Tenant: rec.Token.Tenant,
			Actor:   apitoken.Party{Type: apitoken.PartyUser, ID: "ann"},
			Target:  apitoken.Target{Token: rec.Token.ID, Name: rec.Token.Name, Kind: rec.Token.Kind},
			Version: rec.Token.Version, Ordinal: i,
		})
	}
	return out
}

// full returns a record with every exported field set, those of its parts too,
// so that a field a store forgets is seen, also one that is added to the type
// later. Different variants differ in every field.
func full(t *testing.T, variant int) *apitoken.Record {
	t.Helper()
	rec := new(apitoken.Record)
	fill(t, variant, rec)
	rec.Token.ID, rec.Token.Version = newID(), 1
	return rec
}

// fill sets every exported field that ptr points to.
func fill(t *testing.T, variant int, ptr any) {
	t.Helper()
	f := filler{t: t, variant: variant}
	f.set(reflect.ValueOf(ptr).Elem(), "")
}

type filler struct {
	t       *testing.T
	variant int
	n       int
}

func (f *filler) set(v reflect.Value, path string) {
	f.t.Helper()
	f.n++
	n := int64(f.n + 1000*f.variant)
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(epoch.Add(time.Duration(n) * (time.Hour + time.Microsecond))))
		return
	case time.Duration:
		v.SetInt(n * int64(time.Minute+time.Microsecond))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, byte(f.variant), byte(f.n >> 8), byte(f.n)})))
		return
	case netip.Prefix:
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(f.variant), byte(f.n)})
		v.Set(reflect.ValueOf(netip.PrefixFrom(addr, 48)))
		return
	case []byte:
		v.SetBytes([]byte{0, 255, '\'', byte(f.variant), byte(f.n >> 8), byte(f.n)})
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s ü%%'\"\\ %d", v.Type().Name(), n))
	case reflect.Bool:
		v.SetBool(f.variant%2 == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(n%90 + int64(f.variant) + 1)
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				f.set(v.Field(i), path+"."+field.Name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			f.set(v.Index(i), path)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.set(key, path)
			f.set(value, path)
			v.SetMapIndex(key, value)
		}
	default:
		f.t.Fatalf("%s is of type %s, which storetest cannot fill: teach it how", path, v.Type())
	}
}

// kept is what is stored after a Swap of next over old.
func kept(old, next *apitoken.Record) *apitoken.Record {
	want := next.Clone()
	t, was := &want.Token, &old.Clone().Token
	t.Tenant, t.Kind, t.Creator, t.CreatedAt, t.Usage = was.Tenant, was.Kind, was.Creator, was.CreatedAt, was.Usage
	want.IdempotencyKey, want.IssueSum = old.IdempotencyKey, old.IssueSum
	return want
}
