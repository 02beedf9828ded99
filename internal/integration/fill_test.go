package integration_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

// mass is a database full of tokens, made of one by the database itself: through
// the store a million would take an hour.
type mass struct {
	dialect sqlstore.Dialect
	tokens  int
}

// tenants is how many small tenants there are at most. The first one is not small:
// it has half of all tokens.
func (m mass) tenants() int { return m.tokens/1000 + 2 }

// overdue is how many of the tokens are overdue at the instant created.
func (m mass) overdue() int { return m.tokens / massOverdue }

// outbox is how many events are undelivered.
func (m mass) outbox() int { return m.tokens / 10 }

// owners is how many owners and agents there are; they have 20 tokens each.
func (m mass) owners() int { return m.tokens / 20 }

const (
	massOverdue = 1000 // of so many tokens one is overdue
	massChunk   = 100_000
)

func (m mass) id(i int) apitoken.ID {
	return apitoken.ID(fmt.Sprintf("%022d", int64(i)*2654435761%4294967296))
}

func (m mass) tenant(i int) string { return fmt.Sprint("tenant-", i%2*(i%m.tenants())) }

// owner is the owner of token i, or its agent if i is a multiple of 10.
func (m mass) owner(i int) string { return fmt.Sprint("user-", i%m.owners()) }

func (m mass) agent(i int) string { return fmt.Sprint("agent-", i%m.owners()) }

// at is the instant at which token i was made: they are all older than created.
func (m mass) at(i int) time.Time { return created.Add(time.Duration(i-m.tokens) * time.Second) }

// template is the token that all others are made of.
func (m mass) template() (*apitoken.Record, []apitoken.Event) {
	rec := newRecord(strings.Repeat("z", 22))
	t := &rec.Token
	t.Tenant, t.Name, t.Description = "template", "deploys from the build server", "made for the build server of the web shop"
	t.Metadata = map[string]string{"team": "web shop", "cost centre": "4711"}
	t.Grant.Permissions = []string{"devices:read", "devices:write", "reports:read", "scripts:run"}
	t.ExpiresAt, t.Terms.Interval = created.AddDate(1, 0, 0), time.Minute
	rec.DueAt = t.ExpiresAt
	first, second := eventOf(rec, apitoken.EventCreated), eventOf(rec, apitoken.EventEdited)
	first.ID, second.ID = string(t.ID)+".1.0", string(t.ID)+".2.0"
	first.Tenant, second.Tenant = t.Tenant, t.Tenant
	first.Message, second.Message = "API Token created", "API Token updated"
	second.Version, second.Changed = 2, []string{"permissions"}
	return rec, []apitoken.Event{first, second}
}

// fill fills the tables of a new database.
func (m mass) fill(t *testing.T, store *sqlstore.Store, db *sql.DB) {
	t.Helper()
	rec, events := m.template()
	require.NoError(t, store.Create(t.Context(), rec, events))
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()

	number := func(i int) string { return fmt.Sprint(m.at(i).UnixMicro() - m.at(0).UnixMicro()) }
	made := fmt.Sprintf("%d + g.i * %s", m.at(0).UnixMicro(), number(1))
	agents := "g.i % 10 = 0"
	holder := fmt.Sprintf("g.i %% %d", m.owners())
	m.copy(t, conn, "tokens", "id = '"+string(rec.Token.ID)+"'", m.tokens, map[string]string{
		"id":              m.idText(),
		"tenant":          m.text("tenant-", fmt.Sprintf("g.i %% 2 * (g.i %% %d)", m.tenants())),
		"owner":           "CASE WHEN " + agents + " THEN '' ELSE " + m.text("user-", holder) + " END",
		"agent":           "CASE WHEN " + agents + " THEN " + m.text("agent-", holder) + " ELSE '' END",
		"created_at":      made,
		"updated_at":      made,
		"state_at":        made,
		"idempotency_key": "CASE WHEN g.i % 2 = 0 THEN " + m.text("key-", "g.i") + " END",
		"alias":           "CASE WHEN g.i % 10 = 1 THEN " + m.text("alias-", "g.i") + " END",
		"op":              m.idText(),
		"due_at": fmt.Sprintf("CASE WHEN g.i %% %d = 0 THEN %d + g.i WHEN g.i %% 10 = 5 THEN due_at ELSE %d + g.i * 7919 %% %d END",
			massOverdue, created.Add(-time.Hour).UnixMicro(), created.Add(time.Hour).UnixMicro(), int64(90*24*time.Hour/time.Microsecond)),
		"uses":      "g.i % 100",
		"last_used": fmt.Sprintf("CASE WHEN g.i %% 100 = 0 THEN 0 ELSE %d - g.i END", created.UnixMicro()),
	})
	event := m.join(m.idText(), "'.'", m.cast("version"), "'.0'")
	m.copy(t, conn, "events", "tenant = 'template'", m.tokens, map[string]string{
		"id":          event,
		"tenant":      m.text("tenant-", fmt.Sprintf("g.i %% 2 * (g.i %% %d)", m.tenants())),
		"token":       m.idText(),
		"happened_at": made,
	})
	m.copy(t, conn, "events", "id = '"+events[0].ID+"'", m.outbox(), map[string]string{
		"id": m.join("'out-'", m.cast("g.i")), "happened_at": made,
	})
	m.exec(t, conn, "INSERT INTO apitoken_outbox (id, happened_at, available_at, attempts, aside)"+
		" SELECT id, happened_at, 0, 0, 0 FROM apitoken_events WHERE id LIKE 'out-%'")
	m.series(t, conn, max(m.tenants(), 1000), func(series string) {
		m.exec(t, conn, "INSERT INTO apitoken_settings (tenant, version, origins, updated_at) SELECT "+
			m.text("tenant-", "g.i")+", 1, '[\"https://example.org\"]', 0 FROM "+series)
	})
	m.series(t, conn, m.tokens, func(series string) {
		m.exec(t, conn, "INSERT INTO apitoken_replays (id, until_at) SELECT "+m.sum()+", "+made+" FROM "+series)
	})
}

