package store

import "time"

// Times are Unix milliseconds in the file and time.Time above it; these are the edge.

func ms(t time.Time) int64 { return t.UnixMilli() }

// msUp is the first whole millisecond that is not before t: rows have whole ones.
func msUp(t time.Time) int64 { return ms(t.Add(time.Millisecond - 1)) }

func msPtr(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	v := t.UnixMilli()
	return &v
}

func fromMS(v int64) time.Time { return time.UnixMilli(v).UTC() }

// fromMSPtr is the zero time for null.
func fromMSPtr(v *int64) time.Time {
	if v == nil {
		return time.Time{}
	}
	return fromMS(*v)
}
