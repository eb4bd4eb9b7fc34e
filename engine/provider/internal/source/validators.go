package source

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
)

// Validators are what a source said of the version of an answer, so that the same request is
// not answered with the same body again. They are a part of a state; the zero value is none.
type Validators struct {
	Request string `json:"request,omitempty"` // hash of the URL that they are of
	ETag    string `json:"etag,omitempty"`
	Date    string `json:"last_modified,omitempty"`
}

// ValidatorsOf are those of the answer of u.
func ValidatorsOf(u *url.URL, res *http.Response) Validators {
	v := Validators{ETag: res.Header.Get("ETag"), Date: res.Header.Get("Last-Modified")}
	if v.ETag != "" || v.Date != "" {
		v.Request = Hash(u.String())
	}
	return v
}

// Ask makes a request for u conditional, if v is of u.
func (v Validators) Ask(u *url.URL, h http.Header) {
	if v.Request != Hash(u.String()) {
		return
	}
	if v.ETag != "" {
		h.Set("If-None-Match", v.ETag)
	}
	if v.Date != "" {
		h.Set("If-Modified-Since", v.Date)
	}
}

// Hash is short, and tells nothing of the text: a URL or a header may hold a secret.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
