package slates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/outbound"
)

// httpTransport POSTs batches to a URL.
type httpTransport struct {
	url    string
	place  string // the URL as it may be shown
	client *http.Client
}

func newHTTPTransport(target string) (*httpTransport, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("must be an absolute http or https URL, or exec: and a command")
	}
	u.Fragment = ""
	// The URL is the operator's own, who may run the integration beside this program.
	return &httpTransport{url: u.String(), place: u.Scheme + "://" + u.Host, client: outbound.NewClient(outbound.Options{AllowPrivate: true})}, nil
}

func (t *httpTransport) send(ctx context.Context, p parcel) ([]byte, error) {
	who, began := "the integration at "+t.place, time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(p.batch))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "callbackd")
	res, err := t.client.Do(req)
	switch e, ok := errors.AsType[*url.Error](err); {
	case err == nil:
	case ctx.Err() != nil:
		return nil, late(who, began, ctx)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return nil, fmt.Errorf("%s ended the connection before it answered", who)
	case ok:
		return nil, fmt.Errorf("%s cannot be reached: %w", who, e.Err) // without the URL, which may hold a password
	default:
		return nil, fmt.Errorf("%s cannot be reached: %w", who, err)
	}
	defer res.Body.Close()
	body, truncated, err := outbound.ReadCapped(res.Body, maxAnswer)
	switch {
	case res.StatusCode/100 != 2:
		return t.unsuccessful(res, body)
	case err != nil && ctx.Err() != nil:
		return nil, late(who, began, ctx)
	case err != nil:
		return nil, fmt.Errorf("%s broke off its answer: %w", who, err)
	case truncated:
		return nil, fmt.Errorf("%s gave an answer of more than %d MiB", who, maxAnswer>>20)
	}
	return body, nil
}

// unsuccessful reads an answer that is not 2xx. What is wrong may be in messages like any others.
func (t *httpTransport) unsuccessful(res *http.Response, body []byte) ([]byte, error) {
	err := fmt.Errorf("the integration at %s answered %d %s", t.place, res.StatusCode, http.StatusText(res.StatusCode))
	_, failed := readAnswer(body, nil)
	if e, ok := errors.AsType[*Error](failed); ok {
		err = fmt.Errorf("%w: %w", err, e)
	} else if text := excerpt(string(body[:min(len(body), 4*maxText)])); text != "" && failed != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		after, _ := outbound.RetryAfter(res.Header, time.Now(), maxRetryAfter)
		return nil, engine.RetryAfter(after, err)
	case res.StatusCode/100 == 3:
		return nil, fmt.Errorf("%w: redirects are not followed, so give the URL that it leads to", err)
	case failed == nil:
		return body, nil
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusNotFound:
		return nil, &hopelessError{err}
	case res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity:
		return nil, fmt.Errorf("%w: %w", errBadAnswer, err)
	}
	return nil, err
}

func (t *httpTransport) close() error {
	t.client.CloseIdleConnections()
	return nil
}
