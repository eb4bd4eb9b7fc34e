package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

const entityTrigger = "callback.instance.trigger"

// InstanceTrigger finds one of an instance's triggers, with its state, by its id, or by the id or
// key of the provider's trigger. It is a NotFoundError if there is no such callback, instance or
// trigger, or the callback no longer names the trigger.
func (s *Store) InstanceTrigger(ctx context.Context, callbackID, instanceID, trigger string) (out InstanceTrigger, err error) {
	_, out, err = findTriggerOf(ctx, s.read, s.prepared, callbackID, instanceID, trigger)
	return out, err
}

// findTriggerOf finds a trigger as InstanceTrigger does, and its row.
func findTriggerOf(ctx context.Context, q *db.Queries, r rowReader, callbackID, instanceID, trigger string) (row db.FindInstanceTriggerRow, out InstanceTrigger, err error) {
	callback, err := q.CallbackSeq(ctx, callbackID)
	if err != nil {
		return row, out, notFound(err, "callback", callbackID)
	}
	var seq int64
	if err := r.QueryRowContext(ctx, "SELECT seq FROM instance WHERE id = ? AND callback_seq = ?", instanceID, callback.Seq).Scan(&seq); err != nil {
		return row, out, notFound(err, "callback.instance", instanceID)
	}
	if row, err = q.FindInstanceTrigger(ctx, seq, trigger); err != nil {
		return row, out, notFound(err, entityTrigger, trigger)
	}
	instance, err := loadOne(ctx, []int64{seq}, "callback.instance", instanceID, loader(q, loadInstances))
	if err != nil {
		return row, out, err
	}
	at := slices.IndexFunc(instance.Triggers, func(t InstanceTrigger) bool { return t.ID == row.ID })
	if at < 0 { // dropped between the two reads
		return row, out, &NotFoundError{Entity: entityTrigger, ID: trigger}
	}
	out = instance.Triggers[at]
	out.State = row.State
	return row, out, nil
}

// TriggerChange is what is to become of an instance's trigger. The zero value changes nothing.
type TriggerChange struct {
	Status string           // "active" or "paused"; "": stays
	State  *json.RawMessage // a pointer to nil: none, as before the first poll; nil: stays
}

// UpdateInstanceTrigger pauses or resumes a trigger, and sets its state, and returns it as it is
// then, with its row number. It is a ConflictError, and changes nothing, if the callback is
// archived, or if a status cannot be had: while the instance is detached, or, for "active", while
// something that the trigger needs is archived. A poll, request or registration that was begun
// before does not count, unless nothing changed. A trigger that was paused by an error, or is
// failing, is resumed like one that somebody paused; one that is active stays as it is planned.
func (s *Store) UpdateInstanceTrigger(ctx context.Context, now time.Time, callbackID, instanceID, trigger string, c TriggerChange) (seq int64, out InstanceTrigger, err error) {
	err = s.write(ctx, func(tx *tx) error {
		row, _, err := findTriggerOf(tx.ctx, tx.q, tx.conn, callbackID, instanceID, trigger)
		if err != nil {
			return err
		}
		seq = row.Seq
		if row.CallbackStatus == "archived" {
			return &ConflictError{Message: "callback " + callbackID + " is archived and cannot be changed"}
		}
		if err := tx.setTriggerStatus(ms(now), row, c.Status); err != nil {
			return err
		}
		if c.State != nil {
			if err := tx.q.SetInstanceTriggerState(tx.ctx, db.SetInstanceTriggerStateParams{Seq: row.Seq, State: *c.State, IsPolled: flag(row.Source == "polling"), Now: ms(now)}); err != nil {
				return err
			}
		}
		_, out, err = findTriggerOf(tx.ctx, tx.q, tx.conn, callbackID, instanceID, row.ID)
		return err
	})
	return seq, out, err
}

// setTriggerStatus pauses or resumes a trigger that is not so already.
func (tx *tx) setTriggerStatus(now int64, row db.FindInstanceTriggerRow, status string) error {
	switch {
	case status == "":
		return nil
	case row.InstanceStatus == "detached":
		return &ConflictError{Message: "instance " + row.InstanceID + " is detached: its triggers can be neither paused nor resumed", Hint: "attach it again: all of its triggers are active then"}
	case status == "paused" && row.Status == "paused" && row.ErrorCode == nil, status == "active" && row.Status == "active" && row.NextPollAt != nil:
		return nil
	case status == "paused":
		return tx.q.PauseInstanceTrigger(tx.ctx, now, row.Seq)
	}
	if err := archivedFor(row); err != nil {
		return err
	}
	return tx.q.ResumeInstanceTrigger(tx.ctx, &now, row.Seq)
}

// archivedFor says of a trigger what is archived that it needs; nil: nothing is.
func archivedFor(row db.FindInstanceTriggerRow) error {
	for _, needed := range []struct{ entity, id, status string }{{"callback", row.CallbackID, row.CallbackStatus}, {"provider.deployment", row.DeploymentID, row.DeploymentStatus},
		{"provider.config", row.ConfigID, row.ConfigStatus}, {"provider.auth_config", orElse(row.AuthConfigID, ""), row.AuthConfigStatus}} {
		if needed.status == "archived" {
			return &ConflictError{Message: needed.entity + " " + needed.id + ", which the trigger needs, is archived"}
		}
	}
	return nil
}

// PolledTrigger finds a trigger as [Store.InstanceTrigger] does, and its row number. It is a
// ConflictError, which says what to do, if the trigger is not polled at present. One that has a
// webhook is found too.
func (s *Store) PolledTrigger(ctx context.Context, callbackID, instanceID, trigger string) (seq int64, out InstanceTrigger, err error) {
	row, out, err := findTriggerOf(ctx, s.read, s.prepared, callbackID, instanceID, trigger)
	if err != nil || out.Trigger.Source == "webhook" {
		return row.Seq, out, err
	}
	switch err = archivedFor(row); {
	case err != nil:
	case row.InstanceStatus == "detached":
		err = &ConflictError{Message: "instance " + instanceID + " is detached: its triggers are not polled", Hint: "attach it again"}
	case row.NextPollAt == nil:
		err = &ConflictError{Message: "trigger " + row.ID + " is paused", Hint: `resume it first: PATCH it with {"status": "active"}`}
	}
	return row.Seq, out, err
}

// Replaced tells whether other is the same trigger with another config, interval or state: what is
// polled with t does not count then.
func (t PollTarget) Replaced(other PollTarget) bool { return t.revision != other.revision }
