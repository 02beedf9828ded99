package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func TestMySQLURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url                        string
		user, password, addr, name string
	}{
		{"mysql://ann:secret@db.example:3307/tokens", "ann", "secret", "db.example:3307", "tokens"},
		{"mysql://ann:secret@db.example/tokens", "ann", "secret", "db.example:3306", "tokens"},
		{"mysql://ann@[2001:db8::1]/tokens", "ann", "", "[2001:db8::1]:3306", "tokens"},
		{"mysql://ann@[2001:db8::1]:3307/tokens", "ann", "", "[2001:db8::1]:3307", "tokens"},
		{"mysql://127.0.0.1/tokens", "", "", "127.0.0.1:3306", "tokens"},
		{"mysql://a%3Ann:p%40ss%3Aw%2Frd%3F%23%25(%29@127.0.0.1/my%20tokens", "a:nn", "p@ss:w/rd?#%()", "127.0.0.1:3306", "my tokens"},
		{"mysql://ann:a+b@127.0.0.1/tokens", "ann", "a+b", "127.0.0.1:3306", "tokens"},
	} {
		u, err := url.Parse(c.url)
		require.NoError(t, err, c.url)
		config, err := mysqlConfig(u)
		require.NoError(t, err, c.url)
		require.Equal(t, []string{c.user, c.password, "tcp", c.addr, c.name},
			[]string{config.User, config.Passwd, config.Net, config.Addr, config.DBName}, c.url)
		require.Equal(t, []time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second},
			[]time.Duration{config.Timeout, config.ReadTimeout, config.WriteTimeout}, c.url)
	}
}

func TestMySQLURLOptions(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("mysql://ann@db.example/tokens?loc=Europe/Berlin&readTimeout=3s&tls=true&charset=utf8mb4,utf8")
	require.NoError(t, err)
	config, err := mysqlConfig(u)
	require.NoError(t, err)
	require.Equal(t, "Europe/Berlin", config.Loc.String())
	require.Equal(t, 3*time.Second, config.ReadTimeout)
	require.Equal(t, 10*time.Second, config.WriteTimeout)
	require.Equal(t, "db.example", config.TLS.ServerName, "certificates are checked against the host")
	require.Equal(t, "db.example:3306", config.Addr)
}

func TestPlacesThatAreNone(t *testing.T) {
	t.Parallel()
	// Every one has the word secret where a password is or could be meant.
	for _, db := range []string{
		"mysql://ann:secret@127.0.0.1",
		"mysql://ann:secret@127.0.0.1/",
		"mysql://ann:secret@127.0.0.1/a/b",
		"mysql://ann:secret@/tokens",
		"mysql://ann:se/secret@127.0.0.1/tokens",
		"mysql://ann:1/secret@127.0.0.1/tokens",
		"mysql://ann:1?secret@127.0.0.1/tokens",
		"mysql://ann:1#secret@127.0.0.1/tokens",
		"mysql://ann:%zzsecret@127.0.0.1/tokens",
		"mysql://ann:secret@127.0.0.1:port/tokens",
		"mysql://ann@127.0.0.1/tokens?tls=secret",
		"postgres://ann:secret@127.0.0.1:port/tokens",
		"postgres://ann:1/secret@127.0.0.1/tokens",
		"postgres://ann:1#secret@127.0.0.1/tokens",
		"postgres://ann:secret@127.0.0.1/tokens?sslmode=secret",
		"postgres://ann@127.0.0.1/tokens?password=secret&sslmode=secret",
		"mariadb://ann:secret@127.0.0.1/tokens",
		"sqlserver://ann:secret@127.0.0.1/tokens",
		"://secret",
		"ann:secret@tcp(127.0.0.1:3306)/tokens",
		"host=127.0.0.1 password=secret",
		"file:tokens.db?_auth_pass=secret",
	} {
		_, _, err := place(db).open(t.Context())
		require.ErrorContains(t, err, "-db: ", db)
		require.NotContains(t, err.Error(), "secret", db)
	}
	_, _, err := place("").open(t.Context())
	require.ErrorContains(t, err, "-db: ")
}

// Nobody listens on port 1: what is printed then must not help whoever reads it.
func TestNoPasswordIsPrinted(t *testing.T) {
	t.Parallel()
	for _, db := range []string{
		"postgres://ann:se%3Acret@127.0.0.1:1/tokens",
		"postgres://ann@127.0.0.1:1/tokens?password=se:cret",
		"mysql://ann:se%3Acret@127.0.0.1:1/tokens",
	} {
		var out strings.Builder
		err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-db", db}, &out)
		require.ErrorContains(t, err, "-db ", db)
		require.ErrorContains(t, err, "127.0.0.1:1", "the error does not say what was tried")
		require.NotContains(t, err.Error()+out.String(), "cret", db)
	}
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tokens.db", "my tokens.db", "100%.db", "a#b.db", "ü&+.db", "%41.db", ":memory:"} {
		file := filepath.Join(t.TempDir(), name)
		store, end, err := place(file).open(t.Context())
		require.NoError(t, err, name)
		_, err = newTokens(store)
		require.NoError(t, err, name)
		require.NoError(t, end(), name)
		require.FileExists(t, file, name)
	}
}

func TestFileThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("not a database ", 100)), 0o600))
	for _, file := range []string{text, dir, filepath.Join(dir, "missing", "tokens.db")} {
		_, _, err := place(file).open(t.Context())
		require.ErrorContains(t, err, file)
	}
}

// A restart finds the tokens, and an owner who is still known may use them.
func TestTokensOutliveTheServer(t *testing.T) {
	t.Parallel()
	db := place(filepath.Join(t.TempDir(), "tokens.db"))
	first, err := newServer(t.Context(), db)
	require.NoError(t, err)
	alice := apitoken.Actor{ID: "alice", Tenant: "acme"}
	issued, err := first.tokens.Issue(t.Context(), alice, apitoken.IssueRequest{Name: "terminal"})
	require.NoError(t, err)
	require.NoError(t, first.close())

	second, err := newServer(t.Context(), db)
	require.NoError(t, err)
	p, err := second.tokens.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	require.NoError(t, err)
	require.Equal(t, issued.Token.ID, p.Token)
	require.NoError(t, second.tokens.Revoke(t.Context(), alice, p.Token, "lost"))
	require.NoError(t, second.close())

	third, err := newServer(t.Context(), db)
	require.NoError(t, err)
	defer func() { require.NoError(t, third.close()) }()
	_, err = third.tokens.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
}
