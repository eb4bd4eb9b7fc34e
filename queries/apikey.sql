-- name: InsertAPIKey :exec
INSERT INTO api_key (id, name, scope, hash, created_at) VALUES (@id, @name, @scope, @hash, @now);

-- name: APIKeys :many
SELECT * FROM api_key ORDER BY seq;

-- name: RevokeAPIKey :execrows
UPDATE api_key SET revoked_at = @now WHERE id = @id AND revoked_at IS NULL;

-- name: Meta :one
SELECT value FROM meta WHERE key = @key;

-- name: SetMeta :exec
INSERT INTO meta (key, value) VALUES (@key, @value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
