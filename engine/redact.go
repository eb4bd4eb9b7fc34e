package engine

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// minSecret is how many bytes a secret has at least: what is shorter is in many texts by chance.
const minSecret = 6

// redact leaves out of a text what an auth config holds. A provider's error can repeat it, or
// its source's answer, and it would be in the log and in answers of the API. auth may be nil.
func redact(text string, auth *Auth) string {
	if auth == nil || text == "" {
		return text
	}
	var value any
	if json.Unmarshal(auth.Value, &value) != nil {
		return text
	}
	var secrets []string
	collectTexts(value, &secrets)
	if basic, ok := value.(map[string]any); ok { // as the header Authorization has them
		user, _ := basic["username"].(string)
		password, _ := basic["password"].(string)
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	var pairs []string
	for _, s := range secrets {
		if len(s) >= minSecret {
			for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
				pairs = append(pairs, form, "[secret]")
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func collectTexts(value any, texts *[]string) {
	switch v := value.(type) {
	case string:
		*texts = append(*texts, v)
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
