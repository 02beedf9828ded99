package integration_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// The statement that docs/schema.md gives to operators deletes old events and
// leaves those that have to be delivered.
func TestOldEventsAreDeletedByHand(t *testing.T) {
	page, err := os.ReadFile("../../docs/schema.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```sql\n(DELETE FROM apitoken_events.*?);\n```").FindSubmatch(page)
	require.NotNil(t, found, "docs/schema.md says how to delete events")
	statement := string(found[1])
	require.Contains(t, statement, "BETWEEN 'a' AND 'a~'")
	require.Contains(t, statement, "happened_at < 1735689600000000")

	onEach(t, func(t *testing.T, e engine) {
		ctx := t.Context()
		s, db := e.open(t)
		const first = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		kept := make(map[string]bool)
		for i, c := range first {
			rec := newRecord(string(c) + strings.Repeat("z", 21))
			var events []apitoken.Event
			for n := range 3 {
				e := eventOf(rec, apitoken.EventEdited)
				e.ID, e.Ordinal = fmt.Sprintf("%s.1.%d", rec.Token.ID, n), n
				switch n {
				case 0: // old and delivered
				case 1:
					e.Deliver, kept[e.ID] = true, true
				case 2:
					e.Time, kept[e.ID] = created.Add(time.Duration(i)*time.Second), true
				}
				if n < 2 {
					e.Time = created.Add(-time.Microsecond)
				}
				events = append(events, e)
			}
			require.NoError(t, s.Create(ctx, rec, events))
		}
		cutoff := strings.Replace(statement, "1735689600000000", fmt.Sprint(created.UnixMicro()), 1)
		for _, c := range first {
			execSQL(t, db, strings.Replace(cutoff, "'a' AND 'a~'", fmt.Sprintf("'%c' AND '%c~'", c, c), 1))
		}

		rows, err := db.QueryContext(ctx, "SELECT id FROM apitoken_events")
		require.NoError(t, err)
		defer rows.Close()
		left := make(map[string]bool)
		for rows.Next() {
			var id string
			require.NoError(t, rows.Scan(&id))
			left[id] = true
		}
		require.NoError(t, rows.Err())
		require.Equal(t, kept, left)
		claimed, err := s.Claim(ctx, apitoken.Lease{Holder: "h", Now: created, Until: created.Add(time.Minute)}, 100)
		require.NoError(t, err)
		require.Len(t, claimed, len(first))
	})
}
