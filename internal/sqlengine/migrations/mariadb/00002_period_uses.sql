-- +goose Up
-- How many uses of a token fall into the latest day, week and month (UTC): what its
-- quotas count. An older program counts none of its own.

ALTER TABLE apitoken_tokens ADD COLUMN IF NOT EXISTS day_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN IF NOT EXISTS day_uses BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN IF NOT EXISTS week_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN IF NOT EXISTS week_uses BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN IF NOT EXISTS month_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN IF NOT EXISTS month_uses BIGINT NOT NULL DEFAULT 0;

INSERT IGNORE INTO apitoken_schema (version) VALUES (2);

-- +goose Down
ALTER TABLE apitoken_tokens DROP COLUMN IF EXISTS month_uses;
ALTER TABLE apitoken_tokens DROP COLUMN IF EXISTS month_from;
ALTER TABLE apitoken_tokens DROP COLUMN IF EXISTS week_uses;
ALTER TABLE apitoken_tokens DROP COLUMN IF EXISTS week_from;
ALTER TABLE apitoken_tokens DROP COLUMN IF EXISTS day_uses;
ALTER TABLE apitoken_tokens DROP COLUMN IF EXISTS day_from;
DELETE FROM apitoken_schema WHERE version = 2;
