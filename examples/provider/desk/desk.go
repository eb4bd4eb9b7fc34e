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
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Token is what the desk lets in, as it does whoever has signed in with the password.
const (
	Token    = "open-sesame"
	Password = "letmein"
)

// Desk is a help desk. The zero value has no tickets.
type Desk struct {
	mu      sync.Mutex
	tickets []ticket
	hooks   map[string]hook
	session string // the token of who has signed in; "": nobody has
	closed  int
}

type ticket struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
	Queue string `json:"queue"`
}

type hook struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret,omitempty"` // told only once
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
		req := d.Message(h.URL, h.Secret, id, time.Now())
		res, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", h.URL, res.Status)
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
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", d.login)
	if r.URL.Path != "/login" && !d.knows(r.Header.Get("Authorization")) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	mux.HandleFunc("GET /hooks", d.listHooks)
	mux.HandleFunc("GET /tickets", d.list)
	mux.HandleFunc("POST /hooks", d.hook)
	mux.HandleFunc("DELETE /hooks/{id}", d.unhook)
	mux.ServeHTTP(w, r)
}

func (d *Desk) knows(authorization string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return authorization == "Bearer "+Token || d.session != "" && authorization == "Bearer "+d.session
}

func (d *Desk) login(w http.ResponseWriter, r *http.Request) {
	var given struct{ Password string }
	if json.NewDecoder(r.Body).Decode(&given) != nil || given.Password != Password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == "" {
		d.session = rand.Text()
	}
	answer(w, map[string]any{"token": d.session, "expires_in": 3600})
}

// Forget has everybody who has signed in do so again.
func (d *Desk) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = ""
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
	if !challenged(r.Context(), asked.URL) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h := hook{ID: rand.Text(), URL: asked.URL, Secret: rand.Text()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hooks == nil {
		d.hooks = make(map[string]hook)
	}
	d.hooks[h.ID] = h
	answer(w, h)
}

// challenged tells whether there is somebody at a URL who wants webhooks.
func challenged(ctx context.Context, url string) bool {
	challenge := rand.Text()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"challenge": "`+challenge+`"}`))
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1000))
	return err == nil && string(said) == challenge
}

func (d *Desk) listHooks(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := []hook{}
	for _, h := range d.hooks {
		all = append(all, hook{ID: h.ID, URL: h.URL})
	}
	answer(w, map[string]any{"hooks": all})
}

// Registered is the URLs to which webhooks are sent.
func (d *Desk) Registered() (urls []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hooks {
		urls = append(urls, h.URL)
	}
	return urls
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
