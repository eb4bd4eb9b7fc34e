// Command playground is a feed to poll and a receiver to deliver to, for trying callbackd on
// one machine:
//
//	POST /items      adds the JSON in the body to the feed
//	GET  /items      is the feed: a JSON list
//	POST /hook       receives a delivery, verifies it and prints it
//	POST /down?n=2   has the receiver answer 500 to the next two deliveries
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine/signature"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9000", "address to listen on")
	secret := flag.String("secret", "", "signing secret of the destination; without it nothing is verified")
	flag.Parse()
	p := &playground{secret: *secret, items: []json.RawMessage{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items", p.add)
	mux.HandleFunc("GET /items", p.list)
	mux.HandleFunc("POST /hook", p.receive)
	mux.HandleFunc("POST /down", p.fall)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("playground: feed at http://%[1]s/items, receiver at http://%[1]s/hook\n", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

type playground struct {
	secret string

	mu    sync.Mutex
	items []json.RawMessage
	down  int // deliveries still to be answered 500
}

const maxBody = 1 << 20

func (p *playground) add(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || !json.Valid(body) {
		http.Error(w, "the body must be JSON", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = append(p.items, body)
	fmt.Fprintf(w, "%d items\n", len(p.items))
}

func (p *playground) list(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(p.items); err != nil {
		log.Print(err)
	}
}

func (p *playground) fall(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil {
		http.Error(w, "n must be a number", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = n
	fmt.Fprintf(w, "the next %d deliveries will be answered 500\n", n)
}

func (p *playground) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2*maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	verified := "not verified: no --secret"
	if p.secret != "" {
		o := signature.Options{Secrets: []string{p.secret}}
		if err := signature.Verify(r.Header, body, o); err != nil {
			fmt.Println("refused:", err)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		verified = "verified"
	}
	p.mu.Lock()
	down := p.down > 0
	if down {
		p.down--
	}
	p.mu.Unlock()
	attempt := r.Header.Get("Metorial-Delivery-Attempt")
	if down {
		fmt.Printf("%s attempt %s: answering 500\n", r.Header.Get(signature.HeaderID), attempt)
		http.Error(w, "down for a moment", http.StatusInternalServerError)
		return
	}
	fmt.Printf("%s attempt %s, %s: %s\n", r.Header.Get(signature.HeaderID), attempt, verified, body)
}
