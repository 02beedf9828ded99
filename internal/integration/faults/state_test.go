package faults_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tokenry/apitoken/sqlstore"
)

// tables are all rows of a database, read and written without the store, so that
// nothing of it hides what it did.
type tables map[string]*table

type table struct {
	columns []string
	rows    [][]any
}

// storedTables are those whose rows are looked at: the store's and one of the
// host's own.
var storedTables = []string{"apitoken_tokens", "apitoken_events", "apitoken_outbox", "apitoken_settings", "apitoken_replays", "customers"}

func readTables(ctx context.Context, db *sql.DB) (tables, error) {
	all := make(tables)
	for _, name := range storedTables {
		t, err := readTable(ctx, db, name)
		if err != nil {
			return nil, err
		}
		all[name] = t
	}
	return all, nil
}

func readTable(ctx context.Context, db *sql.DB, name string) (t *table, err error) {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	t = new(table)
	if t.columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	for rows.Next() {
		row, dest := make([]any, len(t.columns)), make([]any, len(t.columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		for i, value := range row {
			if b, ok := value.([]byte); ok && b == nil { // an empty one, which would be written as NULL
				row[i] = []byte{}
			}
		}
		t.rows = append(t.rows, row)
	}
	return t, rows.Err()
}

// write adds the rows to a database.
func (all tables) write(ctx context.Context, db *sql.DB, dialect sqlstore.Dialect) error {
	for _, name := range storedTables {
		t := all[name]
		places := make([]string, len(t.columns))
		for i := range places {
			places[i] = "?"
			if dialect == sqlstore.PostgreSQL {
				places[i] = fmt.Sprint("$", i+1)
			}
		}
		text := "INSERT INTO " + name + " (" + strings.Join(t.columns, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
		for _, row := range t.rows {
			if _, err := db.ExecContext(ctx, text, row...); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep copies the tables, for restore.
func keep(ctx context.Context, db *sql.DB) error {
	for _, name := range storedTables {
		if _, err := db.ExecContext(ctx, "CREATE TABLE past_"+name+" AS SELECT * FROM "+name); err != nil {
			return err
		}
	}
	return nil
}

// restore makes the tables what they were at keep.
func restore(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, name := range storedTables {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+name); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO "+name+" SELECT * FROM past_"+name); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// state is what a database holds, a text for each token with its events and its
// part of the outbox, for each tenant's settings with theirs, and for the rest.
// What is random is left out.
type state map[string]string

// view tells the states of a database that began with known rows: IDs and digests
// that are not among them are random.
type view struct{ known map[string]bool }

var idPattern = regexp.MustCompile(`[0-9A-Za-z]{22,}`)

func newView(begin tables) view {
	v := view{make(map[string]bool)}
	for _, t := range begin {
		for _, row := range t.rows {
			for i, value := range row {
				text := shown(t.columns[i], value)
				v.known[text] = true
				for _, id := range idPattern.FindAllString(text, -1) {
					v.known[id] = true
				}
			}
		}
	}
	return v
}

// plain is text without what is random.
func (v view) plain(text string) string {
	begin := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && base62(text[i]) {
			continue
		}
		if i-begin == 22 && !v.known[text[begin:i]] {
			return text[:begin] + "(new)" + v.plain(text[i:])
		}
		begin = i + 1
	}
	return text
}

func base62(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func (v view) of(all tables) state {
	lines := make(map[string][]string)
	for name, t := range all {
		for _, row := range t.rows {
			group, line := v.line(name, t.columns, row)
			lines[group] = append(lines[group], line)
		}
	}
	st := make(state)
	for group, list := range lines {
		slices.Sort(list)
		st[group] = strings.Join(list, "\n")
	}
	return st
}

// line is a row, and the group it belongs to.
func (v view) line(name string, columns []string, row []any) (group, line string) {
	values := make(map[string]string)
	var b strings.Builder
	b.WriteString(name)
	for i, column := range columns {
		text := shown(column, row[i])
		values[column] = text
		switch column {
		case "op": // random for each write
			continue
		case "holder": // random for each claim
			text = strconv.FormatBool(text != "" && text != shown("", nil))
		case "hint":
			if !v.known[text] {
				text = "(new)"
			}
		case "primary_check", "previous_check":
			if !v.known[text] {
				text = "(new)"
			}
		}
		b.WriteString(" " + column + "=" + v.plain(text))
	}
	switch name {
	case "apitoken_tokens":
		group = "token " + values["id"]
	case "apitoken_events", "apitoken_outbox":
		group = values["id"]
		for range 2 { // without version and ordinal
			group = group[:max(0, strings.LastIndexByte(group, '.'))]
		}
		if tenant, ok := strings.CutPrefix(group, "tenant:"); ok {
			group = "settings " + tenant
		} else {
			group = "token " + group
		}
	case "apitoken_settings":
		group = "settings " + values["tenant"]
	default:
		group = name
	}
	return v.plain(group), b.String()
}

func shown(column string, value any) string {
	switch value := value.(type) {
	case nil:
		return "NULL"
	case string:
		return value
	case int64:
		return strconv.FormatInt(value, 10)
	case []byte:
		if strings.HasSuffix(column, "_check") || strings.HasSuffix(column, "_sum") || column == "id" && len(value) == 32 {
			return hex.EncodeToString(value)
		}
		return string(value)
	}
	return fmt.Sprint(value)
}

// What a note beside an answer counts, and what is written apart from changes: uses,
// and claims.
var (
	uses   = regexp.MustCompile(`\buses=\d+`)
	beside = regexp.MustCompile(`\b(last_used|legacy_use|available_at|attempts)=\d+|\bholder=\w+`)
)

// without is st without what matches.
func (st state) without(what *regexp.Regexp) state {
	out := make(state)
	for group, text := range st {
		out[group] = what.ReplaceAllString(text, "")
	}
	return out
}

// changes shows what differs from another state: the lines, and of a line that is
// there in both the columns.
func (st state) changes(from state) string {
	var b strings.Builder
	for _, group := range slices.Sorted(maps.Keys(st)) {
		old := strings.Fields(from[group])
		for line := range strings.Lines(st[group]) {
			var words []string
			for _, word := range strings.Fields(line) {
				if !slices.Contains(old, word) {
					words = append(words, word)
				}
			}
			if len(words) > 0 {
				fmt.Fprintf(&b, "\t%s: %s: %s\n", group, strings.Fields(line)[0], strings.Join(words, " "))
			}
		}
		if n, was := strings.Count(st[group], "\n"), strings.Count(from[group], "\n"); n < was {
			fmt.Fprintf(&b, "\t%s: %d lines less\n", group, was-n)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(from)) {
		if _, ok := st[group]; !ok {
			fmt.Fprintf(&b, "\t%s: gone\n", group)
		}
	}
	return b.String()
}

// madeOf reports whether each part of st is as it is in one of the others.
func (st state) madeOf(others ...state) bool {
	for group, text := range st {
		if !slices.ContainsFunc(others, func(o state) bool { return o[group] == text }) {
			return false
		}
	}
	for _, o := range others {
		for group := range o {
			if _, ok := st[group]; !ok && !slices.ContainsFunc(others, func(o state) bool { _, ok := o[group]; return !ok }) {
				return false
			}
		}
	}
	return true
}

// plainJSON is a result of a call as a text without what is random.
func (v view) plainJSON(result any) (string, error) {
	b, err := json.MarshalIndent(result, "", " ")
	return hintPattern.ReplaceAllString(v.plain(string(b)), `"hint": "…"`), err
}

var hintPattern = regexp.MustCompile(`"[hH]int": "[^"]*"`)
