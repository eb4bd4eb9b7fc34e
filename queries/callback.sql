-- name: InsertCallback :execlastid
INSERT INTO callback (id, deployment_seq, status, name, description, metadata, poll_interval_seconds_override, retention_seconds, created_at, updated_at)
VALUES (@id, @deployment_seq, 'active', @name, @description, @metadata, @poll_interval_seconds_override, @retention_seconds, @now, @now);

-- name: UpdateCallback :exec
UPDATE callback SET name = @name, description = @description, metadata = @metadata,
  poll_interval_seconds_override = @poll_interval_seconds_override, retention_seconds = @retention_seconds, updated_at = @now
WHERE seq = @seq;

-- name: ArchiveCallback :exec
UPDATE callback SET status = 'archived', updated_at = @now WHERE seq = @seq AND status = 'active';

-- name: CallbacksBySeq :many
SELECT * FROM callback WHERE seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: CallbackSeq :one
SELECT c.seq, c.status FROM callback AS c WHERE c.id = @id;

-- name: InsertCallbackTrigger :exec
INSERT INTO callback_trigger (id, callback_seq, provider_trigger_seq, event_types, created_at)
VALUES (@id, @callback_seq, @provider_trigger_seq, @event_types, @now);

-- name: UpdateCallbackTrigger :exec
UPDATE callback_trigger SET event_types = @event_types WHERE callback_seq = @callback_seq AND provider_trigger_seq = @provider_trigger_seq;

-- name: DeleteCallbackTrigger :exec
DELETE FROM callback_trigger WHERE callback_seq = @callback_seq AND provider_trigger_seq = @provider_trigger_seq;

-- name: CallbackTriggers :many
SELECT ct.seq, ct.id, ct.callback_seq, ct.provider_trigger_seq, ct.event_types, ct.created_at, t.id AS trigger_id, t.key, t.name
FROM callback_trigger AS ct JOIN provider_trigger AS t ON t.seq = ct.provider_trigger_seq
WHERE ct.callback_seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)))
ORDER BY ct.seq;
