package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// bareLoop is the yardstick: an event is stored and synced before publish returns, then sent
// to every destination with a Standard Webhooks signature, and the outcome is stored by the
// same writer. Everything that waits is committed together. It has as many attempts in flight
// at a destination as the engine has by default, and nothing else of what the engine does.
type bareLoop struct {
	db     *sql.DB
	sink   *sink
	keys   [][]byte
	client *http.Client

	writes   chan *bareWrite
	sends    []chan bareSend // by destination
	sending  sync.WaitGroup
	writer   sync.WaitGroup
	mu       sync.Mutex
	sendFail error
}

// bareWrite is an event, or an outcome if body is nil.
type bareWrite struct {
	number, destination int
	body                []byte
	err                 error
	done                chan struct{} // nil: nobody waits
}

type bareSend struct {
	number int
	body   []byte
}

const (
	bareBatch   = 256
	bareWaiting = 4096 // events that wait for their turn at a destination
)

const bareSchema = `
CREATE TABLE event (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, created_at INTEGER NOT NULL) STRICT;
CREATE TABLE outcome (event_seq INTEGER NOT NULL, destination INTEGER NOT NULL, status TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (event_seq, destination)) STRICT, WITHOUT ROWID;`

func openBare(ctx context.Context, path string, to *sink) (*bareLoop, error) {
	dsn := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: url.Values{
		"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_txlock": {"immediate"}, "_pragma": {"cache_size(-16000)"},
	}.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, bareSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b := &bareLoop{db: db, sink: to, writes: make(chan *bareWrite, bareBatch),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: engine.DefaultMaxInFlight * len(to.secrets), DisableCompression: true}}}
	for _, secret := range to.secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		b.keys = append(b.keys, key)
	}
	insert, err := db.PrepareContext(ctx, "INSERT INTO event (seq, payload, created_at) VALUES (?, ?, ?)")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	record, err := db.PrepareContext(ctx, "INSERT INTO outcome (event_seq, destination, status, at) VALUES (?, ?, 'delivered', ?)")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.writer.Go(func() { b.write(insert, record) })
	for destination := range to.secrets {
		sends := make(chan bareSend, bareWaiting)
		b.sends = append(b.sends, sends)
		for range engine.DefaultMaxInFlight {
			b.sending.Go(func() { b.deliver(destination, sends) })
		}
	}
	return b, nil
}

// publish stores a payload; it is sent to every destination afterwards.
func (b *bareLoop) publish(_ context.Context, number int, body []byte) error {
	w := &bareWrite{number: number, body: body, done: make(chan struct{})}
	b.writes <- w
	<-w.done
	if w.err != nil {
		return w.err
	}
	for _, send := range b.sends {
		send <- bareSend{number, body}
	}
	return nil
}

// write commits whatever waits, together.
func (b *bareLoop) write(insert, record *sql.Stmt) {
	batch := make([]*bareWrite, 0, bareBatch)
	for w := range b.writes {
		batch = append(batch[:0], w)
	fill:
		for len(batch) < bareBatch {
			select {
			case w, ok := <-b.writes:
				if !ok {
					break fill
				}
				batch = append(batch, w)
			default:
				break fill
			}
		}
		err := b.commit(batch, insert, record)
		for _, w := range batch {
			if w.err = err; w.done != nil {
				close(w.done)
			} else if err != nil {
				b.failed(err)
			}
		}
	}
}

func (b *bareLoop) commit(batch []*bareWrite, insert, record *sql.Stmt) error {
	tx, err := b.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it is a no-op
	events, outcomes := tx.Stmt(insert), tx.Stmt(record)
	now := time.Now().UnixMilli()
	for _, w := range batch {
		if w.body != nil {
			_, err = events.Exec(w.number, w.body, now)
		} else {
			_, err = outcomes.Exec(w.number, w.destination, now)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (b *bareLoop) deliver(destination int, sends <-chan bareSend) {
	target := b.sink.url + strconv.Itoa(destination)
	for s := range sends {
		if err := b.post(target, destination, s); err != nil {
			b.failed(err)
			continue
		}
		b.writes <- &bareWrite{number: s.number, destination: destination}
	}
}

func (b *bareLoop) post(target string, destination int, s bareSend) error {
	req, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(s.body))
	if err != nil {
		return err
	}
	id, at := "msg_"+strconv.Itoa(s.number), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, b.keys[destination])
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(s.body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", at)
	req.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return nil
}

func (b *bareLoop) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sendFail == nil {
		b.sendFail = fmt.Errorf("the bare loop: %w", err)
	}
}

// close waits until everything is sent and stored. Nothing may be published any more.
func (b *bareLoop) close() error {
	for _, send := range b.sends {
		close(send)
	}
	b.sending.Wait()
	close(b.writes)
	b.writer.Wait()
	b.client.CloseIdleConnections()
	return errors.Join(b.sendFail, b.db.Close())
}

// ServeHTTP publishes the body of a request, and answers once it is stored: the least that an
// API can do.
func (b *bareLoop) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := readAll(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	number, err := numberOf(body)
	if err == nil {
		err = b.publish(req.Context(), number, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"object":"event"}`)
}
