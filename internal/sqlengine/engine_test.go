package sqlengine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/internal/sqlengine"
)

var dialects = []*sqlengine.Dialect{sqlengine.SQLite, sqlengine.PostgreSQL, sqlengine.MariaDB}

func newEngine(t *testing.T, opts sqlengine.Options) *sqlengine.Engine {
	t.Helper()
	e, err := sqlengine.New(nil, opts)
	require.NoError(t, err)
	return e
}

// Names of tables stand in statements as they are, so only plain ones pass, and
// all that is wrong is told at once.
func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"A", "1a", "_a", "a b", "a;b", `a"b`, "a'b", "a`b", "a.b", "a-b", "é", "a\x00", strings.Repeat("a", 64)} {
		for _, d := range dialects[1:] {
			_, err := sqlengine.New(nil, sqlengine.Options{Name: "x", Dialect: d, Prefix: name, Schema: name})
			require.ErrorContains(t, err, "x: TablePrefix:", name)
			require.ErrorContains(t, err, "x: Schema:", name)
		}
	}
	_, err := sqlengine.New(nil, sqlengine.Options{Name: "x", Prefix: strings.Repeat("a", 31)})
	require.ErrorContains(t, err, "x: TablePrefix:")
	require.ErrorContains(t, err, "x: dialect: is unknown")
	_, err = sqlengine.New(nil, sqlengine.Options{Name: "x", Dialect: sqlengine.SQLite, Schema: "main"})
	require.ErrorContains(t, err, "x: Schema: SQLite has none")
}

// Every statement names the tables of its options, and PostgreSQL's have numbers
// for placeholders.
func TestStatements(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for _, st := range newEngine(t, sqlengine.Options{Dialect: d, Prefix: "shop_"}).Fixed() {
			require.True(t, st.Fixed)
			require.NotContains(t, st.Text, "{")
			require.NotContains(t, st.Text, "apitoken_")
			require.Contains(t, st.Text, "shop_")
			require.Equal(t, d == sqlengine.PostgreSQL && !strings.Contains(st.Text, "GROUP BY aside"), strings.Contains(st.Text, "$1"), st.Text)
			if d == sqlengine.PostgreSQL {
				require.NotContains(t, st.Text, "?")
			}
		}
	}
}

// The migrations are a well-behaved file system, make exactly the columns that the
// statements name, and follow the options in every name.
func TestMigrations(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			files, err := newEngine(t, sqlengine.Options{Dialect: d}).Migrations()
			require.NoError(t, err)
			require.NoError(t, fstest.TestFS(files, "00001_tables.sql"))
			text, err := fs.ReadFile(files, "00001_tables.sql")
			require.NoError(t, err)
			require.Contains(t, string(text), "-- +goose Up\n")
			require.Contains(t, string(text), "-- +goose Down\n")
			up := sqlengine.StatementsUp(string(text))
			at := slices.IndexFunc(up, func(s string) bool { return strings.Contains(s, "apitoken_tokens (") })
			var made []string
			for _, line := range strings.Split(up[at], "\n")[1:] {
				word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
				if word == strings.ToLower(word) && regexp.MustCompile(`^[a-z]`).MatchString(word) {
					made = append(made, strings.TrimSuffix(word, ","))
				}
			}
			later, err := fs.Glob(files, "0000[2-9]_*.sql")
			require.NoError(t, err)
			for _, name := range later {
				text, err := fs.ReadFile(files, name)
				require.NoError(t, err)
				for _, added := range regexp.MustCompile(`ADD COLUMN (?:IF NOT EXISTS )?(\w+)`).FindAllStringSubmatch(string(text), -1) {
					made = append(made, added[1])
				}
			}
			require.ElementsMatch(t, sqlengine.TokenColumns(), made)
			for _, s := range up {
				require.NotContains(t, s, "--")
				require.NotContains(t, s, ";")
			}

			opts := sqlengine.Options{Dialect: d, Prefix: "shop_"}
			want := "shop_tokens"
			if d != sqlengine.SQLite {
				opts.Schema, want = "order", "order?.shop_tokens"
			}
			files, err = newEngine(t, opts).Migrations()
			require.NoError(t, err)
			renamed, err := fs.ReadFile(files, "00001_tables.sql")
			require.NoError(t, err)
			require.NotContains(t, string(renamed), "apitoken_")
			require.Regexp(t, strings.Replace(want, "?", "[\"`]", 1), string(renamed))
			require.Regexp(t, `(INDEX|KEY) shop_tokens_due`, string(renamed), "an index has no schema")
		})
	}
}

