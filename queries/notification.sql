-- The earliest open notification of each destination: one index probe per destination, however many wait.
-- name: OpenDestinations :many
SELECT d.seq, CAST((SELECT n.next_attempt_at FROM notification AS n
    WHERE n.destination_seq = d.seq AND n.next_attempt_at IS NOT NULL
    ORDER BY n.next_attempt_at LIMIT 1) AS INTEGER) AS next_attempt_at
FROM destination AS d
WHERE EXISTS (SELECT 1 FROM notification AS n WHERE n.destination_seq = d.seq AND n.next_attempt_at IS NOT NULL);

-- name: OpenNotifications :many
SELECT n.seq, CAST(n.next_attempt_at AS INTEGER) AS next_attempt_at FROM notification AS n
WHERE n.destination_seq = @destination_seq AND n.next_attempt_at IS NOT NULL
ORDER BY n.next_attempt_at, n.seq LIMIT @max_rows;

-- Outputs that are larger than max_output are null.
-- name: DeliveriesBySeq :many
SELECT n.seq, n.id, n.event_seq, n.destination_seq, n.attempt_count, e.id AS event_id, y.type, y.trigger_key, e.source_id, e.created_at,
  c.id AS callback_id, i.id AS instance_id,
  CAST(CASE WHEN length(p.output) <= CAST(@max_output AS INTEGER) THEN p.output END AS BLOB) AS output
FROM notification AS n
JOIN event AS e ON e.seq = n.event_seq
JOIN event_type AS y ON y.seq = e.type_seq
JOIN event_payload AS p ON p.event_seq = n.event_seq
JOIN callback AS c ON c.seq = n.callback_seq
LEFT JOIN instance_trigger AS t ON t.seq = e.instance_trigger_seq
LEFT JOIN instance AS i ON i.seq = t.instance_seq
WHERE n.next_attempt_at IS NOT NULL AND n.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- An outcome holds only for a notification that is still open, and only for its next attempt: none
-- counts after an end, and none twice.
-- name: RecordFailure :execrows
UPDATE notification SET status = @status, attempt_count = @attempt_count, next_attempt_at = @next_attempt_at,
  error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE seq = @seq AND next_attempt_at IS NOT NULL AND attempt_count = @attempt_count - 1;

-- name: RecordDeliveries :many
UPDATE notification SET status = 'delivered', attempt_count = @attempt_count, next_attempt_at = NULL, error_code = NULL, error_message = NULL, updated_at = @now
WHERE seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT))) AND next_attempt_at IS NOT NULL AND attempt_count = @attempt_count - 1
RETURNING seq;

-- name: CountOutcomes :exec
UPDATE event SET success_count = success_count + @successes, failure_count = failure_count + @failures,
  delivery_status = CASE
    WHEN success_count + failure_count + @successes + @failures < destination_count THEN 'pending'
    WHEN failure_count + @failures > 0 THEN 'failed'
    ELSE 'sent' END,
  updated_at = @now
WHERE seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: OpenNotificationEvents :many
SELECT n.seq, n.event_seq FROM notification AS n
WHERE n.destination_seq = @destination_seq AND n.next_attempt_at IS NOT NULL
ORDER BY n.next_attempt_at LIMIT @batch;

-- name: FailNotification :exec
UPDATE notification SET status = 'failed', next_attempt_at = NULL, error_code = @error_code, error_message = @error_message, updated_at = @now
WHERE seq = @seq AND next_attempt_at IS NOT NULL;

-- name: NotificationsBySeq :many
SELECT sqlc.embed(n), a.started_at AS last_attempt_at, e.id AS event_id, y.type AS event_type, e.delivery_status, e.destination_count, e.success_count, e.failure_count,
  e.created_at AS event_created_at, e.updated_at AS event_updated_at
FROM notification AS n JOIN event AS e ON e.seq = n.event_seq JOIN event_type AS y ON y.seq = e.type_seq
LEFT JOIN attempt AS a ON a.notification_seq = n.seq AND a.attempt_number = n.attempt_count
WHERE n.seq IN (SELECT value FROM json_each(CAST(@seqs AS TEXT)));

-- name: Attempts :many
SELECT * FROM attempt WHERE notification_seq = @notification_seq ORDER BY attempt_number;
