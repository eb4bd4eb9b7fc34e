package webhook_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var names = slices.Sorted(maps.Keys(senders))

// Whatever a sender signs is believed, and with any byte of it changed it is not.
func TestPropertySignedBodiesVerify(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := senders[rapid.SampledFrom(names).Draw(r, "sender")]
		body := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "body")
		at := now.Unix() + rapid.Int64Range(-290, 290).Draw(r, "skew")
		header := s.sign(rapid.SampledFrom(s.secrets[:]).Draw(r, "secret"), at, string(body))
		if _, err := trigger.Handle(t.Context(), request(t, s.config, s.secrets[:], string(body), header...)); err != nil {
			r.Fatalf("right: %v", err)
		}
		if len(body) > 0 && !s.bare {
			changed := slices.Clone(body)
			changed[rapid.IntRange(0, len(body)-1).Draw(r, "at")] ^= byte(rapid.IntRange(1, 255).Draw(r, "bits"))
			if _, err := trigger.Handle(t.Context(), request(t, s.config, s.secrets[:], string(changed), header...)); status(err) != 401 {
				r.Errorf("changed body: %v", err)
			}
		}
		// Headers too, but for the capitals of hex, which senders write as they like, the names of other versions of
		// a signature, and spaces.
		changed := slices.Clone(header)
		i := 2*rapid.IntRange(0, len(header)/2-1).Draw(r, "header") + 1
		value := []byte(header[i])
		j := rapid.IntRange(0, len(value)-1).Draw(r, "place")
		value[j] ^= byte(rapid.IntRange(1, 255).Draw(r, "flip"))
		changed[i] = string(value)
		if strings.EqualFold(changed[i], header[i]) || strings.TrimSpace(changed[i]) == strings.TrimSpace(header[i]) {
			return
		}
		if _, err := trigger.Handle(t.Context(), request(t, s.config, s.secrets[:], string(body), changed...)); status(err) != 401 {
			r.Errorf("changed %s: %q: %v", header[i-1], changed[i], err)
		}
	})
}

// Mapping depends on the input alone, and whatever was signed becomes an event that the engine takes.
func TestPropertyMappingIsPure(t *testing.T) {
	t.Parallel()
	kinds := []string{"application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""}
	rapid.Check(t, func(r *rapid.T) {
		kind := rapid.SampledFrom(kinds).Draw(r, "kind")
		body := rapid.OneOf(
			rapid.Custom(func(r *rapid.T) string {
				return string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(r, "bytes"))
			}),
			rapid.StringMatching(`\{"type":"[a-z]{0,3}","id":[0-9]{1,30}(\.0)?,"action":("x"|null|\[\]),"event":(\{\}|1)\}`),
			rapid.StringMatching(`payload=[a-z%7B"{}]{0,10}(&a=b)?`),
		).Draw(r, "body")
		s := senders[rapid.SampledFrom(names).Draw(r, "sender")]
		req := request(t, s.config, s.secrets[:], body, append(s.sign(s.secrets[0], now.Unix(), body), "Content-Type", kind)...)
		m := mapped(t, req) // at another time than it was handled
		if again := mapped(t, req); again.Type != m.Type || again.SourceID != m.SourceID || string(again.Output) != string(m.Output) {
			r.Errorf("%+v, then %+v", m, again)
		}
		if m.Type == "" || m.SourceID == "" || len([]rune(m.Type)) > 200 || strings.ContainsAny(m.Type+m.SourceID, "\x00\n") {
			r.Errorf("%+v", m)
		}
	})
}
