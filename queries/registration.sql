-- Like the outcome of a poll, that of a registration holds only for a trigger that is still attended to, and
-- with what it was registered with.

-- name: RecordRegistration :execrows
UPDATE instance_trigger SET registered_url = @registered_url, registered_revision = revision, registration = @registration, state = coalesce(@state, state), status = 'active',
  next_poll_at = @next_poll_at, next_poll_fixed = 1, consecutive_failures = 0, error_code = NULL, error_message = NULL, unregister_at = NULL, updated_at = @now
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision;

-- There is nothing to be registered, or nothing left to do.
-- name: RecordListening :exec
UPDATE instance_trigger SET status = 'active', next_poll_at = @never, next_poll_fixed = 1, consecutive_failures = 0, error_code = NULL, error_message = NULL, updated_at = @now
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision;

-- What the last request was like stays as it is.
-- name: RecordRegistrationFailure :exec
UPDATE instance_trigger SET status = @status, next_poll_at = @next_poll_at, next_poll_fixed = 0, consecutive_failures = consecutive_failures + 1,
  error_code = @error_code, error_message = @error_message, updated_at = @now
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

-- What a trigger that stands still says of itself, and what of that is archived.
-- name: StandsStill :one
SELECT t.next_poll_at, t.error_code, t.error_message, d.status AS deployment_status, f.status AS config_status, CAST(coalesce(a.status, 'active') AS TEXT) AS auth_config_status
FROM instance_trigger AS t JOIN instance AS i ON i.seq = t.instance_seq JOIN callback AS c ON c.seq = i.callback_seq JOIN provider_deployment AS d ON d.seq = c.deployment_seq
JOIN provider_config AS f ON f.seq = i.config_seq LEFT JOIN provider_auth_config AS a ON a.seq = i.auth_config_seq
WHERE t.seq = @seq;

-- One that is wanted again by now is made anew.
-- name: RecordUnregistration :exec
UPDATE instance_trigger SET registered_url = NULL, registered_revision = NULL, registration = NULL, unregister_at = NULL,
  next_poll_at = CASE WHEN next_poll_at IS NOT NULL THEN CAST(@now AS INTEGER) END,
  consecutive_failures = CASE WHEN next_poll_at IS NOT NULL THEN consecutive_failures ELSE 0 END,
  error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE seq = @seq;

-- Failures from before, such as of renewing it, do not count.
-- name: PostponeUnregistration :exec
UPDATE instance_trigger SET unregister_at = @unregister_at, consecutive_failures = CASE WHEN error_code = @error_code THEN consecutive_failures + 1 ELSE 1 END,
  error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE seq = @seq AND unregister_at IS NOT NULL;

-- Webhooks that are registered with a URL that the world no longer knows, or could not be with the last one.
-- name: MoveRegistrations :execrows
UPDATE instance_trigger SET next_poll_at = @now, updated_at = @now
WHERE next_poll_at IS NOT NULL AND (error_code = 'registration_failed'
  OR registered_url IS NOT NULL AND substr(registered_url, 1, length(CAST(@prefix AS TEXT))) <> CAST(@prefix AS TEXT));

-- What a provider made of an auth config's value counts only as long as that is its value.
-- name: SavePrepared :execrows
UPDATE provider_auth_config SET prepared = @prepared, renew_at = @renew_at WHERE id = @id AND value = @value;
