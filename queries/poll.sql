-- What is due, oldest first. Rows in flight are still due: the caller knows them and asks for that many more.
-- name: DuePolls :many
SELECT t.seq FROM instance_trigger AS t
WHERE t.next_poll_at IS NOT NULL AND t.next_poll_at <= @now
ORDER BY t.next_poll_at LIMIT @max_rows;

-- name: NextPoll :many
SELECT t.next_poll_at FROM instance_trigger AS t
WHERE t.next_poll_at IS NOT NULL AND t.next_poll_at > @now AND t.next_poll_at < @before
ORDER BY t.next_poll_at LIMIT 1;

-- name: PollTargets :many
SELECT t.seq, t.id, t.instance_seq, t.baseline, t.revision,
  CAST(CASE WHEN length(t.state) <= CAST(@max_state AS INTEGER) THEN t.state END AS BLOB) AS state, CAST(coalesce(length(t.state), 0) AS INTEGER) AS state_length, t.next_poll_at, t.next_poll_fixed, t.consecutive_failures, t.error_code, t.error_message,
  t.registered_url, t.registered_revision, t.registration, t.unregister_at,
  i.id AS instance_id, i.callback_seq, c.id AS callback_id, c.poll_interval_seconds_override,
  t.provider_trigger_seq, pt.key AS trigger_key, pt.source, pt.interval_seconds, pt.min_interval_seconds, p.identifier AS provider_identifier,
  cfg.id AS config_id, cfg.value AS config_value, ac.id AS auth_config_id, ac.value AS auth_value, ac.prepared AS auth_prepared, ac.renew_at AS auth_renew_at,
  m.key AS auth_method_key
FROM instance_trigger AS t
JOIN instance AS i ON i.seq = t.instance_seq
JOIN callback AS c ON c.seq = i.callback_seq
JOIN provider_trigger AS pt ON pt.seq = t.provider_trigger_seq
JOIN provider AS p ON p.seq = pt.provider_seq
JOIN provider_config AS cfg ON cfg.seq = i.config_seq
LEFT JOIN provider_auth_config AS ac ON ac.seq = i.auth_config_seq
LEFT JOIN provider_auth_method AS m ON m.seq = ac.auth_method_seq
WHERE t.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- Both poll outcomes hold only for a trigger that is still polled, and with what it was polled with: one
-- that was detached or changed meanwhile keeps its state.

-- name: RecordPollSuccess :execrows
UPDATE instance_trigger SET state = coalesce(@state, state), baseline = CASE WHEN CAST(@more AS INTEGER) = 1 THEN baseline ELSE 'done' END, status = 'active', next_poll_at = @next_poll_at, next_poll_fixed = @next_poll_fixed, last_polled_at = @last_polled_at,
  last_lag_ms = @last_lag_ms, last_duration_ms = @last_duration_ms, last_items = @last_items, consecutive_failures = 0, error_code = @error_code, error_message = @error_message, updated_at = @last_polled_at
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision;

-- name: RecordPollFailure :execrows
UPDATE instance_trigger SET status = @status, next_poll_at = @next_poll_at, next_poll_fixed = 0, last_polled_at = @last_polled_at,
  last_lag_ms = @last_lag_ms, last_duration_ms = @last_duration_ms, last_items = 0, consecutive_failures = consecutive_failures + 1, error_code = @error_code, error_message = @error_message, updated_at = @last_polled_at
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision;

-- name: KnownKeys :many
SELECT CAST(j.value AS TEXT) AS hex FROM json_each(CAST(@keys AS TEXT)) AS j
WHERE EXISTS (SELECT 1 FROM event_key AS k
  WHERE k.callback_seq = @callback_seq AND k.key = unhex(j.value) AND k.instance_trigger_seq = @instance_trigger_seq);

-- name: DueMappings :many
SELECT e.seq, e.instance_trigger_seq, e.map_attempts, p.input
FROM event AS e JOIN event_payload AS p ON p.event_seq = e.seq
WHERE e.next_map_at IS NOT NULL AND e.next_map_at <= @now
ORDER BY e.next_map_at LIMIT @max_rows;

-- name: NextMapping :one
SELECT CAST(coalesce(min(e.next_map_at), 0) AS INTEGER) FROM event AS e WHERE e.next_map_at IS NOT NULL;

-- name: PostponeMapping :exec
UPDATE event SET next_map_at = @next_map_at WHERE seq = @seq AND next_map_at IS NOT NULL;

-- One is enough to know that there are some.
-- name: Unmapped :many
SELECT e.seq FROM event AS e WHERE e.instance_trigger_seq = @instance_trigger_seq AND e.error_code IS NOT NULL AND e.status = 'retrying' LIMIT 1;
