package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/callbackd/callbackd/internal/jsontext"
	"github.com/callbackd/callbackd/store"
)

const (
	mapBatch   = 50 // inputs to be mapped again that are read at a time
	mapWorkers = 8  // of which so many are mapped at a time
)

// unmappedType is the type of an event whose input could not be mapped.
const unmappedType = "unmapped"

// mapAll maps what a poll found, in order. An input that cannot be mapped becomes an item
// that says why. The error is ctx's.
func (e *Engine) mapAll(ctx context.Context, log *slog.Logger, t *Trigger, s Source, inputs []json.RawMessage) ([]store.Item, error) {
	limited, cancel := context.WithTimeout(ctx, e.options.PollTimeout)
	defer cancel()
	found := make([]jsontext.Shape, len(inputs))
	outcomes := mapInputs(ctx, log, len(inputs), func(i int) (Mapped, error) {
		found[i] = jsontext.Look(inputs[i])
		return mapInput(limited, t, s, inputs[i], found[i])
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	items := make([]store.Item, len(inputs))
	for i, o := range outcomes {
		items[i] = e.item(s, inputs[i], found[i], o, 1)
	}
	return items, nil
}

// mapOne maps one input, for the attempts-th time.
func (e *Engine) mapOne(ctx context.Context, log *slog.Logger, t *Trigger, s Source, input json.RawMessage, attempts int) store.Item {
	found := jsontext.Look(input)
	outcomes := mapInputs(context.WithoutCancel(ctx), log, 1, func(int) (Mapped, error) { return mapInput(ctx, t, s, input, found) })
	return e.item(s, input, found, outcomes[0], attempts)
}

// outcome is what became of mapping an input.
type outcome struct {
	Mapped
	err error
}

// mapInputs has n inputs mapped, or fewer when ctx ends, by foreign code in a goroutine of its
// own. What ends that is the outcome of one input; the next ones get another.
func mapInputs(ctx context.Context, log *slog.Logger, n int, mapped func(i int) (Mapped, error)) []outcome {
	out := make([]outcome, 0, n)
	for len(out) < n && ctx.Err() == nil {
		_, err := guard(ctx, log, func() (none struct{}, err error) {
			for len(out) < n && ctx.Err() == nil {
				m, err := mapped(len(out))
				out = append(out, outcome{m, err})
			}
			return none, nil
		})
		if err != nil {
			out = append(out, outcome{err: err})
		}
	}
	return out
}

func mapInput(ctx context.Context, t *Trigger, s Source, input json.RawMessage, found jsontext.Shape) (Mapped, error) {
	if !found.Valid {
		return Mapped{}, Permanent(errors.New("the input is not JSON"))
	}
	if found.Levels > maxNesting {
		return Mapped{}, Permanent(fmt.Errorf("the input has more than %d levels", maxNesting))
	}
	return t.mapInput(ctx, MapRequest{Source: s, Input: input})
}

// item is what an input has become after so many attempts to map it.
func (e *Engine) item(s Source, input json.RawMessage, found jsontext.Shape, o outcome, attempts int) (item store.Item) {
	m, err := o.Mapped, o.err
	if err == nil {
		err = checkMapped(m)
	}
	if found.Valid {
		item.Input = compact(input)
	}
	if err == nil {
		output := item.Input // which it is, byte for byte, nearly always
		if !bytes.Equal(m.Output, input) {
			output = compact(m.Output)
		}
		if len(input) > maxOutput {
			item.Input = nil // what was made of it is kept
		}
		item.Type, item.SourceID, item.Output = m.Type, m.SourceID, asObject(output)
		return item
	}
	// Its source will give the same input again; a name made of its content lets that be known.
	sum := sha256.Sum256(compact(input)) // as it is stored, and mapped again
	item.Type, item.SourceID = unmappedType, "input:"+hex.EncodeToString(sum[:16])
	item.Failure = &Failure{Code: store.MappingFailed, Message: shorten(told(err, s.Auth))}
	if item.NextMapAt = nextMapping(e.now(), attempts, err); item.NextMapAt.IsZero() && (len(input) > maxOutput || found.Levels > maxNesting) {
		item.Input = nil
	}
	return item
}

// checkMapped is for what a provider's code must not do, however often it is tried.
func checkMapped(m Mapped) error {
	output := jsontext.Look(m.Output)
	switch {
	case m.Type == "":
		return Permanent(errors.New("the mapping gave no type"))
	case m.SourceID == "":
		return Permanent(errors.New("the mapping gave no source_id"))
	case !plainText(m.Type, maxType) || strings.ContainsFunc(m.Type, unicode.IsControl):
		return Permanent(fmt.Errorf("the mapping gave a type of over %d characters, or with control characters", maxType))
	case !plainText(m.SourceID, maxSourceID):
		return Permanent(fmt.Errorf("the mapping gave a source_id of over %d characters, or with NUL", maxSourceID))
	case len(m.Output) > maxOutput:
		return Permanent(fmt.Errorf("the mapping gave an output of %d bytes, more than 1 MiB", len(m.Output)))
	case m.Output != nil && !output.Valid:
		return Permanent(errors.New("the mapping gave an output that is not JSON"))
	case output.Levels > maxNesting:
		return Permanent(fmt.Errorf("the mapping gave an output of more than %d levels", maxNesting))
	}
	return nil
}

func plainText(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && !strings.ContainsRune(s, 0)
}

// asObject makes an object of a compact JSON text that is none: outputs are objects.
func asObject(value json.RawMessage) json.RawMessage {
	switch {
	case len(value) == 0 || string(value) == "null":
		return json.RawMessage("{}")
	case value[0] == '{':
		return value
	}
	return json.RawMessage(`{"value":` + string(value) + `}`)
}

// unmapped says of a poll, whose source is well, that some of what it found cannot be
// mapped; nil if all can.
func unmapped(items []store.Item) *Failure {
	count, first := 0, ""
	for _, item := range items {
		if item.Failure != nil {
			if count++; count == 1 {
				first = item.Failure.Message
			}
		}
	}
	if count == 0 {
		return nil
	}
	return &Failure{Code: store.MappingFailed, Message: shorten(fmt.Sprintf("%d of %d inputs cannot be mapped: %s", count, len(items), first))}
}

// mappedOnly leaves out of a first poll, which is only to be remembered, what has no source
// id to be remembered by.
func mappedOnly(ctx context.Context, log *slog.Logger, items []store.Item) []store.Item {
	kept := items[:0]
	for _, item := range items {
		if item.Failure == nil {
			kept = append(kept, item)
		}
	}
	if n := len(items) - len(kept); n > 0 {
		log.WarnContext(ctx, "inputs of the first poll could not be mapped, so they are not remembered as seen", "inputs", n)
	}
	return kept
}

// planMapping has the loop map again what is to be.
func (p *poller) planMapping(items []store.Item) {
	for _, item := range items {
		p.planMappingAt(item.NextMapAt)
	}
}

func (p *poller) planMappingAt(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !at.IsZero() && (p.mapAt.IsZero() || at.Before(p.mapAt)) {
		p.mapAt = at
	}
}

// mapAgain maps the inputs that are due for it.
func (p *poller) mapAgain(loop, work context.Context) {
	soon := false // the store could not be read or written
	defer func() {
		p.mu.Lock()
		p.mapping = false
		p.mu.Unlock()
		p.e.clock.plan(func() {
			next, err := time.Time{}, error(nil)
			switch {
			case p.held():
				next = p.e.now() // once the file can be trusted
			case !soon:
				next, err = p.e.store.NextMapping(loop)
			}
			if soon || err != nil {
				next = p.e.now().Add(storeRetry)
			}
			p.planMappingAt(next)
		})
	}()
	p.mu.Lock()
	p.mapAt = time.Time{}
	p.mu.Unlock()
	for loop.Err() == nil && !p.held() {
		due, err := p.e.store.DueMappings(loop, p.e.now(), mapBatch)
		if err != nil {
			soon = true
			p.e.log.ErrorContext(loop, "inputs to be mapped again could not be read", keyError, err)
			return
		}
		var failed atomic.Bool
		var group sync.WaitGroup
		slots := make(chan struct{}, mapWorkers)
		for _, m := range due {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				if loop.Err() == nil && !p.mapOrPostpone(work, m) {
					failed.Store(true)
				}
			})
		}
		group.Wait()
		if soon = failed.Load(); soon || len(due) < mapBatch {
			return
		}
	}
}

