package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Notification is one event on its way to one destination.
type Notification struct {
	ID            string
	Status        string   // "pending", "retrying", "delivered" or "failed"
	Error         *Failure // of the last attempt that failed; nil: none has
	AttemptCount  int
	Event         NotificationEvent
	Destination   Destination
	Attempts      []Attempt // oldest first; only from [Store.Notification]
	CreatedAt     time.Time
	UpdatedAt     time.Time
	LastAttemptAt time.Time // zero: none yet
	NextAttemptAt time.Time // zero: it has ended
}

// NotificationEvent is a notification's event in short.
type NotificationEvent struct {
	ID               string
	Type             string
	DeliveryStatus   string // as an [Event] has it
	DestinationCount int
	SuccessCount     int
	FailureCount     int
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// Attempt is one try to deliver a notification.
type Attempt struct {
	ID        string
	Number    int       // from 1
	Failure   *Failure  // nil: it succeeded
	Response  *Response // nil: there was no answer
	StartedAt time.Time
	Duration  time.Duration // in whole milliseconds
}

// Response is what a destination answered.
type Response struct {
	StatusCode int
	Headers    []Header
	Body       []byte // possibly cut short
}

// Header is one header line.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// EndedFailure is why a destination that is not active gets nothing.
func (d Destination) EndedFailure() Failure {
	message := "the destination is archived"
	if d.Status == "disabled" {
		message = "the destination answered 410 Gone and is disabled"
	}
	return Failure{Code: "destination_" + d.Status, Message: message}
}

// FailNotifications ends at most limit of the open notifications of a destination that is
// not active, and returns their row numbers. Of one that is active by now, it ends none, and
// says so.
func (s *Store) FailNotifications(ctx context.Context, now time.Time, destination int64, limit int) (ended []int64, active bool, err error) {
	err = s.write(ctx, func(tx *tx) error {
		ended, active = nil, false
		d, err := tx.destination(destination)
		if err != nil || d.Status == "active" {
			active = err == nil
			return err
		}
		f := d.EndedFailure()
		rows, err := tx.q.OpenNotificationEvents(tx.ctx, destination, int64(limit))
		if err != nil {
			return err
		}
		counts := make(map[int64]tally, len(rows))
		for _, r := range rows {
			if err := tx.q.FailNotification(tx.ctx, db.FailNotificationParams{Seq: r.Seq, ErrorCode: &f.Code, ErrorMessage: &f.Message, Now: ms(now)}); err != nil {
				return err
			}
			counts[r.EventSeq] = tally{failures: 1} // at one destination it has one notification
			ended = append(ended, r.Seq)
		}
		return tx.count(ms(now), counts)
	})
	return ended, active, err
}

// OpenDestinations are the destinations with open notifications, by row number, and when
// the first of each is due.
func (s *Store) OpenDestinations(ctx context.Context) (map[int64]time.Time, error) {
	rows, err := s.read.OpenDestinations(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]time.Time, len(rows))
	for _, r := range rows {
		out[r.Seq] = fromMS(r.NextAttemptAt)
	}
	return out, nil
}

// LastNotification is the row number of the newest notification; 0: there is none.
func (s *Store) LastNotification(ctx context.Context) (int64, error) {
	return s.read.LastNotification(ctx)
}

// Due is an open notification of which only its turn is known.
type Due struct {
	Seq int64
	At  time.Time
}

// OpenNotifications are at most limit open notifications of a destination, those that
// are due first in front.
func (s *Store) OpenNotifications(ctx context.Context, destination int64, limit int) ([]Due, error) {
	rows, err := s.read.OpenNotifications(ctx, destination, int64(limit))
	if err != nil {
		return nil, err
	}
	out := make([]Due, len(rows))
	for i, r := range rows {
		out[i] = Due{Seq: r.Seq, At: fromMS(r.NextAttemptAt)}
	}
	return out, nil
}

