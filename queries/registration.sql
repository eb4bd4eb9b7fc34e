-- Like the outcome of a poll, that of a registration holds only for a trigger that is still attended to, and
-- with what it was registered with.

-- name: RecordRegistration :execrows
UPDATE instance_trigger SET registered_url = @registered_url, registered_revision = revision, registration = @registration, state = coalesce(@state, state), status = 'active',
  next_poll_at = @next_poll_at, next_poll_fixed = 1, consecutive_failures = 0, error_code = NULL, error_message = NULL, unregister_at = NULL, updated_at = @now
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision;

-- The source has it all the same: it is to be taken back, or to be made anew.
-- name: RecordStaleRegistration :exec
UPDATE instance_trigger SET registered_url = @registered_url, registered_revision = @revision, registration = @registration,
  unregister_at = CASE WHEN next_poll_at IS NULL THEN CAST(@now AS INTEGER) END, updated_at = @now
WHERE seq = @seq;

-- name: DueUnregistrations :many
SELECT t.seq FROM instance_trigger AS t
WHERE t.unregister_at IS NOT NULL AND t.unregister_at <= @now
ORDER BY t.unregister_at LIMIT @max_rows;

-- name: NextUnregistration :one
SELECT CAST(coalesce(min(t.unregister_at), 0) AS INTEGER) FROM instance_trigger AS t WHERE t.unregister_at IS NOT NULL;

-- One that is wanted again by now is made anew.
-- name: RecordUnregistration :exec
UPDATE instance_trigger SET registered_url = NULL, registered_revision = NULL, registration = NULL, unregister_at = NULL,
  next_poll_at = CASE WHEN next_poll_at IS NOT NULL THEN CAST(@now AS INTEGER) END,
  error_code = CASE WHEN next_poll_at IS NOT NULL OR error_code <> 'unregistration_failed' THEN error_code END,
  error_message = CASE WHEN next_poll_at IS NOT NULL OR error_code <> 'unregistration_failed' THEN error_message END, updated_at = @now
WHERE seq = @seq;

-- name: PostponeUnregistration :exec
UPDATE instance_trigger SET unregister_at = @unregister_at, consecutive_failures = consecutive_failures + 1, error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE seq = @seq AND unregister_at IS NOT NULL;

-- Webhooks that are registered with a URL that the world no longer knows.
-- name: MoveRegistrations :execrows
UPDATE instance_trigger SET next_poll_at = @now, updated_at = @now
WHERE registered_url IS NOT NULL AND next_poll_at IS NOT NULL AND substr(registered_url, 1, length(CAST(@prefix AS TEXT))) <> CAST(@prefix AS TEXT);

-- What a provider made of an auth config's value counts only as long as that is its value.
-- name: SavePrepared :execrows
UPDATE provider_auth_config SET prepared = @prepared, renew_at = @renew_at WHERE id = @id AND value = @value;
