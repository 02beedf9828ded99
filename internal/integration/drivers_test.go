package integration_test

import (
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/pressly/goose/v3"
	_ "github.com/stretchr/testify/require"
	_ "github.com/tokenry/apitoken"
	_ "modernc.org/sqlite"
)