// Deliveries loads open notifications by row number, in any order; those that have ended
// are left out. An output of over maxOutput bytes is left nil.
func (s *Store) Deliveries(ctx context.Context, seqs []int64, maxOutput int64) ([]Delivery, error) {
	rows, err := s.read.DeliveriesBySeq(ctx, maxOutput, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	out := make([]Delivery, len(rows))
	for i, r := range rows {
		out[i] = Delivery{Seq: r.Seq, EventSeq: r.EventSeq, DestinationSeq: r.DestinationSeq, NotificationID: r.ID, AttemptCount: int(r.AttemptCount),
			EventID: r.EventID, CallbackID: r.CallbackID, InstanceID: orElse(r.InstanceID, ""), TriggerKey: r.TriggerKey,
			Type: r.Type, SourceID: r.SourceID, Output: r.Output, CreatedAt: fromMS(r.CreatedAt)}
	}
	return out, nil
}

// NotificationFilter narrows the list of a callback's notifications.
type NotificationFilter struct {
	Destinations []string // ids
	Statuses     []string
	Events       []string // ids
	Created      Range
}

// ListNotifications lists a callback's notifications, without their attempts.
func (s *Store) ListNotifications(ctx context.Context, callbackID string, f NotificationFilter, p Page) (List[Notification], error) {
	return listOf(ctx, s, callbackID, "notification", p, s.loadNotifications, func(sel *selection, _ int64) error {
		if err := s.created(ctx, sel, f.Created); err != nil {
			return err
		}
		if len(f.Events) > 0 {
			sel.find("SELECT x.seq FROM event AS e CROSS JOIN notification AS x ON x.seq BETWEEN e.first_notification_seq AND e.first_notification_seq + e.destination_count - 1 "+
				"WHERE e.seq IN ("+seqsByID("event")+")", jsonText(f.Events))
		}
		statuses := f.Statuses
		if len(statuses) == 0 {
			statuses = []string{"pending", "retrying", "delivered", "failed"}
		}
		switch {
		case len(f.Events) > 0: // a few rows, found one by one
		case len(f.Destinations) > 0 && len(f.Destinations)*len(statuses) <= maxWalks:
			sel.index = "notification_destination" // which has both
			choose(sel, "status", statuses)
			f.Statuses = nil
		default:
			sel.index = "notification_status"
			choose(sel, "status", statuses)
			f.Statuses = nil
		}
		in(sel, "status", f.Statuses)
		if sel.index == "notification_destination" {
			sel.refer("destination_seq", "destination", f.Destinations)
		} else {
			sel.within("destination_seq", "destination", f.Destinations)
		}
		return nil
	})
}

// Notification finds one of a callback's notifications, with its attempts.
func (s *Store) Notification(ctx context.Context, callbackID, id string) (Notification, error) {
	n, err := getOf(ctx, s, callbackID, "notification", "callback.notification", id, s.loadNotifications)
	if err != nil {
		return n, err
	}
	seq, err := seqOf(ctx, s.prepared, "notification", id)
	if err != nil {
		return n, notFound(err, "callback.notification", id)
	}
	rows, err := s.read.Attempts(ctx, seq)
	if err != nil {
		return n, err
	}
	for _, r := range rows {
		a := Attempt{ID: r.ID, Number: int(r.AttemptNumber), Failure: failure(r.ErrorCode, r.ErrorMessage), StartedAt: fromMS(r.StartedAt),
			Duration: time.Duration(r.DurationMs) * time.Millisecond}
		if r.StatusCode != nil {
			a.Response = &Response{StatusCode: int(*r.StatusCode), Body: r.ResponseBody}
			if err := json.Unmarshal(r.ResponseHeaders, &a.Response.Headers); err != nil {
				return n, err
			}
		}
		n.Attempts = append(n.Attempts, a)
	}
	return n, nil
}

func (s *Store) loadNotifications(ctx context.Context, seqs []int64) ([]Notification, error) {
	rows, err := s.read.NotificationsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	destinations := make(map[int64]Destination)
	return inOrder(seqs, rows, func(r *db.NotificationsBySeqRow) int64 { return r.Notification.Seq }, func(r *db.NotificationsBySeqRow) (Notification, error) {
		row := r.Notification
		d, ok := destinations[row.DestinationSeq]
		if !ok {
			var err error
			if d, err = s.DestinationBySeq(ctx, row.DestinationSeq); err != nil {
				return Notification{}, err
			}
			destinations[row.DestinationSeq] = d
		}
		return Notification{ID: row.ID, Status: row.Status, Error: failure(row.ErrorCode, row.ErrorMessage), AttemptCount: int(row.AttemptCount), Destination: d,
			Event: NotificationEvent{ID: r.EventID, Type: r.EventType, DeliveryStatus: r.DeliveryStatus, DestinationCount: int(r.DestinationCount),
				SuccessCount: int(r.SuccessCount), FailureCount: int(r.FailureCount), CreatedAt: fromMS(r.EventCreatedAt), UpdatedAt: fromMS(r.EventUpdatedAt)},
			CreatedAt: fromMS(row.CreatedAt), UpdatedAt: fromMS(row.UpdatedAt), LastAttemptAt: fromMSPtr(r.LastAttemptAt), NextAttemptAt: fromMSPtr(row.NextAttemptAt)}, nil
	})
}
