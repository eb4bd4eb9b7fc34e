package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/callbackd/callbackd/engine/signature"
)

// failEvery is which messages the sandbox's receiver refuses at first, so that a retry can
// be seen.
const failEvery = 4

// receiver is what a destination is to callbackd: it verifies both signatures, and shows what
// it got.
type receiver struct {
	url    string
	secret atomic.Pointer[string]
	seen   atomic.Int64
	server *http.Server
	screen *screen
}

func newReceiver(s *screen) (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/hook", screen: s}
	r.server = newServer(r, s.logger())
	go func() { _ = r.server.Serve(listener) }() // ends with close
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 2<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o := signature.Options{}
	if secret := r.secret.Load(); secret != nil {
		o.Secrets = []string{*secret}
	}
	if err := signature.Verify(req.Header, body, o); err != nil {
		r.screen.refused("webhook-signature", err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if err := signature.VerifyMetorial(req.Header, body, o); err != nil {
		r.screen.refused("Metorial-Signature", err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	attempt, _ := strconv.Atoi(req.Header.Get("Metorial-Delivery-Attempt"))
	if attempt == 1 && r.seen.Add(1)%failEvery == 0 {
		r.screen.pretended()
		http.Error(w, "pretending to be down", http.StatusInternalServerError)
		return
	}
	var event struct {
		ID   string          `json:"id"`
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.screen.received(event.ID, event.Type, event.Data, attempt)
}
