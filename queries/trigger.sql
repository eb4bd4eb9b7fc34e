-- One trigger of an instance, by its id, or by the id, also one of an older version, or the key of the provider's
-- trigger, with what else has to be there for it to be attended to.
-- name: FindInstanceTrigger :one
SELECT t.seq, t.id, t.state, t.status, t.error_code, t.next_poll_at, pt.source, i.id AS instance_id, i.status AS instance_status,
  c.id AS callback_id, c.status AS callback_status, d.id AS deployment_id, d.status AS deployment_status,
  f.id AS config_id, f.status AS config_status, a.id AS auth_config_id, coalesce(a.status, 'active') AS auth_config_status
FROM instance_trigger AS t JOIN provider_trigger AS pt ON pt.seq = t.provider_trigger_seq
JOIN instance AS i ON i.seq = t.instance_seq JOIN callback AS c ON c.seq = i.callback_seq JOIN provider_deployment AS d ON d.seq = c.deployment_seq
JOIN provider_config AS f ON f.seq = i.config_seq LEFT JOIN provider_auth_config AS a ON a.seq = i.auth_config_seq
WHERE t.instance_seq = @instance_seq AND t.enabled = 1 AND (t.id = @trigger OR pt.key = @trigger
  OR pt.key = (SELECT x.key FROM provider_trigger AS x WHERE x.id = @trigger AND x.provider_seq = pt.provider_seq))
LIMIT 1;

-- That somebody paused a trigger is told from every other pause by its having no error. A webhook stays known to its
-- source.
-- name: PauseInstanceTrigger :exec
UPDATE instance_trigger SET status = 'paused', next_poll_at = NULL, next_poll_fixed = 0, consecutive_failures = 0, error_code = NULL, error_message = NULL, updated_at = @now
WHERE seq = @seq;

-- name: ResumeInstanceTrigger :exec
UPDATE instance_trigger SET status = 'active', next_poll_at = @now, next_poll_fixed = 0, unregister_at = NULL, revision = revision + 1, consecutive_failures = 0,
  error_code = NULL, error_message = NULL, updated_at = @now
WHERE seq = @seq;

-- What was begun with another state does not count any longer. With a state that somebody chose, there is no first
-- poll that is only remembered. Of a webhook, the registration is what it was.
-- name: SetInstanceTriggerState :exec
UPDATE instance_trigger SET state = @state, baseline = CASE WHEN CAST(@state AS BLOB) IS NULL THEN baseline ELSE 'done' END,
  next_poll_at = CASE WHEN next_poll_at IS NOT NULL AND CAST(@is_polled AS INTEGER) = 1 THEN @now ELSE next_poll_at END,
  next_poll_fixed = CASE WHEN CAST(@is_polled AS INTEGER) = 1 THEN 0 ELSE next_poll_fixed END,
  registered_revision = CASE WHEN registered_revision = revision THEN revision + 1 ELSE registered_revision END,
  revision = revision + 1, updated_at = @now
WHERE seq = @seq;
