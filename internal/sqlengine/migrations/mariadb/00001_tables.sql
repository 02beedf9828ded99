-- +goose Up
-- The tables of apitoken. docs/schema.md explains them.

CREATE TABLE IF NOT EXISTS apitoken_schema (
	version BIGINT NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS apitoken_tokens (
	id VARCHAR(22) CHARACTER SET ascii COLLATE ascii_nopad_bin NOT NULL, -- 22 base62 characters
	tenant VARCHAR(256) NOT NULL,
	kind VARCHAR(256) NOT NULL,
	creator VARCHAR(256) NOT NULL,
	created_at BIGINT NOT NULL, -- all instants are microseconds since 1970, 0 = none
	idempotency_key VARCHAR(256), -- NULL = none, as alias: what must be unique
	issue_sum VARBINARY(1024) NOT NULL,
	version BIGINT NOT NULL,
	name VARCHAR(1024) NOT NULL,
	description TEXT NOT NULL,
	hint VARCHAR(256) NOT NULL,
	metadata TEXT NOT NULL, -- JSON, a pair on each line
	owner VARCHAR(256) NOT NULL,
	agent VARCHAR(256) NOT NULL,
	state VARCHAR(64) NOT NULL,
	cause VARCHAR(64) NOT NULL,
	reason TEXT NOT NULL,
	state_at BIGINT NOT NULL,
	grant_live BIGINT NOT NULL,
	grant_cut BIGINT NOT NULL,
	grant_role VARCHAR(256) NOT NULL,
	permissions MEDIUMTEXT NOT NULL, -- JSON, as all lists
	all_resources BIGINT NOT NULL,
	resource_groups MEDIUMTEXT NOT NULL,
	networks MEDIUMTEXT NOT NULL,
	origins MEDIUMTEXT NOT NULL,
	share BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL, -- 9223372036854775807 = never, as due_at
	expiry_set_at BIGINT NOT NULL,
	whole_day BIGINT NOT NULL,
	rotated_at BIGINT NOT NULL,
	idle_after BIGINT NOT NULL, -- nanoseconds, as all spans
	usage_interval BIGINT NOT NULL,
	after_expiry VARCHAR(64) NOT NULL,
	purge_after BIGINT NOT NULL,
	purge_expired_after BIGINT NOT NULL,
	notice_before BIGINT NOT NULL,
	revoke_on_deactivation BIGINT NOT NULL,
	primary_algorithm VARCHAR(64) NOT NULL,
	primary_key_id VARCHAR(256) NOT NULL,
	primary_prefix VARCHAR(256) NOT NULL,
	primary_check VARBINARY(1024) NOT NULL, -- a digest, never a secret
	previous_algorithm VARCHAR(64) NOT NULL,
	previous_key_id VARCHAR(256) NOT NULL,
	previous_prefix VARCHAR(256) NOT NULL,
	previous_check VARBINARY(1024) NOT NULL,
	previous_until BIGINT NOT NULL,
	reuse_reported BIGINT NOT NULL,
	alias VARCHAR(256),
	legacy_algorithm VARCHAR(64) NOT NULL,
	legacy_key_id VARCHAR(256) NOT NULL,
	legacy_prefix VARCHAR(256) NOT NULL,
	legacy_check VARBINARY(1024) NOT NULL,
	rotate_key VARCHAR(256) NOT NULL,
	rotate_sum VARBINARY(1024) NOT NULL,
	due_at BIGINT NOT NULL,
	expiry_done BIGINT NOT NULL,
	notice_done BIGINT NOT NULL,
	op VARCHAR(64) NOT NULL,
	uses BIGINT NOT NULL, -- from here on: written by uses only, in no index
	last_used BIGINT NOT NULL,
	last_address VARCHAR(64) NOT NULL,
	recent_networks TEXT NOT NULL,
	legacy_use BIGINT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE KEY apitoken_tokens_alias (alias),
	UNIQUE KEY apitoken_tokens_key (tenant, idempotency_key),
	KEY apitoken_tokens_due (due_at, id),
	KEY apitoken_tokens_tenant (tenant, created_at, id),
	KEY apitoken_tokens_owner (owner, tenant, created_at, id),
	KEY apitoken_tokens_agent (agent, tenant, created_at, id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- The history, which outlives its tokens. Rows are added and never changed.
CREATE TABLE IF NOT EXISTS apitoken_events (
	id VARCHAR(320) NOT NULL,
	tenant VARCHAR(256) NOT NULL,
	token VARCHAR(256) NOT NULL,
	version BIGINT NOT NULL,
	ordinal BIGINT NOT NULL,
	type VARCHAR(64) NOT NULL,
	happened_at BIGINT NOT NULL,
	body MEDIUMTEXT NOT NULL,
	PRIMARY KEY (id),
	KEY apitoken_events_token (token, tenant, version, ordinal)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Events that are not delivered yet; aside = 1: given up.
CREATE TABLE IF NOT EXISTS apitoken_outbox (
	id VARCHAR(320) NOT NULL,
	happened_at BIGINT NOT NULL,
	available_at BIGINT NOT NULL, -- end of the lease, or the instant to try again; 0 = not claimed yet
	attempts BIGINT NOT NULL,
	holder VARCHAR(256), -- of the lease; NULL = nobody
	aside BIGINT NOT NULL,
	PRIMARY KEY (id),
	KEY apitoken_outbox_open (aside, available_at, happened_at, id),
	KEY apitoken_outbox_holder (holder)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS apitoken_settings (
	tenant VARCHAR(256) NOT NULL,
	version BIGINT NOT NULL,
	origins MEDIUMTEXT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (tenant)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- SHA-256 of what may be presented once.
CREATE TABLE IF NOT EXISTS apitoken_replays (
	id BINARY(32) NOT NULL,
	until_at BIGINT NOT NULL,
	PRIMARY KEY (id),
	KEY apitoken_replays_until (until_at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Last, since MariaDB commits each definition: until all are there, this runs again.
INSERT IGNORE INTO apitoken_schema (version) VALUES (1);

-- +goose Down
DROP TABLE IF EXISTS apitoken_replays;
DROP TABLE IF EXISTS apitoken_settings;
DROP TABLE IF EXISTS apitoken_outbox;
DROP TABLE IF EXISTS apitoken_events;
DROP TABLE IF EXISTS apitoken_tokens;
DROP TABLE IF EXISTS apitoken_schema;
