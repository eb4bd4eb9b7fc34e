-- name: InsertProvider :execlastid
INSERT INTO provider (id, identifier, name, description, status, created_at, updated_at)
VALUES (@id, @identifier, @name, @description, 'active', @now, @now);

-- name: ProviderByIdentifier :one
SELECT * FROM provider WHERE identifier = @identifier;

-- name: UpdateProvider :exec
UPDATE provider SET name = @name, description = @description, status = 'active', updated_at = @now WHERE seq = @seq;

-- name: ArchiveProvidersExcept :exec
UPDATE provider SET status = 'archived', updated_at = @now
WHERE status = 'active' AND identifier NOT IN (SELECT value FROM json_each(CAST(@identifiers AS TEXT)));

-- name: ProvidersBySeq :many
SELECT sqlc.embed(p), v.seq AS version_seq
FROM provider AS p JOIN provider_version AS v ON v.provider_seq = p.seq AND v.is_current = 1
WHERE p.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: InsertSpecification :execlastid
INSERT INTO provider_specification (id, provider_seq, name, description, config_schema, digest, created_at, updated_at)
VALUES (@id, @provider_seq, @name, @description, @config_schema, @digest, @now, @now);

-- name: SpecificationByDigest :one
SELECT s.seq FROM provider_specification AS s WHERE s.provider_seq = @provider_seq AND s.digest = @digest;

-- name: SpecificationsBySeq :many
SELECT sqlc.embed(s), p.id AS provider_id, p.identifier AS provider_identifier
FROM provider_specification AS s JOIN provider AS p ON p.seq = s.provider_seq
WHERE s.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: CurrentVersion :one
SELECT * FROM provider_version WHERE provider_seq = @provider_seq AND is_current = 1;

-- name: CountVersions :one
SELECT count(*) FROM provider_version WHERE provider_seq = @provider_seq;

-- name: RetireVersion :exec
UPDATE provider_version SET is_current = 0, updated_at = @now WHERE seq = @seq;

-- name: InsertVersion :exec
INSERT INTO provider_version (id, provider_seq, specification_seq, version, is_current, created_at, updated_at)
VALUES (@id, @provider_seq, @specification_seq, @version, 1, @now, @now);

-- name: VersionsBySeq :many
SELECT sqlc.embed(v), p.id AS provider_id, p.name AS provider_name, p.description AS provider_description, s.id AS specification_id
FROM provider_version AS v JOIN provider AS p ON p.seq = v.provider_seq JOIN provider_specification AS s ON s.seq = v.specification_seq
WHERE v.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: InsertTrigger :execlastid
INSERT INTO provider_trigger (id, provider_seq, specification_seq, key, name, description, source, interval_seconds, min_interval_seconds, baseline,
  auto_registration, auto_unregistration, input_schema, output_schema, created_at, updated_at)
VALUES (@id, @provider_seq, @specification_seq, @key, @name, @description, @source, @interval_seconds, @min_interval_seconds, @baseline,
  @auto_registration, @auto_unregistration, @input_schema, @output_schema, @now, @now);

-- name: TriggersBySeq :many
SELECT sqlc.embed(t), p.id AS provider_id, s.id AS specification_id
FROM provider_trigger AS t JOIN provider AS p ON p.seq = t.provider_seq JOIN provider_specification AS s ON s.seq = t.specification_seq
WHERE t.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: CurrentTriggers :many
SELECT t.seq, t.id, t.key, t.baseline
FROM provider_trigger AS t JOIN provider_version AS v ON v.specification_seq = t.specification_seq AND v.is_current = 1
WHERE v.provider_seq = @provider_seq
ORDER BY t.seq;

-- name: MoveCallbackTriggers :exec
UPDATE callback_trigger SET provider_trigger_seq = CAST(@new_seq AS INTEGER)
WHERE provider_trigger_seq IN (SELECT t.seq FROM provider_trigger AS t WHERE t.provider_seq = @provider_seq AND t.key = @key AND t.seq <> CAST(@new_seq AS INTEGER));

-- What there was nothing to do for is looked at again: it may be polled now, or register its webhook.
-- name: MoveInstanceTriggers :exec
UPDATE instance_trigger SET provider_trigger_seq = CAST(@new_seq AS INTEGER),
  next_poll_at = CASE WHEN next_poll_at = CAST(@never AS INTEGER) AND (registered_url IS NULL OR (SELECT n.source FROM provider_trigger AS n WHERE n.seq = CAST(@new_seq AS INTEGER)) = 'polling')
    THEN CAST(@now AS INTEGER) ELSE next_poll_at END
WHERE provider_trigger_seq IN (SELECT t.seq FROM provider_trigger AS t WHERE t.provider_seq = @provider_seq AND t.key = @key AND t.seq <> CAST(@new_seq AS INTEGER));

-- name: InsertAuthMethod :exec
INSERT INTO provider_auth_method (id, provider_seq, specification_seq, key, type, name, description, input_schema, output_schema, created_at, updated_at)
VALUES (@id, @provider_seq, @specification_seq, @key, @type, @name, @description, @input_schema, @output_schema, @now, @now);

-- name: AuthMethodsBySeq :many
SELECT sqlc.embed(m), p.id AS provider_id, p.identifier AS provider_identifier, s.id AS specification_id
FROM provider_auth_method AS m JOIN provider AS p ON p.seq = m.provider_seq JOIN provider_specification AS s ON s.seq = m.specification_seq
WHERE m.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: AuthMethodsOfSpecification :many
SELECT m.seq FROM provider_auth_method AS m WHERE m.specification_seq = @specification_seq ORDER BY m.seq;

-- name: CurrentAuthMethodByKey :many
SELECT m.seq FROM provider_auth_method AS m JOIN provider_version AS v ON v.specification_seq = m.specification_seq AND v.is_current = 1
WHERE m.key = @key ORDER BY m.seq;
