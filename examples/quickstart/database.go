package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers the driver

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/sqlstore"
)

// place is where tokens are kept, as -db says it: a file, a URL, or memory.
type place string

const memory place = "memory"

// String says no more of a URL than its scheme: where a password in it ends is not
// sure when it is mistyped.
func (p place) String() string {
	if scheme, _, isURL := strings.Cut(string(p), "://"); isURL {
		return scheme + "://…"
	}
	return string(p)
}

// open returns the store, with tables that are as it needs them, and what closes
// it. No error shows a password.
func (p place) open(ctx context.Context) (store apitoken.Store, end func() error, err error) {
	if p == memory {
		return memstore.New(), func() error { return nil }, nil
	}
	db, dialect, err := p.database()
	if err != nil {
		return nil, nil, fmt.Errorf("-db: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := sqlstore.New(db, dialect, sqlstore.Options{})
	if err == nil {
		err = s.Migrate(ctx)
	}
	if err == nil {
		err = s.Validate(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("-db %s: %w", p, err), db.Close())
	}
	return s, func() error { return errors.Join(s.Close(), db.Close()) }, nil
}

// database connects to nothing yet.
func (p place) database() (*sql.DB, sqlstore.Dialect, error) {
	if !strings.Contains(string(p), "://") {
		dsn, err := sqliteDSN(string(p))
		if err != nil {
			return nil, 0, err
		}
		db, err := sql.Open("sqlite", dsn)
		return db, sqlstore.SQLite, err
	}
	u, err := url.Parse(string(p))
	if err != nil || u.Fragment != "" || strings.Contains(u.Path, "@") {
		return nil, 0, errNoURL // the error would quote the URL, as that of pgx does
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		config, err := pgx.ParseConfig(string(p))
		if err != nil {
			return nil, 0, errNoURL
		}
		return stdlib.OpenDB(*config), sqlstore.PostgreSQL, nil
	case "mysql":
		config, err := mysqlConfig(u)
		if err != nil {
			return nil, 0, err
		}
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, 0, err
		}
		return sql.OpenDB(connector), sqlstore.MariaDB, nil
	}
	return nil, 0, errNoURL
}

var (
	errNoURL  = errors.New("use postgres://user:password@host:port/database or mysql://user:password@host:port/database, and in a password %40 for @, %3A for : and %2F for /")
	errNoFile = errors.New("the name of a file has none of @ = ? here: for a database server give a URL, postgres:// or mysql://")
)

// sqliteDSN asks each connection for what keeps acknowledged changes safe: see the
// documentation of sqlstore.
func sqliteDSN(file string) (string, error) {
	if file == "" || strings.ContainsAny(file, "@=?") {
		return "", errNoFile // it may be another form of DSN, with a password
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	// The time to wait comes first: the change to WAL may have to wait already.
	dsn := url.URL{Scheme: "file", Path: path,
		RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"}
	return dsn.String(), nil
}

// mysqlConfig reads a URL, which the driver does not know. User and password go
// into fields of their own: in the driver's DSN some characters end them early.
func mysqlConfig(u *url.URL) (*mysql.Config, error) {
	database := strings.TrimPrefix(u.Path, "/")
	if u.Hostname() == "" || database == "" || strings.Contains(database, "/") {
		return nil, errNoURL
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	// The driver takes the last / for the end of the address.
	options := strings.ReplaceAll(u.RawQuery, "/", "%2F")
	config, err := mysql.ParseDSN("tcp(" + net.JoinHostPort(u.Hostname(), port) + ")/?" + options)
	if err != nil {
		return nil, errors.New("what follows ? in the URL are options of github.com/go-sql-driver/mysql")
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.DBName = database
	for _, wait := range []*time.Duration{&config.Timeout, &config.ReadTimeout, &config.WriteTimeout} {
		if *wait == 0 {
			*wait = 10 * time.Second
		}
	}
	return config, nil
}
