-- +goose Up
-- How many uses of a token fall into the latest day, week and month (UTC): what its
-- quotas count. An older program counts none of its own.

INSERT INTO apitoken_schema (version) VALUES (2);

ALTER TABLE apitoken_tokens ADD COLUMN day_from bigint NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN day_uses bigint NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN week_from bigint NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN week_uses bigint NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN month_from bigint NOT NULL DEFAULT 0;
ALTER TABLE apitoken_tokens ADD COLUMN month_uses bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE apitoken_tokens DROP COLUMN month_uses;
ALTER TABLE apitoken_tokens DROP COLUMN month_from;
ALTER TABLE apitoken_tokens DROP COLUMN week_uses;
ALTER TABLE apitoken_tokens DROP COLUMN week_from;
ALTER TABLE apitoken_tokens DROP COLUMN day_uses;
ALTER TABLE apitoken_tokens DROP COLUMN day_from;
DELETE FROM apitoken_schema WHERE version = 2;
