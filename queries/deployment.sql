-- name: InsertDeployment :execlastid
INSERT INTO provider_deployment (id, provider_seq, status, is_default, name, description, metadata, created_at, updated_at)
VALUES (@id, @provider_seq, 'active',
  NOT EXISTS (SELECT 1 FROM provider_deployment AS d WHERE d.provider_seq = @provider_seq),
  @name, @description, @metadata, @now, @now);

-- name: SetDefaultConfig :exec
UPDATE provider_deployment SET default_config_seq = @config_seq WHERE seq = @seq;

-- name: UpdateDeployment :exec
UPDATE provider_deployment SET name = @name, description = @description, metadata = @metadata, updated_at = @now WHERE seq = @seq;

-- name: ArchiveDeployment :exec
UPDATE provider_deployment SET status = 'archived', updated_at = @now WHERE seq = @seq AND status = 'active';

-- name: DeploymentsBySeq :many
SELECT sqlc.embed(d), p.id AS provider_id, p.identifier AS provider_identifier
FROM provider_deployment AS d JOIN provider AS p ON p.seq = d.provider_seq
WHERE d.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: InsertConfig :execlastid
INSERT INTO provider_config (id, provider_seq, specification_seq, deployment_seq, status, is_default, name, description, metadata, value, created_at, updated_at)
VALUES (@id, @provider_seq, @specification_seq, @deployment_seq, 'active', @is_default, @name, @description, @metadata, @value, @now, @now);

-- name: UpdateConfig :exec
UPDATE provider_config SET name = @name, description = @description, metadata = @metadata, specification_seq = @specification_seq,
  value = @value, updated_at = @now
WHERE seq = @seq;

-- name: ArchiveConfig :exec
UPDATE provider_config SET status = 'archived', updated_at = @now WHERE seq = @seq AND status = 'active';

-- name: ConfigsBySeq :many
SELECT sqlc.embed(c), p.id AS provider_id, p.identifier AS provider_identifier, s.id AS specification_id
FROM provider_config AS c JOIN provider AS p ON p.seq = c.provider_seq JOIN provider_specification AS s ON s.seq = c.specification_seq
WHERE c.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: InsertAuthConfig :execlastid
INSERT INTO provider_auth_config (id, provider_seq, auth_method_seq, deployment_seq, status, is_default, name, description, metadata, value, created_at, updated_at)
VALUES (@id, @provider_seq, @auth_method_seq, @deployment_seq, 'active', 0, @name, @description, @metadata, @value, @now, @now);

-- What was prepared of another value is void.
-- name: UpdateAuthConfig :exec
UPDATE provider_auth_config SET name = @name, description = @description, metadata = @metadata,
  prepared = CASE WHEN value = @value THEN prepared END, renew_at = CASE WHEN value = @value THEN renew_at END, value = @value, updated_at = @now
WHERE seq = @seq;

-- name: ArchiveAuthConfig :exec
UPDATE provider_auth_config SET status = 'archived', updated_at = @now WHERE seq = @seq AND status = 'active';

-- name: AuthConfigsBySeq :many
SELECT sqlc.embed(a), p.id AS provider_id, p.identifier AS provider_identifier, m.key AS auth_method_key
FROM provider_auth_config AS a JOIN provider AS p ON p.seq = a.provider_seq JOIN provider_auth_method AS m ON m.seq = a.auth_method_seq
WHERE a.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: DeploymentPreview :one
SELECT r.id, r.is_default, r.name, r.description, r.metadata, p.id AS provider_id, r.created_at, r.updated_at
FROM provider_deployment AS r JOIN provider AS p ON p.seq = r.provider_seq WHERE r.seq = @seq;

-- name: ConfigPreview :one
SELECT r.id, r.is_default, r.name, r.description, r.metadata, p.id AS provider_id, r.created_at, r.updated_at
FROM provider_config AS r JOIN provider AS p ON p.seq = r.provider_seq WHERE r.seq = @seq;

-- name: AuthConfigPreview :one
SELECT r.id, r.is_default, r.name, r.description, r.metadata, p.id AS provider_id, r.created_at, r.updated_at
FROM provider_auth_config AS r JOIN provider AS p ON p.seq = r.provider_seq WHERE r.seq = @seq;

