package engine

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// minSecret is how many bytes a secret has at least: what is shorter is in many texts by chance.
const minSecret = 6

// told is an error of a provider as it may be shown: without what an auth config and more values
// hold, and without the path and the query of the URL that an http.Client puts into its errors.
func told(err error, auth *Auth, more ...json.RawMessage) string {
	text := err.Error()
	if e, ok := errors.AsType[*url.Error](err); ok {
		place := "a URL"
		if u, err := url.Parse(e.URL); err == nil && u.Host != "" {
			place = u.Scheme + "://" + u.Host + "/..."
		}
		for _, form := range []string{unquote(strconv.Quote(e.URL)), e.URL} {
			if form != "" {
				text = strings.ReplaceAll(text, form, place)
			}
		}
	}
	return redact(text, auth, more...)
}

// redact leaves out of a text what an auth config and more values hold. A provider's error can repeat it, or
// its source's answer, and it would be in the log and in answers of the API. auth may be nil.
func redact(text string, auth *Auth, more ...json.RawMessage) string {
	if text == "" {
		return text
	}
	if auth != nil {
		more = append([]json.RawMessage{auth.Value, auth.Prepared}, more...)
	}
	var secrets []string
	for _, held := range more {
		var value any
		d := json.NewDecoder(bytes.NewReader(held))
		d.UseNumber() // which keeps the digits
		if d.Decode(&value) != nil {
			continue
		}
		collectTexts(value, &secrets)
		if basic, ok := value.(map[string]any); ok { // as the header Authorization has them
			user, _ := basic["username"].(string)
			password, _ := basic["password"].(string)
			secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	var pairs []string
	for _, s := range secrets {
		if len(s) >= minSecret {
			for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), inJSON(s, true), inJSON(s, false), unquote(strconv.Quote(s))} {
				pairs = append(pairs, form, "[secret]")
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// inJSON is a text as a JSON string has it, without its quotes; html: with <, > and & escaped,
// as encoding/json does by default.
func inJSON(s string, html bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	_ = e.Encode(s) // a string always encodes
	return unquote(strings.TrimSuffix(b.String(), "\n"))
}

func unquote(s string) string { return s[1 : len(s)-1] }

func collectTexts(value any, texts *[]string) {
	switch v := value.(type) {
	case string:
		*texts = append(*texts, v)
	case json.Number:
		*texts = append(*texts, v.String())
	case []any:
		for _, e := range v {
			collectTexts(e, texts)
		}
	case map[string]any:
		for _, e := range v {
			collectTexts(e, texts)
		}
	}
}
