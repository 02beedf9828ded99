package model_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func TestDiffer(t *testing.T) {
	t.Parallel()
	noon := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	report := func(secret string, list []apitoken.ID, err error) apitoken.AgentReport {
		return apitoken.AgentReport{
			Issued:       apitoken.Issued{Secret: apitoken.NewSecret(secret)},
			ChangeReport: apitoken.ChangeReport{Changed: list, Failed: []apitoken.TokenFailure{{ID: "a", Err: err}}},
		}
	}
	outage := func(text string) error { return fmt.Errorf("%w: %s", apitoken.ErrUnavailable, text) }
	for _, tt := range []struct {
		name string
		a, b any
		want string
	}{
		{"nothing", nil, nil, ""},
		{"something and nothing", 1, nil, " is <invalid reflect.Value>, not 1"},
		{"types", 1, int64(1), " is 1, not 1"},
		{"instants in two zones", noon, noon.In(time.FixedZone("east", 3600)), " is "},
		{"no list and an empty one", report("s", nil, nil), report("s", []apitoken.ID{}, nil), ""},
		{"secrets", report("s", nil, nil), report("t", nil, nil), `.Issued.Secret is "t", not "s"`},
		{"a longer list", report("s", []apitoken.ID{"a"}, nil), report("s", []apitoken.ID{"a", "b"}, nil), ".ChangeReport.Changed has 2 elements, not 1"},
		{"another order", report("s", []apitoken.ID{"a", "b"}, nil), report("s", []apitoken.ID{"b", "a"}, nil), `.ChangeReport.Changed[0] is "b", not "a"`},
		{"no error", report("s", nil, apitoken.ErrNotFound), report("s", nil, nil), `.ChangeReport.Failed[0].Err is "", not "not_found`},
		{"families", report("s", nil, apitoken.ErrNotFound), report("s", nil, apitoken.ErrConflict), `.ChangeReport.Failed[0].Err is "conflict`},
		{"texts of outages", report("s", nil, outage("disk full")), report("s", nil, outage("no route")), ""},
		{"an error of nobody's", report("s", nil, outage("disk full")), report("s", nil, errors.New("disk full")), ".ChangeReport.Failed[0].Err is "},
		{"a pair more", map[string]int{"a": 1}, map[string]int{"a": 1, "b": 2}, "[b] is 2, not "},
		{"a pair less", map[string]int{"a": 1, "b": 2}, map[string]int{"a": 1}, "[b] is "},
		{"behind a pointer", &apitoken.Record{Op: "a"}, &apitoken.Record{Op: "b"}, `.Op is "b", not "a"`},
		{"no pointer", &apitoken.Record{}, (*apitoken.Record)(nil), " is "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := differ(reflect.ValueOf(&tt.a).Elem(), reflect.ValueOf(&tt.b).Elem())
			if tt.want == "" {
				require.Empty(t, got)
			}
			require.Contains(t, got, tt.want)
		})
	}
}
