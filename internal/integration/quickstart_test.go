package integration_test

import (
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/internal/integration/servers"
)

// The program that README.md begins with keeps its tokens on the servers, too; its
// own tests have SQLite alone.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./quickstart")
	build.Dir = "../../examples"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, db := range map[string]func(testing.TB) string{
		"PostgreSQL": func(t testing.TB) string { return servers.Postgres(t) },
		"MariaDB":    mysqlURL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), program, "-selftest", "-db", db(t)).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "started again")
			require.Contains(t, string(out), "answers were right")
		})
	}
}

func mysqlURL(t testing.TB) string {
	config, err := mysql.ParseDSN(servers.MariaDB(t))
	require.NoError(t, err)
	dsn := url.URL{Scheme: "mysql", User: url.UserPassword(config.User, config.Passwd), Host: config.Addr, Path: "/" + config.DBName}
	return dsn.String()
}
