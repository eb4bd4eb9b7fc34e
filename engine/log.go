package engine

// Keys of log records, the same for the same thing everywhere.
const (
	keyAttempt      = "attempt"
	keyCallback     = "callback"
	keyDestination  = "destination"
	keyDuration     = "duration"
	keyError        = "err"
	keyErrorCode    = "error_code"
	keyEvent        = "event"
	keyInstance     = "instance"
	keyNext         = "next"
	keyNotification = "notification"
	keyProvider     = "provider"
	keyTrigger      = "trigger"
)
