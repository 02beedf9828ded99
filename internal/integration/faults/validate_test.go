package faults_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/internal/integration/faultdriver"
	"github.com/tokenry/apitoken/sqlstore"
)

// TestValidateIsNotMistaken: settings that could lose a change are not taken for
// good because a check of them failed.
func TestValidateIsNotMistaken(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{
		"deferred transactions": "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
		"synchronous":           "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate",
		"busy timeout":          "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, dsn := engines[0].open(t)
			file, _, _ := strings.Cut(dsn, "?")
			bad := file + "?" + settings
			validate := func(rule faultdriver.Rule) ([]faultdriver.Op, error) {
				plan := new(faultdriver.Plan)
				db, err := faultdriver.Open(engines[0].driver, bad, plan)
				require.NoError(t, err)
				defer func() { require.NoError(t, db.Close()) }()
				db.SetMaxOpenConns(1)
				store, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{})
				require.NoError(t, err)
				plan.Reset(rule)
				ctx, cancel := plan.Until(t.Context())
				defer cancel()
				err = store.Validate(ctx)
				return plan.Ops(), err
			}
			ops, err := validate(nil)
			require.ErrorContains(t, err, "the DSN of SQLite")
			for _, op := range ops {
				// Not those that tell of another writer: where transactions are deferred,
				// none is in the way of one that begins.
				for _, f := range faultdriver.All() {
					_, err := validate(faultdriver.At(op.N, f))
					require.Error(t, err, fmt.Sprint(op, " ", f.Name))
				}
			}
		})
	}
}
