-- +goose Up
-- The tables of apitoken. docs/schema.md explains them.

CREATE TABLE apitoken_schema (
	version INTEGER NOT NULL PRIMARY KEY
) STRICT;

-- First, so that of several processes one goes on and the others wait for it.
INSERT INTO apitoken_schema (version) VALUES (1);

CREATE TABLE apitoken_tokens (
	id TEXT NOT NULL, -- 22 base62 characters
	tenant TEXT NOT NULL,
	kind TEXT NOT NULL,
	creator TEXT NOT NULL,
	created_at INTEGER NOT NULL, -- all instants are microseconds since 1970, 0 = none
	idempotency_key TEXT, -- NULL = none, as alias: what must be unique
	issue_sum BLOB NOT NULL,
	version INTEGER NOT NULL,
	name TEXT NOT NULL,
	description TEXT NOT NULL,
	hint TEXT NOT NULL,
	metadata TEXT NOT NULL, -- JSON, a pair on each line
	owner TEXT NOT NULL,
	agent TEXT NOT NULL,
	state TEXT NOT NULL,
	cause TEXT NOT NULL,
	reason TEXT NOT NULL,
	state_at INTEGER NOT NULL,
	grant_live INTEGER NOT NULL,
	grant_cut INTEGER NOT NULL,
	grant_role TEXT NOT NULL,
	permissions TEXT NOT NULL, -- JSON, as all lists
	all_resources INTEGER NOT NULL,
	resource_groups TEXT NOT NULL,
	networks TEXT NOT NULL,
	origins TEXT NOT NULL,
	share INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL, -- 9223372036854775807 = never, as due_at
	expiry_set_at INTEGER NOT NULL,
	whole_day INTEGER NOT NULL,
	rotated_at INTEGER NOT NULL,
	idle_after INTEGER NOT NULL, -- nanoseconds, as all spans
	usage_interval INTEGER NOT NULL,
	after_expiry TEXT NOT NULL,
	purge_after INTEGER NOT NULL,
	purge_expired_after INTEGER NOT NULL,
	notice_before INTEGER NOT NULL,
	revoke_on_deactivation INTEGER NOT NULL,
	primary_algorithm TEXT NOT NULL,
	primary_key_id TEXT NOT NULL,
	primary_prefix TEXT NOT NULL,
	primary_check BLOB NOT NULL, -- a digest, never a secret
	previous_algorithm TEXT NOT NULL,
	previous_key_id TEXT NOT NULL,
	previous_prefix TEXT NOT NULL,
	previous_check BLOB NOT NULL,
	previous_until INTEGER NOT NULL,
	reuse_reported INTEGER NOT NULL,
	alias TEXT,
	legacy_algorithm TEXT NOT NULL,
	legacy_key_id TEXT NOT NULL,
	legacy_prefix TEXT NOT NULL,
	legacy_check BLOB NOT NULL,
	rotate_key TEXT NOT NULL,
	rotate_sum BLOB NOT NULL,
	due_at INTEGER NOT NULL,
	expiry_done INTEGER NOT NULL,
	notice_done INTEGER NOT NULL,
	op TEXT NOT NULL,
	uses INTEGER NOT NULL, -- from here on: written by uses only, in no index
	last_used INTEGER NOT NULL,
	last_address TEXT NOT NULL,
	recent_networks TEXT NOT NULL,
	legacy_use INTEGER NOT NULL,
	PRIMARY KEY (id)
) STRICT;

CREATE UNIQUE INDEX apitoken_tokens_alias ON apitoken_tokens (alias);
CREATE UNIQUE INDEX apitoken_tokens_key ON apitoken_tokens (tenant, idempotency_key);
CREATE INDEX apitoken_tokens_due ON apitoken_tokens (due_at, id);
CREATE INDEX apitoken_tokens_tenant ON apitoken_tokens (tenant, created_at, id);
CREATE INDEX apitoken_tokens_owner ON apitoken_tokens (owner, tenant, created_at, id);
CREATE INDEX apitoken_tokens_agent ON apitoken_tokens (agent, tenant, created_at, id);

-- The history, which outlives its tokens. Rows are added and never changed.
CREATE TABLE apitoken_events (
	id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	token TEXT NOT NULL,
	version INTEGER NOT NULL,
	ordinal INTEGER NOT NULL,
	type TEXT NOT NULL,
	happened_at INTEGER NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (id)
) STRICT;

CREATE INDEX apitoken_events_token ON apitoken_events (token, tenant, version, ordinal);

-- Events that are not delivered yet; aside = 1: given up.
CREATE TABLE apitoken_outbox (
	id TEXT NOT NULL,
	happened_at INTEGER NOT NULL,
	available_at INTEGER NOT NULL, -- end of the lease, or the instant to try again; 0 = not claimed yet
	attempts INTEGER NOT NULL,
	holder TEXT, -- of the lease; NULL = nobody
	aside INTEGER NOT NULL,
	PRIMARY KEY (id)
) STRICT;

CREATE INDEX apitoken_outbox_open ON apitoken_outbox (aside, available_at, happened_at, id);
CREATE INDEX apitoken_outbox_holder ON apitoken_outbox (holder);

CREATE TABLE apitoken_settings (
	tenant TEXT NOT NULL,
	version INTEGER NOT NULL,
	origins TEXT NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (tenant)
) STRICT;

-- SHA-256 of what may be presented once.
CREATE TABLE apitoken_replays (
	id BLOB NOT NULL,
	until_at INTEGER NOT NULL,
	PRIMARY KEY (id)
) STRICT;

CREATE INDEX apitoken_replays_until ON apitoken_replays (until_at);

-- +goose Down
DROP TABLE apitoken_replays;
DROP TABLE apitoken_settings;
DROP TABLE apitoken_outbox;
DROP TABLE apitoken_events;
DROP TABLE apitoken_tokens;
DROP TABLE apitoken_schema;