// analyze takes the statistics.
func (m mass) analyze(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, text := range map[sqlstore.Dialect][]string{
		sqlstore.SQLite:     {"ANALYZE"},
		sqlstore.PostgreSQL: {"VACUUM ANALYZE"},
		sqlstore.MariaDB:    {"ANALYZE TABLE apitoken_tokens, apitoken_events, apitoken_outbox, apitoken_settings, apitoken_replays"},
	}[m.dialect] {
		_, err := db.ExecContext(t.Context(), text)
		require.NoError(t, err)
	}
}

// copy adds n copies of the rows of a table that where picks, with other values in
// some columns.
func (m mass) copy(t *testing.T, conn *sql.Conn, table, where string, n int, values map[string]string) {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "SELECT * FROM apitoken_"+table+" WHERE 1 = 0")
	require.NoError(t, err)
	names, err := rows.Columns()
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	exprs := make([]string, len(names))
	for i, name := range names {
		exprs[i] = name
		if value, ok := values[name]; ok {
			exprs[i] = value
		}
	}
	m.series(t, conn, n, func(series string) {
		m.exec(t, conn, "INSERT INTO apitoken_"+table+" ("+strings.Join(names, ", ")+") SELECT "+strings.Join(exprs, ", ")+
			" FROM "+series+" CROSS JOIN (SELECT * FROM apitoken_"+table+" WHERE "+where+") t")
	})
}

// series calls do with a source g of the numbers i from 1 to n, or several times
// with a part of them each.
func (m mass) series(t *testing.T, conn *sql.Conn, n int, do func(series string)) {
	t.Helper()
	for from := 1; from <= n; from += massChunk {
		to := min(from+massChunk-1, n)
		switch m.dialect {
		case sqlstore.SQLite:
			do(fmt.Sprintf("(WITH RECURSIVE s(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM s WHERE i < %d) SELECT i FROM s) g", from, to))
		case sqlstore.PostgreSQL:
			do(fmt.Sprintf("(SELECT i FROM generate_series(CAST(%d AS bigint), %d) s(i)) g", from, to))
		case sqlstore.MariaDB:
			do(fmt.Sprintf("(SELECT seq AS i FROM seq_%d_to_%d) g", from, to))
		}
	}
}

func (m mass) exec(t *testing.T, conn *sql.Conn, text string) {
	t.Helper()
	_, err := conn.ExecContext(t.Context(), text)
	require.NoError(t, err, "%.300s", text)
}

func (m mass) idText() string {
	number := "g.i * 2654435761 % 4294967296"
	switch m.dialect {
	case sqlstore.SQLite:
		return "printf('%022d', " + number + ")"
	case sqlstore.PostgreSQL:
		return "lpad(CAST(" + number + " AS text), 22, '0')"
	}
	return "LPAD(" + number + ", 22, '0')"
}

func (m mass) text(prefix, number string) string { return m.join("'"+prefix+"'", m.cast(number)) }

func (m mass) cast(number string) string {
	if m.dialect == sqlstore.MariaDB {
		return number
	}
	return "CAST(" + number + " AS text)"
}

func (m mass) join(parts ...string) string {
	if m.dialect == sqlstore.MariaDB {
		return "CONCAT(" + strings.Join(parts, ", ") + ")"
	}
	return strings.Join(parts, " || ")
}

func (m mass) sum() string {
	switch m.dialect {
	case sqlstore.SQLite:
		return "randomblob(32)"
	case sqlstore.PostgreSQL:
		return "sha256(CAST(CAST(g.i AS text) AS bytea))"
	}
	return "UNHEX(SHA2(g.i, 256))"
}

// logSizes tells what the tables and their indexes take.
func (m mass) logSizes(t *testing.T, db *sql.DB) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), map[sqlstore.Dialect]string{
		sqlstore.SQLite:     "SELECT s.name, SUM(s.pgsize) FROM dbstat s GROUP BY s.name",
		sqlstore.PostgreSQL: "SELECT relname, pg_table_size(oid) FROM pg_class WHERE relname LIKE 'apitoken%' AND relkind IN ('r', 'i')",
		sqlstore.MariaDB: "SELECT CONCAT(table_name, ' ', index_name), stat_value * @@innodb_page_size FROM mysql.innodb_index_stats" +
			" WHERE database_name = DATABASE() AND stat_name = 'size'",
	}[m.dialect])
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		var bytes int64
		require.NoError(t, rows.Scan(&name, &bytes))
		t.Logf("SIZE %s: %d MB", name, bytes/1_000_000)
	}
	require.NoError(t, rows.Err())
}
