package integration_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/faultdriver"
	"github.com/tokenry/apitoken/sqlstore"
)

// A program of this version goes on while a later one has added columns, and what
// the later one writes into them stays: states, permissions and columns that this
// one does not know.
func TestOlderProgramOnNewerSchema(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		ctx := t.Context()
		s, db := e.open(t)
		everyStatement(t, s) // its statements are prepared for the older tables
		newer := newRecord("newernewernewernewer00")
		newer.Token.State, newer.Token.Cause = "quarantined", "by_a_later_version"
		newer.Token.Terms.AfterExpiry = "archive"
		newer.Token.Grant.Permissions = []string{"rockets:launch"}
		newer.Primary.Algorithm = "sha3"
		require.NoError(t, s.Create(ctx, newer, nil))

		text := map[sqlstore.Dialect]string{sqlstore.SQLite: "TEXT", sqlstore.PostgreSQL: "text", sqlstore.MariaDB: "VARCHAR(64)"}[e.dialect]
		for _, table := range []string{"tokens", "events", "outbox", "settings", "replays"} {
			execSQL(t, db, "ALTER TABLE apitoken_"+table+" ADD COLUMN orbit "+text+" NOT NULL DEFAULT 'low'")
			execSQL(t, db, "ALTER TABLE apitoken_"+table+" ADD COLUMN height INTEGER")
		}
		execSQL(t, db, "INSERT INTO apitoken_schema (version) VALUES (3)")
		execSQL(t, db, "UPDATE apitoken_tokens SET orbit = 'high', height = 7")
		everyStatement(t, s)

		got, err := s.Get(ctx, newer.Token.ID)
		require.NoError(t, err)
		changed := got.Clone()
		changed.Token.Version++
		changed.Token.Name = "renamed"
		require.NoError(t, s.Swap(ctx, changed, apitoken.Guard{}, nil))
		used := created.Add(time.Hour)
		require.NoError(t, s.Touch(ctx, []apitoken.Use{{ID: newer.Token.ID, Count: 2, LastUsed: used}}))
		again := changed.Clone()
		again.Token.Version++
		added := newRecord("newernewernewernewer01")
		require.NoError(t, s.Replace(ctx, added, again, apitoken.Guard{}, nil))

		want := newer.Clone()
		want.Token.Version, want.Token.Name = 3, "renamed"
		want.Token.Usage = apitoken.Usage{Uses: 2, LastUsed: used}
		got, err = s.Get(ctx, newer.Token.ID)
		require.NoError(t, err)
		require.Equal(t, want.Token, got.Token)
		require.Equal(t, want.Primary, got.Primary)
		for id, want := range map[apitoken.ID]string{newer.Token.ID: "high 7", added.Token.ID: "low 0"} {
			var orbit string
			var height int
			row := db.QueryRowContext(ctx, "SELECT orbit, COALESCE(height, 0) FROM apitoken_tokens WHERE id = '"+string(id)+"'")
			require.NoError(t, row.Scan(&orbit, &height))
			require.Equal(t, want, fmt.Sprint(orbit, " ", height))
		}
	})
}

// migrateDSN in its environment makes a copy of the test's program one of ten
// processes.
const migrateDSN = "APITOKEN_TEST_MIGRATE_DSN"

// Processes share a file and no memory.
func TestMigrateInProcesses(t *testing.T) {
	t.Parallel()
	e := defaults()[0]
	if dsn := os.Getenv(migrateDSN); dsn != "" {
		s, _ := e.bare(t, dsn, sqlstore.Options{})
		require.NoError(t, s.Migrate(t.Context()))
		require.NoError(t, s.Validate(t.Context()))
		return
	}
	dsn := e.dsn(t)
	answers := make(chan string, 10)
	parties := make([]func(), cap(answers))
	for i := range parties {
		parties[i] = func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMigrateInProcesses$")
			cmd.Env = append(os.Environ(), migrateDSN+"="+dsn)
			out, err := cmd.CombinedOutput()
			if err == nil {
				out = nil
			}
			answers <- string(out)
		}
	}
	together(parties...)
	for range parties {
		require.Empty(t, <-answers)
	}
	s, _ := e.bare(t, dsn, sqlstore.Options{})
	require.NoError(t, s.Validate(t.Context()))
	everyStatement(t, s)
}

// A migration that ends half way is undone, or finished by the next one: MariaDB
// commits each definition by itself.
func TestMigrateHalfWay(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		dsn := e.dsn(t)
		var plan faultdriver.Plan
		db, err := faultdriver.Open(e.driver, dsn, &plan)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		db.SetMaxOpenConns(1)
		broken := func(prefix string) *sqlstore.Store {
			s, err := sqlstore.New(db, e.dialect, sqlstore.Options{TablePrefix: prefix})
			require.NoError(t, err)
			return s
		}
		require.NoError(t, broken("whole_").Migrate(t.Context()))
		var steps []int
		for _, op := range plan.Ops() {
			if op.Kind == faultdriver.OpExec || op.Kind == faultdriver.OpCommit {
				steps = append(steps, op.N)
			}
		}
		require.Greater(t, len(steps), 6)
		if e.dialect != sqlstore.MariaDB { // one transaction: any step is as good as another
			steps = []int{steps[0], steps[len(steps)/2], steps[len(steps)-1]}
		}
		for i, n := range steps {
			prefix := fmt.Sprintf("half%d_", i)
			ctx, die := context.WithCancel(t.Context())
			plan.Reset(func(op faultdriver.Op) (faultdriver.Fault, bool) {
				if op.N < n {
					return faultdriver.Fault{}, false
				}
				die()
				return faultdriver.Drop, true
			})
			require.Error(t, broken(prefix).Migrate(ctx))
			plan.Reset(nil)

			next, _ := e.bare(t, dsn, sqlstore.Options{TablePrefix: prefix})
			version, err := next.Version(t.Context())
			require.NoError(t, err)
			require.Less(t, version, 2)
			require.NoError(t, next.Migrate(t.Context()), "after step %d", i)
			require.NoError(t, next.Validate(t.Context()))
			if i == len(steps)/2 {
				everyStatement(t, next)
			}
		}
	})
}

