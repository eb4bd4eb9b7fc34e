package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// client calls an API over connections that are kept.
type client struct {
	base string
	http *http.Client
}

// apiConnections is how many connections publish at a time.
const apiConnections = 128

func newClient(base string) *client {
	return &client{base: base, http: &http.Client{Transport: &http.Transport{MaxConnsPerHost: apiConnections, MaxIdleConnsPerHost: apiConnections, DisableCompression: true}}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// statusError is an answer that is not a success.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("the API answered %d: %s", e.status, e.body) }

// call makes a request, and reads the answer into out unless that is nil.
func (c *client) call(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		_, _ = io.Copy(io.Discard, resp.Body)
		return &statusError{resp.StatusCode, string(text)}
	}
	if out != nil {
		return json.NewDecoder(resp.Body).Decode(out)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (c *client) post(ctx context.Context, path string, body []byte, out any) error {
	return c.call(ctx, http.MethodPost, path, body, out)
}
