-- name: Retentions :many
SELECT seq, retention_seconds FROM callback WHERE retention_seconds >= 0 ORDER BY seq;

-- name: ExpiredEvents :many
SELECT e.seq, e.first_notification_seq, e.destination_count FROM event AS e
WHERE e.callback_seq = @callback_seq AND e.status = @status AND e.delivery_status = @delivery_status
  AND e.seq < @before_seq AND e.updated_at < @updated_before
  AND (e.first_notification_seq IS NULL OR e.first_notification_seq + e.destination_count <= CAST(@last_notification AS INTEGER))
ORDER BY e.seq LIMIT @max_rows;

-- name: DeleteAttempts :exec
DELETE FROM attempt WHERE notification_seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: DeleteNotifications :execrows
DELETE FROM notification WHERE seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: DeletePayloads :exec
DELETE FROM event_payload WHERE event_seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: DeleteEvents :execrows
DELETE FROM event WHERE seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));
