// Package integration holds the stores to their promises on real databases:
// SQLite, PostgreSQL and MariaDB. It is never published.
package integration
