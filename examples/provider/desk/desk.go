// Package desk is the made-up help desk of the example provider: an HTTP API with tickets, which
// tells webhooks of those that are closed.
package desk

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Token is what the desk lets in.
const Token = "open-sesame"

// Desk is a help desk. The zero value has no tickets.
type Desk struct {
	mu      sync.Mutex
	tickets []ticket
	hooks   map[string]hook
	closed  int
}

type ticket struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
	Queue string `json:"queue"`
}

type hook struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	url    string
}

// Open adds a ticket.
func (d *Desk) Open(title string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tickets = append(d.tickets, ticket{len(d.tickets) + 1, title, "support"})
}

// Close tells all webhooks that a ticket was closed.
func (d *Desk) Close(ctx context.Context, id int) error {
	d.mu.Lock()
	hooks := make([]hook, 0, len(d.hooks))
	for _, h := range d.hooks {
		hooks = append(hooks, h)
	}
	d.mu.Unlock()
	for _, h := range hooks {
		req := d.Message(h.url, h.Secret, id, time.Now())
		res, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", h.url, res.Status)
		}
	}
	return nil
}

// Message is what the desk sends to a webhook when a ticket was closed.
func (d *Desk) Message(url, secret string, id int, at time.Time) *http.Request {
	d.mu.Lock()
	d.closed++
	body := fmt.Appendf(nil, `{"id": "msg_%d", "ticket": {"id": %d}}`, d.closed, id)
	d.mu.Unlock()
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		panic(err) // the URL was given by a person who runs an example
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Desk-Signature", fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil))))
	return req
}

// ServeHTTP is the desk's API.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+Token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tickets", d.list)
	mux.HandleFunc("POST /hooks", d.hook)
	mux.HandleFunc("DELETE /hooks/{id}", d.unhook)
	mux.ServeHTTP(w, r)
}

func (d *Desk) list(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.Atoi(r.FormValue("after"))
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	d.mu.Lock()
	defer d.mu.Unlock()
	from := min(max(after, 0), len(d.tickets))
	answer(w, map[string]any{"tickets": d.tickets[from:min(from+max(limit, 0), len(d.tickets))]})
}

func (d *Desk) hook(w http.ResponseWriter, r *http.Request) {
	var asked struct{ URL string }
	if json.NewDecoder(r.Body).Decode(&asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h := hook{ID: rand.Text(), Secret: rand.Text(), url: asked.URL}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hooks == nil {
		d.hooks = make(map[string]hook)
	}
	d.hooks[h.ID] = h
	answer(w, h)
}

func (d *Desk) unhook(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.hooks[r.PathValue("id")]; !ok {
		w.WriteHeader(http.StatusNotFound)
	}
	delete(d.hooks, r.PathValue("id"))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked may be gone
}
