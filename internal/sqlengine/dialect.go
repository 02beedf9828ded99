package sqlengine

import (
	"strconv"
	"strings"
)

// Dialect is what differs between the engines.
type Dialect struct {
	Name    string // of the folder of its migrations
	dollars bool   // $1, $2 instead of ?
	quoter  string
	// divide is the operator for whole numbers, and contains the search of a text in
	// another, byte for byte.
	divide   string
	contains string
	// hints: the engine has to be told by which index to read.
	hints bool
	// The statements that each engine says in its own way.
	touch, claim, revisions, forget string
	// choose, unless empty, is a statement of its own that claim gets the answer of.
	choose string
	// loose: a statement that defines tables commits by itself, so migrations run
	// without a transaction and each of their statements may be repeated.
	loose bool
	// touchBatch bounds how many uses one statement writes, so that no lock is held
	// long.
	touchBatch int
}

// The dialects.
var (
	SQLite = &Dialect{
		Name: "sqlite", quoter: `"`, divide: "/", contains: "instr(metadata, ?) > 0", touchBatch: 100,
		touch: `UPDATE {tokens} SET
	uses = uses + u.n,
	last_address = CASE WHEN u.l > last_used THEN u.a ELSE last_address END,
	recent_networks = CASE WHEN u.l > last_used THEN u.w ELSE recent_networks END,
	legacy_use = max(legacy_use, u.g),
	last_used = max(last_used, u.l),
` + periodUses("", "") + `
FROM (SELECT value ->> '$.i' AS i, value ->> '$.n' AS n, value ->> '$.l' AS l,
	value ->> '$.a' AS a, value ->> '$.w' AS w, value ->> '$.g' AS g,
	value ->> '$.df' AS df, value ->> '$.dn' AS dn, value ->> '$.wf' AS wf, value ->> '$.wn' AS wn,
	value ->> '$.mf' AS mf, value ->> '$.mn' AS mn, value ->> '$.c' AS c FROM json_each(?)) AS u
WHERE {tokens}.id = u.i`,
		claim: `WITH c AS (` + claimable("", "") + `)
UPDATE {outbox} SET holder = ?, available_at = ?, attempts = attempts + 1
WHERE id IN (SELECT id FROM c) AND +aside = 0 AND +available_at <= ?`, // + : not by these, or all that is free would be read
		revisions: `SELECT id, version, op, last_used, uses FROM {tokens} WHERE id IN (SELECT value FROM json_each(?))`,
		forget:    `DELETE FROM {replays} WHERE id IN (SELECT id FROM {replays} WHERE until_at <= ? ORDER BY until_at LIMIT ?)`,
	}

	// The rows are locked in the order of their IDs before they are changed, so that
	// two nodes that flush at once do not block each other for ever. What is claimed or
	// forgotten is chosen once, in an array: a sub-select might be run again after a wait.
	PostgreSQL = &Dialect{
		Name: "postgresql", dollars: true, quoter: `"`, divide: "/", contains: "strpos(metadata, ?) > 0", touchBatch: 500,
		touch: `WITH u AS (SELECT * FROM json_to_recordset(CAST(CAST(? AS text) AS json))
	AS x(i text, n bigint, l bigint, a text, w text, g bigint,
	df bigint, dn bigint, wf bigint, wn bigint, mf bigint, mn bigint, c bigint)),
locked AS (SELECT t.id FROM {tokens} t JOIN u ON u.i = t.id ORDER BY t.id FOR NO KEY UPDATE OF t)
UPDATE {tokens} t SET
	uses = t.uses + u.n,
	last_address = CASE WHEN u.l > t.last_used THEN u.a ELSE t.last_address END,
	recent_networks = CASE WHEN u.l > t.last_used THEN u.w ELSE t.recent_networks END,
	legacy_use = GREATEST(t.legacy_use, u.g),
	last_used = GREATEST(t.last_used, u.l),
` + periodUses("", "t.") + `
FROM u JOIN locked ON locked.id = u.i WHERE t.id = u.i`,
		claim: `WITH c AS (` + claimable("", " FOR UPDATE SKIP LOCKED") + `)
UPDATE {outbox} SET holder = ?, available_at = ?, attempts = attempts + 1
WHERE id = ANY(ARRAY(SELECT id FROM c)) AND aside = 0 AND available_at <= ?`,
		revisions: `SELECT id, version, op, last_used, uses FROM {tokens}
WHERE id IN (SELECT json_array_elements_text(CAST(CAST(? AS text) AS json)))`,
		forget: `DELETE FROM {replays}
WHERE id = ANY(ARRAY(SELECT id FROM {replays} WHERE until_at <= ? ORDER BY until_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
	}

	// MariaDB assigns from left to right: last_used, and the beginning of a period, come
	// after what is compared with them. Left to itself it reads all of a small table for a touch or a claim, and waits
	// for whoever has written any row of it. What a claim selects in the same statement
	// it locks: it would wait for hosts' transactions that are open, or, where it skips
	// what is locked, hide from other claimers what it does not take.
	MariaDB = &Dialect{
		Name: "mariadb", quoter: "`", divide: "DIV", contains: "INSTR(metadata, ?) > 0", touchBatch: 500, loose: true, hints: true,
		touch: `UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
	i VARCHAR(22) CHARACTER SET ascii COLLATE ascii_nopad_bin PATH '$.i', n BIGINT PATH '$.n', l BIGINT PATH '$.l',
	a VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$.a',
	w TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$.w', g BIGINT PATH '$.g',
	df BIGINT PATH '$.df', dn BIGINT PATH '$.dn', wf BIGINT PATH '$.wf', wn BIGINT PATH '$.wn',
	mf BIGINT PATH '$.mf', mn BIGINT PATH '$.mn', c BIGINT PATH '$.c')) u
STRAIGHT_JOIN {tokens} t FORCE INDEX (PRIMARY) ON t.id = u.i SET
	t.uses = t.uses + u.n,
	t.last_address = CASE WHEN u.l > t.last_used THEN u.a ELSE t.last_address END,
	t.recent_networks = CASE WHEN u.l > t.last_used THEN u.w ELSE t.recent_networks END,
	t.legacy_use = GREATEST(t.legacy_use, u.g),
	t.last_used = GREATEST(t.last_used, u.l),
` + periodUses("t.", "t."),
		choose: claimable(forced("outbox_open"), ""),
		claim: `UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
	i VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$')) c
STRAIGHT_JOIN {outbox} o FORCE INDEX (PRIMARY) ON o.id = c.i
SET o.holder = ?, o.available_at = ?, o.attempts = o.attempts + 1 WHERE o.aside = 0 AND o.available_at <= ?`,
		revisions: `SELECT t.id, t.version, t.op, t.last_used, t.uses FROM {tokens} t JOIN JSON_TABLE(?, '$[*]' COLUMNS (
	i VARCHAR(22) CHARACTER SET ascii COLLATE ascii_nopad_bin PATH '$')) u ON t.id = u.i`,
		forget: `DELETE FROM {replays} WHERE until_at <= ? ORDER BY until_at LIMIT ?`,
	}
)