// A table of the host's that has a name of ours is left alone, and the error says
// which. MariaDB cannot tell it from one of a migration that ended half way.
func TestMigrateBesideATableOfTheHosts(t *testing.T) {
	t.Parallel()
	for _, e := range defaults()[:2] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			s, db := e.bare(t, e.dsn(t), sqlstore.Options{})
			execSQL(t, db, "CREATE TABLE apitoken_replays (the_hosts int)")
			require.ErrorContains(t, s.Migrate(t.Context()), "apitoken_replays")
			version, err := s.Version(t.Context())
			require.NoError(t, err)
			require.Zero(t, version)
			_, err = db.ExecContext(t.Context(), "SELECT * FROM apitoken_tokens")
			require.Error(t, err, "half of the tables are there")
			execSQL(t, db, "INSERT INTO apitoken_replays (the_hosts) VALUES (1)")
		})
	}
}

var (
	comment = regexp.MustCompile(`--[^\n]*`)
	spaces  = regexp.MustCompile(`\s+`)
)

// definitions are the statements that name tables of a prefix, without comments,
// spaces and the semicolon at the end.
func definitions(plan *faultdriver.Plan, prefix string) []string {
	var out []string
	for _, op := range plan.Ops() {
		text := spaces.ReplaceAllString(comment.ReplaceAllString(op.Statement, ""), " ")
		text = strings.TrimSuffix(strings.TrimSpace(text), ";")
		if op.Kind == faultdriver.OpExec && strings.Contains(text, prefix) {
			out = append(out, strings.TrimSpace(text))
		}
	}
	return out
}

// Migrate cuts the files into the statements that goose cuts them into, and goose
// keeps its own book under another name if the host has migrations too.
func TestMigrateRunsWhatGooseRuns(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		opts := sqlstore.Options{TablePrefix: "cut_"}
		dsn := e.dsn(t)
		s, _ := e.bare(t, dsn, opts)
		files, err := s.Migrations()
		require.NoError(t, err)
		var byGoose, byMigrate faultdriver.Plan
		db, err := faultdriver.Open(e.driver, dsn, &byGoose)
		require.NoError(t, err)
		provider, err := goose.NewProvider(gooseDialects[e.dialect], db, files, goose.WithTableName("cut_goose"))
		require.NoError(t, err)
		defer func() { require.NoError(t, provider.Close()) }() // the database too
		_, err = provider.Up(t.Context())
		require.NoError(t, err)
		up := slices.DeleteFunc(definitions(&byGoose, "cut_"), func(text string) bool { return strings.Contains(text, "cut_goose") })
		require.NoError(t, s.Validate(t.Context()))
		everyStatement(t, s)

		// Downwards nothing is left that would be in the way of Migrate.
		_, err = provider.DownTo(t.Context(), 0)
		require.NoError(t, err)
		byMigrate.Reset(nil)
		other, err := faultdriver.Open(e.driver, dsn, &byMigrate)
		require.NoError(t, err)
		defer func() { require.NoError(t, other.Close()) }()
		migrated, err := sqlstore.New(other, e.dialect, opts)
		require.NoError(t, err)
		require.NoError(t, migrated.Migrate(t.Context()))

		require.Greater(t, len(up), 6)
		require.Equal(t, up, definitions(&byMigrate, "cut_"))
	})
}

var gooseDialects = map[sqlstore.Dialect]goose.Dialect{
	sqlstore.SQLite: goose.DialectSQLite3, sqlstore.PostgreSQL: goose.DialectPostgres, sqlstore.MariaDB: goose.DialectMySQL,
}

// The account of a server needs no right to change the history or the schema.
func TestRightsOfAServer(t *testing.T) {
	t.Parallel()
	e := defaults()[1]
	dsn := e.dsn(t)
	_, owner := e.openAt(t, dsn)
	role := "server_" + strings.ToLower(rand.Text()) // roles are the whole server's
	execSQL(t, owner, "CREATE ROLE "+role)
	t.Cleanup(func() {
		for _, text := range []string{"DROP OWNED BY " + role, "DROP ROLE " + role} {
			_, err := owner.ExecContext(context.Background(), text) // the test's own has ended
			require.NoError(t, err)
		}
	})
	execSQL(t, owner, "GRANT SELECT ON apitoken_schema TO "+role)
	execSQL(t, owner, "GRANT SELECT, INSERT ON apitoken_events TO "+role)
	execSQL(t, owner, "GRANT SELECT, INSERT, UPDATE, DELETE ON apitoken_tokens, apitoken_outbox, apitoken_settings, apitoken_replays TO "+role)

	s, db := e.bare(t, dsn, sqlstore.Options{})
	db.SetMaxOpenConns(1)
	execSQL(t, db, "SET ROLE "+role)
	require.NoError(t, s.Migrate(t.Context()), "a schema that is up to date needs no rights")
	require.NoError(t, s.Validate(t.Context()))
	everyStatement(t, s)
	for _, text := range []string{"UPDATE apitoken_events SET body = ''", "DELETE FROM apitoken_events", "DROP TABLE apitoken_tokens"} {
		_, err := db.ExecContext(t.Context(), text)
		require.Error(t, err, text)
	}
}
