package sqlengine

import "strings"

// statements are the fixed ones. Lists are written for each query: see query.go.
type statements struct {
	all []*Statement

	create, get, getByAlias, swap, remove, version *Statement
	idOfKey, idOfAlias, idOfEvent                  *Statement
	touch, due                                     *Statement
	addEvent, events, placeOfEvent                 *Statement
	addOutbox, choose, claim, claimed              *Statement
	done, setAside, retry                          *Statement
	settings, addSettings, swapSettings            *Statement
	overdue, backlog                               *Statement
	revisions, remember, forget                    *Statement
}

func (e *Engine) statements() statements {
	var st statements
	fixed := func(text string) *Statement {
		s := &Statement{Text: e.text(text), Fixed: true}
		st.all = append(st.all, s)
		return s
	}
	all := tokenColumns((*columns).token)
	columnList := strings.Join(all, ", ")

	st.create = fixed("INSERT INTO {tokens} (" + columnList + ") VALUES (" + places(len(all)) + ")")
	st.get = fixed("SELECT " + columnList + " FROM {tokens} WHERE id = ?")
	st.getByAlias = fixed("SELECT " + columnList + " FROM {tokens} WHERE alias = ?")
	st.swap = fixed("UPDATE {tokens} SET " + strings.Join(tokenColumns((*columns).changing), " = ?, ") + " = ? " + guarded)
	st.remove = fixed("DELETE FROM {tokens} " + guarded)
	st.version = fixed("SELECT version FROM {tokens} WHERE id = ?")
	st.idOfKey = fixed("SELECT id FROM {tokens} WHERE tenant = ? AND idempotency_key = ?")
	st.idOfAlias = fixed("SELECT id FROM {tokens} WHERE alias = ?")
	st.touch = fixed(e.d.touch)
	st.due = fixed("SELECT " + columnList + ` FROM {tokens}
WHERE due_at <= ? AND due_at >= ? AND (due_at > ? OR id > ?) ORDER BY due_at, id LIMIT ?`)
	st.revisions = fixed(e.d.revisions)

	st.addEvent = fixed(`INSERT INTO {events} (id, tenant, token, version, ordinal, type, happened_at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
	st.idOfEvent = fixed("SELECT id FROM {events} WHERE id = ?")
	st.placeOfEvent = fixed("SELECT version, ordinal FROM {events} WHERE id = ? AND tenant = ? AND token = ?")
	st.events = fixed(`SELECT body FROM {events} WHERE token = ? AND tenant = ? AND version >= ?
	AND (version > ? OR ordinal > ? OR ordinal = ? AND id > ?) ORDER BY version, ordinal, id LIMIT ?`)

	st.addOutbox = fixed(`INSERT INTO {outbox} (id, happened_at, available_at, attempts, aside)
VALUES (?, ?, 0, 0, 0)`)
	if e.d.choose != "" {
		st.choose = fixed(e.d.choose)
	}
	st.claim = fixed(e.d.claim)
	st.claimed = fixed(`SELECT o.attempts, e.body FROM {outbox} o JOIN {events} e ON e.id = o.id
WHERE o.holder = ? ORDER BY o.happened_at, o.id`)
	st.done = fixed("DELETE FROM {outbox} WHERE id = ? AND holder = ?")
	st.setAside = fixed("UPDATE {outbox} SET aside = 1, holder = NULL WHERE id = ? AND holder = ?")
	st.retry = fixed("UPDATE {outbox} SET available_at = ?, holder = NULL WHERE id = ? AND holder = ?")

	st.settings = fixed("SELECT version, origins, updated_at FROM {settings} WHERE tenant = ?")
	st.addSettings = fixed("INSERT INTO {settings} (version, origins, updated_at, tenant) VALUES (?, ?, ?, ?)")
	st.swapSettings = fixed("UPDATE {settings} SET version = ?, origins = ?, updated_at = ? WHERE tenant = ? AND version = ?")

	st.overdue = fixed("SELECT COUNT(*), COALESCE(MIN(due_at), 0) FROM {tokens} WHERE due_at <= ?")
	st.backlog = fixed("SELECT aside, COUNT(*) FROM {outbox} GROUP BY aside")

	st.remember = fixed("INSERT INTO {replays} (id, until_at) VALUES (?, ?)")
	st.forget = fixed(e.d.forget)
	return st
}

// guarded is the condition of every change of a token: the version that was read,
// and where its last use matters, that it was not used since.
const guarded = "WHERE id = ? AND version = ? AND last_used <= ?"

func places(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
