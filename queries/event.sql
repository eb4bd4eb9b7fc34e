-- name: LastEvent :one
SELECT CAST(coalesce(max(seq), 0) AS INTEGER) FROM event;

-- The row number is given, not asked for: the key, which is written first, has it already.
-- name: InsertEvent :exec
INSERT INTO event (seq, id, callback_seq, instance_trigger_seq, type, source_id, status, delivery_status, error_code, error_message,
  destination_count, success_count, failure_count, map_attempts, next_map_at, created_at, updated_at)
VALUES (@seq, @id, @callback_seq, @instance_trigger_seq, @type, @source_id, @status, @delivery_status, @error_code, @error_message,
  @destination_count, 0, 0, @map_attempts, @next_map_at, @now, @now);

-- name: InsertPayload :exec
INSERT INTO event_payload (event_seq, input, output) VALUES (@event_seq, @input, @output);

-- name: InsertKey :execrows
INSERT INTO event_key (callback_seq, key, instance_trigger_seq, event_seq) VALUES (@callback_seq, @key, @instance_trigger_seq, @event_seq)
ON CONFLICT DO NOTHING;

-- name: PublishedEvent :one
SELECT k.event_seq, e.id FROM event_key AS k LEFT JOIN event AS e ON e.seq = k.event_seq AND e.callback_seq = k.callback_seq AND e.source_id = @source_id
WHERE k.callback_seq = @callback_seq AND k.key = @key AND k.instance_trigger_seq = 0;

-- name: RecordMapping :exec
UPDATE event SET type = @type, source_id = @source_id, status = @status, delivery_status = @delivery_status, destination_count = @destination_count,
  error_code = @error_code, error_message = @error_message, map_attempts = map_attempts + 1, next_map_at = @next_map_at, updated_at = @now
WHERE seq = @seq;

-- name: SetOutput :exec
UPDATE event_payload SET output = @output WHERE event_seq = @event_seq;

-- name: EventsBySeq :many
SELECT sqlc.embed(e), p.input, p.output, c.id AS callback_id, i.id AS instance_id, pt.key AS trigger_key
FROM event AS e
JOIN event_payload AS p ON p.event_seq = e.seq
JOIN callback AS c ON c.seq = e.callback_seq
LEFT JOIN instance_trigger AS t ON t.seq = e.instance_trigger_seq
LEFT JOIN instance AS i ON i.seq = t.instance_seq
LEFT JOIN provider_trigger AS pt ON pt.seq = t.provider_trigger_seq
WHERE e.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));
