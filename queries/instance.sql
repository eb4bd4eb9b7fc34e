-- name: InsertInstance :execlastid
INSERT INTO instance (id, callback_seq, config_seq, auth_config_seq, status, baseline, created_at, updated_at)
VALUES (@id, @callback_seq, @config_seq, @auth_config_seq, 'attached', @baseline, @now, @now);

-- name: InstanceByPair :one
SELECT i.seq, i.status FROM instance AS i
WHERE i.callback_seq = @callback_seq AND i.config_seq = @config_seq AND coalesce(i.auth_config_seq, 0) = CAST(@auth_config_seq AS INTEGER);

-- name: SetInstanceStatus :exec
UPDATE instance SET status = @status, updated_at = @now WHERE seq = @seq;

-- name: InstancesBySeq :many
SELECT sqlc.embed(i), c.id AS callback_id, c.deployment_seq, c.poll_interval_seconds_override
FROM instance AS i JOIN callback AS c ON c.seq = i.callback_seq
WHERE i.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- Those that can poll: nothing that they poll with is archived.
-- name: PollableInstances :many
SELECT i.seq, i.baseline
FROM instance AS i JOIN callback AS c ON c.seq = i.callback_seq JOIN provider_deployment AS d ON d.seq = c.deployment_seq
JOIN provider_config AS f ON f.seq = i.config_seq LEFT JOIN provider_auth_config AS a ON a.seq = i.auth_config_seq
WHERE i.callback_seq = @callback_seq AND i.status = 'attached' AND d.status = 'active' AND f.status = 'active'
  AND coalesce(a.status, 'active') = 'active'
ORDER BY i.seq;

-- Without their states and registrations, which may be large.
-- name: InstanceTriggers :many
SELECT id, instance_seq, provider_trigger_seq, status, next_poll_at, last_polled_at, consecutive_failures, error_code, error_message,
  last_received_at, last_lag_ms, last_duration_ms, last_items, registered_url
FROM instance_trigger
WHERE enabled = 1 AND instance_seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)))
ORDER BY seq;

-- Also those that the callback no longer names: their events are there.
-- name: TriggersOfInstances :many
SELECT t.seq FROM instance AS i JOIN instance_trigger AS t ON t.instance_seq = i.seq
WHERE i.callback_seq = @callback_seq AND i.id IN (SELECT value FROM json_each(CAST(@ids AS TEXT)));

-- name: EnableInstanceTrigger :execrows
UPDATE instance_trigger SET enabled = 1, status = 'active', next_poll_at = @now, next_poll_fixed = 0, unregister_at = NULL, revision = revision + 1, consecutive_failures = 0,
  error_code = NULL, error_message = NULL, updated_at = @now
WHERE instance_seq = @instance_seq AND provider_trigger_seq = @provider_trigger_seq;

-- What somebody paused stays so. The error can only be that its webhook could not be taken back.
-- name: EnablePausedInstanceTrigger :execrows
UPDATE instance_trigger SET enabled = 1, unregister_at = NULL, consecutive_failures = 0, error_code = NULL, error_message = NULL, updated_at = @now
WHERE instance_seq = @instance_seq AND provider_trigger_seq = @provider_trigger_seq AND status = 'paused' AND coalesce(error_code, 'unregistration_failed') = 'unregistration_failed';

-- name: InsertInstanceTrigger :exec
INSERT INTO instance_trigger (id, instance_seq, provider_trigger_seq, enabled, status, baseline, revision, next_poll_at, consecutive_failures, created_at, updated_at)
VALUES (@id, @instance_seq, @provider_trigger_seq, 1, 'active', @baseline, 0, @now, 0, @now, @now);

-- Of a pause, only somebody's own is still known when the trigger is named again.
-- name: DisableInstanceTriggers :exec
UPDATE instance_trigger SET enabled = 0, status = CASE WHEN status = 'paused' AND error_code IS NOT NULL THEN 'active' ELSE status END, next_poll_at = NULL, unregister_at = CASE WHEN registered_url IS NOT NULL THEN CAST(@now AS INTEGER) END, updated_at = @now
WHERE provider_trigger_seq = @provider_trigger_seq AND instance_seq IN (SELECT i.seq FROM instance AS i WHERE i.callback_seq = @callback_seq);

-- What stops is also taken back from its source, if it is registered there.

-- name: StopInstance :exec
UPDATE instance_trigger SET next_poll_at = NULL, unregister_at = CASE WHEN registered_url IS NOT NULL THEN CAST(@now AS INTEGER) END, updated_at = @now
WHERE instance_seq = @instance_seq AND (next_poll_at IS NOT NULL OR registered_url IS NOT NULL);

-- name: StopCallback :exec
UPDATE instance_trigger SET next_poll_at = NULL, unregister_at = CASE WHEN registered_url IS NOT NULL THEN CAST(@now AS INTEGER) END, updated_at = @now
WHERE (next_poll_at IS NOT NULL OR registered_url IS NOT NULL) AND instance_seq IN (SELECT i.seq FROM instance AS i WHERE i.callback_seq = @callback_seq);

-- A changed interval holds from now on, not only after the poll that the old one had planned, or that is
-- just being made. Backing off goes on as planned. override_seconds is 0 for each trigger's own.
-- name: ReplanPolls :exec
UPDATE instance_trigger SET revision = revision + 1, updated_at = @now, next_poll_fixed = 0,
  next_poll_at = CASE WHEN status = 'active' THEN min(next_poll_at, @now + 1000 *
    (SELECT max(pt.min_interval_seconds, coalesce(nullif(CAST(@override_seconds AS INTEGER), 0), pt.interval_seconds)) FROM provider_trigger AS pt WHERE pt.seq = provider_trigger_seq))
    ELSE next_poll_at END
WHERE next_poll_at IS NOT NULL AND (SELECT pt.source FROM provider_trigger AS pt WHERE pt.seq = provider_trigger_seq) = 'polling' AND instance_seq IN (SELECT i.seq FROM instance AS i WHERE i.callback_seq = @callback_seq);