-- Polling with an archived deployment, config or auth config stops, and says why.

-- name: PauseTriggersOfDeployment :exec
UPDATE instance_trigger SET status = 'paused', next_poll_at = NULL, unregister_at = CASE WHEN registered_url IS NOT NULL THEN CAST(@now AS INTEGER) END, error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE (next_poll_at IS NOT NULL OR registered_url IS NOT NULL) AND instance_seq IN (
  SELECT i.seq FROM callback AS c JOIN instance AS i ON i.callback_seq = c.seq WHERE c.deployment_seq = @deployment_seq);

-- name: PauseTriggersOfConfig :exec
UPDATE instance_trigger SET status = 'paused', next_poll_at = NULL, unregister_at = CASE WHEN registered_url IS NOT NULL THEN CAST(@now AS INTEGER) END, error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE (next_poll_at IS NOT NULL OR registered_url IS NOT NULL) AND instance_seq IN (SELECT i.seq FROM instance AS i WHERE i.config_seq = @config_seq);

-- name: PauseTriggersOfAuthConfig :exec
UPDATE instance_trigger SET status = 'paused', next_poll_at = NULL, unregister_at = CASE WHEN registered_url IS NOT NULL THEN CAST(@now AS INTEGER) END, error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE (next_poll_at IS NOT NULL OR registered_url IS NOT NULL) AND instance_seq IN (SELECT i.seq FROM instance AS i WHERE i.auth_config_seq = @auth_config_seq);

-- With a new value, polling starts at once if all that it needs is there. What somebody paused stays paused: it has
-- no error, unless its webhook could not be taken back.

-- name: ResumeTriggersOfConfig :exec
UPDATE instance_trigger SET status = 'active', next_poll_at = @now, next_poll_fixed = 0, unregister_at = NULL, revision = revision + 1, consecutive_failures = 0, error_code = NULL, error_message = NULL, updated_at = @now
WHERE enabled = 1 AND (status <> 'paused' OR error_code <> 'unregistration_failed') AND instance_seq IN (
  SELECT i.seq FROM instance AS i JOIN callback AS c ON c.seq = i.callback_seq JOIN provider_deployment AS d ON d.seq = c.deployment_seq
  JOIN provider_config AS f ON f.seq = i.config_seq LEFT JOIN provider_auth_config AS a ON a.seq = i.auth_config_seq
  WHERE i.config_seq = @config_seq AND i.status = 'attached' AND c.status = 'active' AND d.status = 'active' AND f.status = 'active'
    AND coalesce(a.status, 'active') = 'active');

-- name: ResumeTriggersOfAuthConfig :exec
UPDATE instance_trigger SET status = 'active', next_poll_at = @now, next_poll_fixed = 0, unregister_at = NULL, revision = revision + 1, consecutive_failures = 0, error_code = NULL, error_message = NULL, updated_at = @now
WHERE enabled = 1 AND (status <> 'paused' OR error_code <> 'unregistration_failed') AND instance_seq IN (
  SELECT i.seq FROM instance AS i JOIN callback AS c ON c.seq = i.callback_seq JOIN provider_deployment AS d ON d.seq = c.deployment_seq
  JOIN provider_config AS f ON f.seq = i.config_seq LEFT JOIN provider_auth_config AS a ON a.seq = i.auth_config_seq
  WHERE i.auth_config_seq = @auth_config_seq AND i.status = 'attached' AND c.status = 'active' AND d.status = 'active' AND f.status = 'active'
    AND coalesce(a.status, 'active') = 'active');

-- What could not be mapped with the old value is mapped again with the new one, in five new tries.

-- name: RemapEventsOfConfig :exec
UPDATE event SET status = 'retrying', delivery_status = 'pending', map_attempts = 0, next_map_at = @now, updated_at = @now
WHERE error_code IS NOT NULL AND error_code = 'mapping_failed' AND status IN ('retrying', 'failed') AND instance_trigger_seq IN (
  SELECT t.seq FROM instance_trigger AS t JOIN instance AS i ON i.seq = t.instance_seq WHERE i.config_seq = @config_seq)
  AND EXISTS (SELECT 1 FROM event_payload AS p WHERE p.event_seq = event.seq AND p.input IS NOT NULL);