// A later version adds columns that an older program does not know and does not
// write: each needs a value of its own.
func TestAddedColumnsHaveDefaults(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		files, err := newEngine(t, sqlengine.Options{Dialect: d}).Migrations()
		require.NoError(t, err)
		names, err := fs.Glob(files, "*.sql")
		require.NoError(t, err)
		require.NotEmpty(t, names)
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			require.Empty(t, withoutDefault(string(text)), "%s/%s", d.Name, name)
		}
	}
	bad := "-- +goose Up\nALTER TABLE apitoken_tokens ADD COLUMN a TEXT NOT NULL;\nALTER TABLE apitoken_tokens ADD COLUMN b TEXT NOT NULL DEFAULT '';\n"
	require.Equal(t, []string{"ALTER TABLE apitoken_tokens ADD COLUMN a TEXT NOT NULL"}, withoutDefault(bad))
}

func withoutDefault(text string) (bad []string) {
	for _, s := range sqlengine.StatementsUp(text) {
		if upper := strings.ToUpper(s); strings.Contains(upper, "ADD COLUMN") && !strings.Contains(upper, "DEFAULT") {
			bad = append(bad, s)
		}
	}
	return bad
}

// Errors in the shape that drivers give them.
type (
	stateError  struct{ state string } // pgx, lib/pq
	codeError   struct{ code int }     // modernc
	mysqlError  struct{ Number uint16 }
	mattnNumber int
	mattnError  struct{ ExtendedCode mattnNumber }
)

func (e stateError) Error() string    { return e.state }
func (e stateError) SQLState() string { return e.state }
func (e codeError) Error() string     { return fmt.Sprint(e.code) }
func (e codeError) Code() int         { return e.code }
func (e *mysqlError) Error() string   { return fmt.Sprint(e.Number) }
func (e mattnError) Error() string    { return fmt.Sprint(e.ExtendedCode) }

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, sqlengine.FaultOther},
		{"of nobody", errors.New("connection reset"), sqlengine.FaultOther},
		{"serialization failure", stateError{"40001"}, sqlengine.FaultConflict},
		{"deadlock", stateError{"40P01"}, sqlengine.FaultConflict},
		{"unique violation", stateError{"23505"}, sqlengine.FaultDuplicate},
		{"other violation", stateError{"23502"}, sqlengine.FaultOther},
		{"MariaDB deadlock", &mysqlError{1213}, sqlengine.FaultConflict},
		{"MariaDB lock wait", &mysqlError{1205}, sqlengine.FaultConflict},
		{"MariaDB duplicate", &mysqlError{1062}, sqlengine.FaultDuplicate},
		{"MariaDB syntax", &mysqlError{1064}, sqlengine.FaultOther},
		{"SQLite busy", codeError{5}, sqlengine.FaultConflict},
		{"SQLite busy snapshot", codeError{517}, sqlengine.FaultConflict},
		{"SQLite unique", codeError{2067}, sqlengine.FaultDuplicate},
		{"SQLite primary key", codeError{1555}, sqlengine.FaultDuplicate},
		{"SQLite not null", codeError{1299}, sqlengine.FaultOther},
		{"SQLite disk full", codeError{13}, sqlengine.FaultOther},
		{"mattn busy", mattnError{5}, sqlengine.FaultConflict},
		{"mattn unique", mattnError{2067}, sqlengine.FaultDuplicate},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, sqlengine.FaultOf(c.err))
			if c.err != nil {
				require.Equal(t, c.want, sqlengine.FaultOf(fmt.Errorf("wrapped: %w", c.err)))
				require.Equal(t, c.want, sqlengine.FaultOf(errors.Join(errors.New("first"), c.err)))
			}
		})
	}
	require.True(t, sqlengine.NoTable(fmt.Errorf("wrapped: %w", stateError{"42P01"})))
	require.True(t, sqlengine.NoTable(&mysqlError{1146}))
	require.True(t, sqlengine.NoTable(errors.New("SQL logic error: no such table: x (1)")))
	require.False(t, sqlengine.NoTable(stateError{"57P01"}))
	require.False(t, sqlengine.NoTable(nil))
}

// A pair is found by searching its line exactly if the metadata has it.
func FuzzPairs(f *testing.F) {
	f.Add("a", "b", "c", "d", "a", "b")
	f.Add("a", "b", "c", "d", "a", "d")
	f.Add(":", ",", ",", ":", ":", ":")
	f.Add("k\":\"", "\",\"", "\n", "\\", "k", "\",\"")
	f.Add("", "", "}", "{\n", "", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, key, value string) {
		for _, s := range []string{k1, v1, k2, v2, key, value} {
			if !sqlengine.Storable(s, 1<<20) {
				return
			}
		}
		m := map[string]string{k1: v1, k2: v2}
		got, has := m[key]
		found := strings.Contains(sqlengine.EncodePairs(m), "\n"+sqlengine.EncodePair(key, value))
		require.Equal(t, has && got == value, found, "%q in %q", sqlengine.EncodePair(key, value), sqlengine.EncodePairs(m))
	})
}
