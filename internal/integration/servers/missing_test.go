package servers_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken/internal/integration/servers"
)

// verdict is a test that only records how it ended.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = fmt.Sprintf(format, args...)
	panic(v)
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	panic(v)
}

func TestMissingServer(t *testing.T) {
	const program, install = "apitoken-test-no-such-program", "apt-get install redis-server"
	for name, ask := range map[string]func(testing.TB){"shared": servers.SharedMissing, "private": servers.StartMissing} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", "")
			got := judge(t, ask)
			require.Empty(t, got.failed)
			require.Contains(t, got.skipped, "NOTHING WAS TESTED ON Redis")
			require.Contains(t, got.skipped, program)
			require.Contains(t, got.skipped, install)
			require.Equal(t, []string{"Redis"}, servers.Untested())

			t.Setenv("CI", "true")
			got = judge(t, ask)
			require.Empty(t, got.skipped)
			require.Contains(t, got.failed, program)
			require.Contains(t, got.failed, install)
			require.Empty(t, servers.Untested())
		})
	}
}

// The servers that tests share stand for those that somebody else runs.
func TestOutsideServer(t *testing.T) {
	for _, e := range engines {
		forms := map[string]string{"as given": e.database(t)}
		if e.driver == servers.PostgresDriver {
			forms["key=value"] = keyValue(t, forms["as given"])
		}
		for form, base := range forms {
			t.Run(e.name+" "+form, func(t *testing.T) {
				first := open(t, e.driver, base)
				execute(t, first, "CREATE TABLE IF NOT EXISTS tokens (id INT)")

				second := open(t, e.driver, servers.Outside(t, e.driver, base, servers.Serializable))
				require.Equal(t, "SERIALIZABLE", ask(t, second, e.level))
				_, err := second.ExecContext(t.Context(), "SELECT id FROM tokens")
				require.Error(t, err, "the database is not a new one")
				require.NoError(t, first.PingContext(t.Context()), "a server that is not ours was stopped")
			})
		}
	}
}

func judge(t *testing.T, ask func(testing.TB)) *verdict {
	t.Helper()
	got := &verdict{TB: t}
	require.PanicsWithValue(t, got, func() { ask(got) })
	return got
}

func keyValue(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	password, _ := u.User.Password()
	return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=disable",
		u.Hostname(), u.Port(), u.User.Username(), password, u.Path[1:])
}