// mapOrPostpone tells whether the event is out of the way: one that cannot even be tried
// must not hold up the others.
func (p *poller) mapOrPostpone(ctx context.Context, m store.Mapping) bool {
	err := p.mapEvent(ctx, m)
	if err == nil {
		return true
	}
	postponed := false
	p.e.clock.plan(func() {
		until := p.e.now().Add(mapDelays[len(mapDelays)-1])
		p.e.log.ErrorContext(ctx, "an input could not be mapped again", keyError, err, keyNext, until)
		if postponed = p.e.store.PostponeMapping(context.WithoutCancel(ctx), m.EventSeq, until) == nil; postponed {
			p.e.clock.wrote("event", m.EventSeq)
		}
	})
	return postponed
}

func (p *poller) mapEvent(ctx context.Context, m store.Mapping) error {
	t, err := p.e.store.PollTarget(ctx, m.TriggerSeq)
	if err != nil {
		return err
	}
	log := p.e.log.With(keyProvider, t.ProviderIdentifier, keyTrigger, t.ID, keyInstance, t.InstanceID, keyCallback, t.CallbackID)
	limited, cancel := context.WithTimeout(ctx, p.e.options.PollTimeout)
	defer cancel()
	trigger, source, err := p.e.source(limited, t, p.e.now(), log)
	if err != nil { // the program runs without the provider's code: a failure like another
		trigger = &Trigger{Map: func(context.Context, MapRequest) (Mapped, error) { return Mapped{}, err }}
	}
	item := p.e.mapOne(limited, log, trigger, source, m.Input, m.Attempts+1)
	if ctx.Err() != nil {
		return nil
	}
	p.e.clock.plan(func() {
		now := p.e.now()
		if !item.NextMapAt.IsZero() {
			item.NextMapAt = now.Add(mapDelays[m.Attempts])
		}
		var deliveries []store.Delivery
		if deliveries, err = p.e.store.RecordMapping(context.WithoutCancel(ctx), now, t, m, item); err != nil {
			return
		}
		p.e.clock.wrote("event", m.EventSeq)
		p.e.deliverer.offer(deliveries)
	})
	if err != nil {
		return err
	}
	if item.Failure != nil {
		attrs := []slog.Attr{slog.Int(keyAttempt, m.Attempts+1), slog.String(keyError, item.Failure.Message)}
		if !item.NextMapAt.IsZero() {
			attrs = append(attrs, slog.Time(keyNext, item.NextMapAt))
		}
		log.LogAttrs(ctx, slog.LevelWarn, "an input still cannot be mapped", attrs...)
	}
	return nil
}