// periodUses assigns those of a day, a week and a month as [apitoken.PeriodUses.Add]
// adds them. set and get stand before the columns that are assigned and read; what
// the columns are compared by is assigned last.
func periodUses(set, get string) string {
	const each = `	{set}{of}_uses = CASE WHEN u.{o}f = 0 THEN {get}{of}_uses WHEN u.{o}f = {get}{of}_from THEN {get}{of}_uses + u.{o}n
		WHEN u.{o}f > {get}{of}_from OR {get}{of}_from > u.c + 86400000000 THEN u.{o}n ELSE {get}{of}_uses END,
	{set}{of}_from = CASE WHEN u.{o}f <> 0 AND (u.{o}f > {get}{of}_from OR {get}{of}_from > u.c + 86400000000)
		THEN u.{o}f ELSE {get}{of}_from END`
	var all []string
	for _, of := range []string{"day", "week", "month"} {
		all = append(all, strings.NewReplacer("{set}", set, "{get}", get, "{of}", of, "{o}", of[:1]).Replace(each))
	}
	return strings.Join(all, ",\n")
}

// claimable selects the oldest events that are free. Those that nobody claimed yet
// stand in the index in their order; of the others those are looked at whose time
// has come: what is leased or waits costs nothing, however much it is.
func claimable(hint, lock string) string {
	return `SELECT id FROM (
	SELECT * FROM (SELECT id, happened_at FROM {outbox}` + hint + ` WHERE aside = 0 AND available_at = 0
		ORDER BY happened_at, id LIMIT ?` + lock + `) AS fresh
	UNION ALL
	SELECT * FROM (SELECT id, happened_at FROM {outbox}` + hint + ` WHERE aside = 0 AND available_at > 0 AND available_at <= ?
		ORDER BY happened_at, id LIMIT ?` + lock + `) AS again) AS free
ORDER BY happened_at, id LIMIT ?`
}

// by is the hint to read a table by an index, where the engine needs one.
func (d *Dialect) by(index string) string {
	if !d.hints {
		return ""
	}
	return forced(index)
}

func forced(index string) string { return " FORCE INDEX ({prefix}" + index + ")" }

func (d *Dialect) quote(name string) string { return d.quoter + name + d.quoter }

// numbered writes placeholders as the engine wants them. No statement of this
// package has a ? in a literal.
func (d *Dialect) numbered(text string) string {
	if !d.dollars {
		return text
	}
	var b strings.Builder
	n := 0
	for _, c := range []byte(text) {
		if c != '?' {
			b.WriteByte(c)
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}
