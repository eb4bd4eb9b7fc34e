-- The newest event and the newest notification.
-- name: LastRows :one
SELECT CAST(coalesce((SELECT e.seq FROM event AS e ORDER BY e.seq DESC LIMIT 1), 0) AS INTEGER) AS event_seq,
  CAST(coalesce((SELECT e.id FROM event AS e ORDER BY e.seq DESC LIMIT 1), '') AS TEXT) AS event_id,
  CAST(coalesce((SELECT n.seq FROM notification AS n ORDER BY n.seq DESC LIMIT 1), 0) AS INTEGER) AS notification_seq,
  CAST(coalesce((SELECT n.id FROM notification AS n ORDER BY n.seq DESC LIMIT 1), '') AS TEXT) AS notification_id;

-- name: LastNotification :one
SELECT CAST(coalesce(max(seq), 0) AS INTEGER) FROM notification;

-- Rows are stored in the order of their times, so the last ones have the newest.
-- name: LastCreatedAt :one
SELECT CAST(max(coalesce((SELECT e.created_at FROM event AS e ORDER BY e.seq DESC LIMIT 1), 0),
  coalesce((SELECT n.created_at FROM notification AS n ORDER BY n.seq DESC LIMIT 1), 0)) AS INTEGER);

-- name: EventType :one
SELECT seq FROM event_type WHERE callback_seq = @callback_seq AND type = @type AND trigger_key = @trigger_key;

-- name: InsertEventType :execlastid
INSERT INTO event_type (callback_seq, type, trigger_key) VALUES (@callback_seq, @type, @trigger_key);

-- name: InsertKey :execrows
INSERT INTO event_key (callback_seq, key, instance_trigger_seq, event_seq) VALUES (@callback_seq, @key, @instance_trigger_seq, @event_seq)
ON CONFLICT DO NOTHING;

-- name: PublishedEvent :one
SELECT e.seq FROM event_key AS k JOIN event AS e ON e.seq = k.event_seq AND e.callback_seq = k.callback_seq AND e.source_id = @source_id
WHERE k.callback_seq = @callback_seq AND k.key = @key AND k.instance_trigger_seq = 0;

-- name: RecordMapping :exec
UPDATE event SET type_seq = @type_seq, source_id = @source_id, status = @status, delivery_status = @delivery_status,
  first_notification_seq = @first_notification_seq, destination_count = @destination_count,
  error_code = @error_code, error_message = @error_message, map_attempts = map_attempts + 1, next_map_at = @next_map_at, updated_at = @now
WHERE seq = @seq;

-- name: SetOutput :exec
UPDATE event_payload SET output = @output WHERE event_seq = @event_seq;

-- name: EventsBySeq :many
SELECT sqlc.embed(e), y.type, y.trigger_key, p.input, p.output, c.id AS callback_id, i.id AS instance_id
FROM event AS e
JOIN event_type AS y ON y.seq = e.type_seq
JOIN event_payload AS p ON p.event_seq = e.seq
JOIN callback AS c ON c.seq = e.callback_seq
LEFT JOIN instance_trigger AS t ON t.seq = e.instance_trigger_seq
LEFT JOIN instance AS i ON i.seq = t.instance_seq
WHERE e.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));
