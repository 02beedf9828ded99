package sqlengine

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tokenry/apitoken/internal/hosttx"
)

//go:embed migrations
var embedded embed.FS

// SchemaError says that the tables are not of the version that this package works
// with.
type SchemaError struct {
	Have int // 0 = there are no tables
	Want int
}

func (e *SchemaError) Error() string {
	switch {
	case e.Have == 0:
		return fmt.Sprintf("there are no tables: call Migrate, or apply Migrations up to version %d", e.Want)
	case e.Have < e.Want:
		return fmt.Sprintf("the schema has version %d and this program needs %d: call Migrate, or apply Migrations, before it starts", e.Have, e.Want)
	}
	return fmt.Sprintf("the schema has version %d, newer than the %d that this program knows: a newer program has migrated it", e.Have, e.Want)
}

// migration is a file of the folder migrations.
type migration struct {
	version int
	up      []string
}

// Migrations returns the files of the schema's versions, with the names that the
// options give the tables, in the form that goose reads.
func (e *Engine) Migrations() (fs.FS, error) {
	files := make(memFS)
	dir := path.Join("migrations", e.d.Name)
	entries, err := fs.ReadDir(embedded, dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		b, err := fs.ReadFile(embedded, path.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		files[entry.Name()] = e.renamed(string(b))
	}
	return files, nil
}

var (
	tableName = regexp.MustCompile(`\bapitoken_(` + strings.Join(tables, "|") + `)\b`)
	anyName   = regexp.MustCompile(`\bapitoken_(\w+)`)
)

// renamed writes a migration for other names. Those of indexes begin with that of
// their table and take no schema.
func (e *Engine) renamed(text string) string {
	if e.opts.Prefix == DefaultPrefix && e.opts.Schema == "" {
		return text
	}
	text = tableName.ReplaceAllString(text, "\x00$1")
	text = anyName.ReplaceAllString(text, e.opts.Prefix+"$1")
	return strings.ReplaceAll(text, "\x00", e.table(""))
}

// migrations reads the files in order.
func (e *Engine) migrations() ([]migration, error) {
	files, err := e.Migrations()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var out []migration
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number", name)
		}
		out = append(out, migration{version, statementsUp(string(text))})
	}
	return out, nil
}

// statementsUp cuts the part of a migration that goes up into statements. They end
// at a line's end; none of ours has a semicolon there otherwise.
func statementsUp(text string) []string {
	text, _, _ = strings.Cut(text, "-- +goose Down")
	var lines []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "--") // no literal of ours has one
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	var out []string
	for part := range strings.SplitSeq(strings.Join(lines, "\n"), ";") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Version returns the version of the schema, 0 = there is none. While others have the
// database to themselves it asks again, a bounded number of times.
func (e *Engine) Version(ctx context.Context) (int, error) {
	version, err := e.version(ctx)
	// SQLite does not wait, whatever busy_timeout says, where two connections at once
	// change the journal to WAL: each would wait for the other.
	for try := 1; try < maxMigrationTries && Contended(err); try++ {
		if ended := pause(ctx, try); ended != nil {
			return 0, e.outage("version", errors.Join(err, ended))
		}
		version, err = e.version(ctx)
	}
	return version, e.outage("version", err)
}

func (e *Engine) version(ctx context.Context) (int, error) {
	var version int
	_, err := e.first(ctx, e.db, &Statement{Text: e.text("SELECT COALESCE(MAX(version), 0) FROM {schema}")}, nil, (*count)(&version))
	if noTable(err) {
		return 0, nil
	}
	return version, err
}

// Latest returns the version that this package works with.
func (e *Engine) Latest() (int, error) {
	all, err := e.migrations()
	if err != nil {
		return 0, e.outage("migrations", err)
	}
	return all[len(all)-1].version, nil
}

// Validate compares the version of the schema with what this package works with.
func (e *Engine) Validate(ctx context.Context) error {
	have, err := e.Version(ctx)
	if err != nil {
		return err
	}
	want, err := e.Latest()
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("%s: %w", e.opts.Name, &SchemaError{Have: have, Want: want})
	}
	return nil
}

// maxMigrationTries bounds how often a step is tried that others may be making.
const maxMigrationTries = 10

// Migrate brings the schema to the version that this package works with. Any
// number of processes may call it at once. It needs no lock: each version begins by
// writing its number, and whoever comes second finds it.
func (e *Engine) Migrate(ctx context.Context) error {
	if hosttx.From(ctx) != nil {
		return e.outage("migrate", errors.New("the context carries a transaction, and Migrate makes its own"))
	}
	all, err := e.migrations()
	if err != nil {
		return e.outage("migrate", err)
	}
	have, err := e.Version(ctx)
	if err != nil {
		return err
	}
	if want := all[len(all)-1].version; have > want {
		return fmt.Errorf("%s: %w", e.opts.Name, &SchemaError{Have: have, Want: want})
	}
	for _, m := range all {
		if m.version > have {
			if err := e.migrateTo(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// migrateTo makes one step, or sees that another process made it.
func (e *Engine) migrateTo(ctx context.Context, m migration) error {
	var failed error
	for try := range maxMigrationTries {
		if try > 0 {
			if err := pause(ctx, try); err != nil {
				return e.outage("migrate", errors.Join(failed, err))
			}
		}
		failed = e.apply(ctx, m)
		have, err := e.version(ctx)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case have >= m.version:
			return nil
		case failed == nil:
			return e.outage("migrate", fmt.Errorf("version %d was applied and the schema says %d", m.version, have))
		}
	}
	return e.outage("migrate", fmt.Errorf("version %d: %w", m.version, failed))
}

func (e *Engine) apply(ctx context.Context, m migration) error {
	run := func(c Conn) error {
		for _, text := range m.up {
			if _, err := c.Exec(ctx, &Statement{Text: text}); err != nil {
				return err
			}
		}
		return nil
	}
	if e.d.loose {
		return run(e.db)
	}
	return e.once(ctx, run)
}

// pause lets others finish: a few milliseconds, more with each try.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(time.Duration(try) * (5*time.Millisecond + rand.N(20*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
