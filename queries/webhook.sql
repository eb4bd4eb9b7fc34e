-- A trigger by the id that its URL has. It is paused, and not closed, if all that it needs is in use still.
-- name: WebhookTrigger :one
SELECT t.seq, CAST(t.status = 'paused' AND t.enabled = 1 AND i.status = 'attached' AND c.status = 'active' AND d.status = 'active'
  AND cfg.status = 'active' AND coalesce(ac.status, 'active') = 'active' AS INTEGER) AS paused
FROM instance_trigger AS t
JOIN provider_trigger AS pt ON pt.seq = t.provider_trigger_seq
JOIN instance AS i ON i.seq = t.instance_seq
JOIN callback AS c ON c.seq = i.callback_seq
JOIN provider_deployment AS d ON d.seq = c.deployment_seq
JOIN provider_config AS cfg ON cfg.seq = i.config_seq
LEFT JOIN provider_auth_config AS ac ON ac.seq = i.auth_config_seq
WHERE t.id = @id AND pt.source = 'webhook';

-- Like the outcome of a poll, that of a request holds only for a trigger that is still attended to, and with
-- what the request was handled with: also with its state, if there is to be a new one. Errors of the
-- registration are not its own: they stay, with their count, which plans the next try.

-- name: RecordWebhook :execrows
UPDATE instance_trigger SET state = coalesce(@state, state), last_received_at = @last_received_at, last_duration_ms = @last_duration_ms, last_items = @last_items,
  status = CASE WHEN error_code IS NULL OR error_code IN ('webhook_failed', 'mapping_failed') THEN 'active' ELSE status END,
  consecutive_failures = CASE WHEN error_code IS NULL OR error_code IN ('webhook_failed', 'mapping_failed') THEN 0 ELSE consecutive_failures END,
  error_message = CASE WHEN error_code IS NULL OR error_code IN ('webhook_failed', 'mapping_failed') THEN @error_message ELSE error_message END,
  error_code = CASE WHEN error_code IS NULL OR error_code IN ('webhook_failed', 'mapping_failed') THEN @error_code ELSE error_code END, updated_at = @last_received_at
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision AND (CAST(@any_state AS INTEGER) = 1 OR state IS @from_state);

-- name: RecordWebhookFailure :exec
UPDATE instance_trigger SET status = 'failing', last_received_at = @last_received_at, last_duration_ms = @last_duration_ms, last_items = 0,
  consecutive_failures = consecutive_failures + 1, error_code = 'webhook_failed', error_message = @error_message, updated_at = @last_received_at
WHERE seq = @seq AND next_poll_at IS NOT NULL AND revision = @revision AND (error_code IS NULL OR error_code IN ('webhook_failed', 'mapping_failed'));
