-- name: InsertDestination :execlastid
INSERT INTO destination (id, webhook_id, status, scope, name, description, metadata, url, method, headers, event_types,
  retry_type, retry_max_attempts, retry_delay_seconds, timeout_seconds, max_in_flight, signing_secret, created_at, updated_at)
VALUES (@id, @webhook_id, 'active', @scope, @name, @description, @metadata, @url, @method, @headers, @event_types,
  @retry_type, @retry_max_attempts, @retry_delay_seconds, @timeout_seconds, @max_in_flight, @signing_secret, @now, @now);

-- name: UpdateDestination :exec
UPDATE destination SET status = @status, name = @name, description = @description, metadata = @metadata, url = @url, method = @method,
  headers = @headers, event_types = @event_types, retry_type = @retry_type, retry_max_attempts = @retry_max_attempts,
  retry_delay_seconds = @retry_delay_seconds, timeout_seconds = @timeout_seconds, max_in_flight = @max_in_flight, updated_at = @now
WHERE seq = @seq;

-- name: SetDestinationStatus :exec
UPDATE destination SET status = @status, updated_at = @now WHERE seq = @seq;

-- name: DestinationByURL :one
SELECT d.seq FROM destination AS d WHERE d.url = @url AND d.url GLOB 'func:*';

-- name: DestinationsBySeq :many
SELECT * FROM destination WHERE seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: DestinationsOfCallback :many
SELECT d.seq FROM callback_destination AS cd JOIN destination AS d ON d.seq = cd.destination_seq WHERE cd.callback_seq = @callback_seq
UNION
SELECT a.seq FROM destination AS a WHERE a.scope = 'all';

-- name: CallbacksOfDestinations :many
SELECT cd.destination_seq, c.id FROM callback_destination AS cd JOIN callback AS c ON c.seq = cd.callback_seq
WHERE cd.destination_seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)))
ORDER BY cd.destination_seq, cd.callback_seq;

-- name: LinkDestination :exec
INSERT INTO callback_destination (callback_seq, destination_seq) VALUES (@callback_seq, @destination_seq) ON CONFLICT DO NOTHING;

-- name: UnlinkDestinations :exec
DELETE FROM callback_destination WHERE callback_seq = @callback_seq;
