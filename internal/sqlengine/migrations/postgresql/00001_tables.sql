-- +goose Up
-- The tables of apitoken. docs/schema.md explains them.

CREATE TABLE apitoken_schema (
	version bigint NOT NULL PRIMARY KEY
);

-- First, so that of several processes one goes on and the others wait for it.
INSERT INTO apitoken_schema (version) VALUES (1);

CREATE TABLE apitoken_tokens (
	id text COLLATE "C" NOT NULL, -- 22 base62 characters
	tenant text COLLATE "C" NOT NULL,
	kind text COLLATE "C" NOT NULL,
	creator text COLLATE "C" NOT NULL,
	created_at bigint NOT NULL, -- all instants are microseconds since 1970, 0 = none
	idempotency_key text COLLATE "C", -- NULL = none, as alias: what must be unique
	issue_sum bytea NOT NULL,
	version bigint NOT NULL,
	name text COLLATE "C" NOT NULL,
	description text COLLATE "C" NOT NULL,
	hint text COLLATE "C" NOT NULL,
	metadata text COLLATE "C" NOT NULL, -- JSON, a pair on each line
	owner text COLLATE "C" NOT NULL,
	agent text COLLATE "C" NOT NULL,
	state text COLLATE "C" NOT NULL,
	cause text COLLATE "C" NOT NULL,
	reason text COLLATE "C" NOT NULL,
	state_at bigint NOT NULL,
	grant_live bigint NOT NULL,
	grant_cut bigint NOT NULL,
	grant_role text COLLATE "C" NOT NULL,
	permissions text COLLATE "C" NOT NULL, -- JSON, as all lists
	all_resources bigint NOT NULL,
	resource_groups text COLLATE "C" NOT NULL,
	networks text COLLATE "C" NOT NULL,
	origins text COLLATE "C" NOT NULL,
	share bigint NOT NULL,
	updated_at bigint NOT NULL,
	expires_at bigint NOT NULL, -- 9223372036854775807 = never, as due_at
	expiry_set_at bigint NOT NULL,
	whole_day bigint NOT NULL,
	rotated_at bigint NOT NULL,
	idle_after bigint NOT NULL, -- nanoseconds, as all spans
	usage_interval bigint NOT NULL,
	after_expiry text COLLATE "C" NOT NULL,
	purge_after bigint NOT NULL,
	purge_expired_after bigint NOT NULL,
	notice_before bigint NOT NULL,
	revoke_on_deactivation bigint NOT NULL,
	primary_algorithm text COLLATE "C" NOT NULL,
	primary_key_id text COLLATE "C" NOT NULL,
	primary_prefix text COLLATE "C" NOT NULL,
	primary_check bytea NOT NULL, -- a digest, never a secret
	previous_algorithm text COLLATE "C" NOT NULL,
	previous_key_id text COLLATE "C" NOT NULL,
	previous_prefix text COLLATE "C" NOT NULL,
	previous_check bytea NOT NULL,
	previous_until bigint NOT NULL,
	reuse_reported bigint NOT NULL,
	alias text COLLATE "C",
	legacy_algorithm text COLLATE "C" NOT NULL,
	legacy_key_id text COLLATE "C" NOT NULL,
	legacy_prefix text COLLATE "C" NOT NULL,
	legacy_check bytea NOT NULL,
	rotate_key text COLLATE "C" NOT NULL,
	rotate_sum bytea NOT NULL,
	due_at bigint NOT NULL,
	expiry_done bigint NOT NULL,
	notice_done bigint NOT NULL,
	op text COLLATE "C" NOT NULL,
	uses bigint NOT NULL, -- from here on: written by uses only, in no index
	last_used bigint NOT NULL,
	last_address text COLLATE "C" NOT NULL,
	recent_networks text COLLATE "C" NOT NULL,
	legacy_use bigint NOT NULL,
	PRIMARY KEY (id)
) WITH (fillfactor = 85) -- room for uses to be written in place
;

CREATE UNIQUE INDEX apitoken_tokens_alias ON apitoken_tokens (alias);
CREATE UNIQUE INDEX apitoken_tokens_key ON apitoken_tokens (tenant, idempotency_key);
CREATE INDEX apitoken_tokens_due ON apitoken_tokens (due_at, id);
CREATE INDEX apitoken_tokens_tenant ON apitoken_tokens (tenant, created_at, id);
CREATE INDEX apitoken_tokens_owner ON apitoken_tokens (owner, tenant, created_at, id);
CREATE INDEX apitoken_tokens_agent ON apitoken_tokens (agent, tenant, created_at, id);

-- The history, which outlives its tokens. Rows are added and never changed.
CREATE TABLE apitoken_events (
	id text COLLATE "C" NOT NULL,
	tenant text COLLATE "C" NOT NULL,
	token text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	ordinal bigint NOT NULL,
	type text COLLATE "C" NOT NULL,
	happened_at bigint NOT NULL,
	body text COLLATE "C" NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX apitoken_events_token ON apitoken_events (token, tenant, version, ordinal);

-- Events that are not delivered yet; aside = 1: given up.
CREATE TABLE apitoken_outbox (
	id text COLLATE "C" NOT NULL,
	happened_at bigint NOT NULL,
	available_at bigint NOT NULL, -- end of the lease, or the instant to try again; 0 = not claimed yet
	attempts bigint NOT NULL,
	holder text COLLATE "C", -- of the lease; NULL = nobody
	aside bigint NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX apitoken_outbox_open ON apitoken_outbox (aside, available_at, happened_at, id);
CREATE INDEX apitoken_outbox_holder ON apitoken_outbox (holder);

CREATE TABLE apitoken_settings (
	tenant text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	origins text COLLATE "C" NOT NULL,
	updated_at bigint NOT NULL,
	PRIMARY KEY (tenant)
);

-- SHA-256 of what may be presented once.
CREATE TABLE apitoken_replays (
	id bytea NOT NULL,
	until_at bigint NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX apitoken_replays_until ON apitoken_replays (until_at);

-- +goose Down
DROP TABLE apitoken_replays;
DROP TABLE apitoken_settings;
DROP TABLE apitoken_outbox;
DROP TABLE apitoken_events;
DROP TABLE apitoken_tokens;
DROP TABLE apitoken_schema;
