package httpapi_test

import (
	"encoding/json"
	"math/big"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

// cursor is made as a client would.
func cursor(parts ...string) string {
	text, _ := json.Marshal(parts)
	return "cur_" + new(big.Int).SetBytes(text).Text(62)
}

func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var ids []string
	for range 5 {
		ids = append(ids, e.id("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`))
	}
	a, b, c, d, f := ids[0], ids[1], ids[2], ids[3], ids[4]
	for _, tt := range []struct {
		name, query   string
		want          []string
		before, after bool
	}{
		{"Default", "", []string{a, b, c, d, f}, false, false},
		{"Limit", "limit=2", []string{a, b}, false, true},
		{"LimitMost", "limit=100", []string{a, b, c, d, f}, false, false},
		{"Descending", "limit=2&order=desc", []string{f, d}, false, true},
		{"Ascending", "limit=2&order=asc", []string{a, b}, false, true},
		{"After", "limit=2&after=" + b, []string{c, d}, true, true},
		{"AfterToTheEnd", "limit=2&after=" + c, []string{d, f}, true, false},
		{"AfterDescending", "limit=2&order=desc&after=" + d, []string{c, b}, true, true},
		{"Before", "limit=2&before=" + d, []string{b, c}, true, true},
		{"BeforeFromTheStart", "limit=2&before=" + c, []string{a, b}, false, true},
		{"BeforeDescending", "limit=2&order=desc&before=" + b, []string{d, c}, true, true},
		{"CursorAfter", "limit=2&cursor=" + cursor("after", b), []string{c, d}, true, true},
		{"CursorBefore", "limit=2&cursor=" + cursor("before", d), []string{b, c}, true, true},
		{"AfterWinsOverCursor", "limit=2&after=" + b + "&cursor=" + cursor("after", d), []string{c, d}, true, true},
		{"BeforeWinsOverCursor", "limit=2&before=" + d + "&cursor=" + cursor("after", d), []string{b, c}, true, true},
		{"UnknownId", "after=dest_none", []string{}, false, false},
		{"EmptyValuesAreNone", "limit=&order=&after=&before=&cursor=&status=", []string{a, b, c, d, f}, false, false},
		{"UnknownParametersAreIgnored", "api-version=1&nonsense[a]=b&x[=1&y[0][1]=2&id[a]=", []string{a, b, c, d, f}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.with(t)
			got := e.must("GET", "/callback-destinations?"+tt.query, "")
			o := got.decode()
			if !slices.Equal(got.ids(), tt.want) || o.at("pagination", "has_more_before") != tt.before || o.at("pagination", "has_more_after") != tt.after {
				t.Errorf("answer: %s", got.Body)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	t.Run("EveryFormOfAFilter", func(t *testing.T) { testFilters(t, e.with(t), s) })
	t.Run("FiltersOfEveryList", func(t *testing.T) { testFiltersOfEveryList(t, e.with(t)) })
	t.Run("ErrorsNameTheParameter", func(t *testing.T) { testQueryErrors(t, e.with(t)) })
}

func testFilters(t *testing.T, e *env, s setup) {
	events := "/callbacks/" + s.callback + "/events"
	var ids []string
	for _, source := range []string{"one", "two", "[three]"} {
		ids = append(ids, e.id("POST", events, `{"type":"type.`+strings.Trim(source, "[]")+`","source_id":"`+source+`","output":{}}`))
	}
	a, b, c := ids[0], ids[1], ids[2]
	esc := url.QueryEscape
	for _, tt := range []struct {
		name, query string
		want        []string
	}{
		{"Single", "id=" + a, []string{a}},
		{"JSIndexes", "id[0]=" + a + "&id[1]=" + b, []string{a, b}},
		{"JSIndexesEscaped", esc("id[0]") + "=" + a + "&" + esc("id[1]") + "=" + b, []string{a, b}},
		{"JSEmptyBrackets", "id[]=" + a + "&id[]=" + c, []string{a, c}},
		{"PythonRepeated", "id=" + a + "&id=" + b, []string{a, b}},
		{"GoList", "id=" + esc("["+a+" "+b+"]"), []string{a, b}},
		{"GoListOfOne", "id=" + esc("["+a+"]"), []string{a}},
		{"GoEmptyList", "id=" + esc("[]"), []string{a, b, c}},
		{"BracketsTakeValuesLiterally", "source_id[]=" + esc("[three]"), []string{c}},
		{"UnknownIdFindsNothing", "id=cte_none", []string{}},
		{"FiltersNarrowEachOther", "id=" + a + "&type=type.two", []string{}},
		{"Type", "type=type.one&type=type.two", []string{a, b}},
		{"Source", "source_id=two", []string{b}},
		{"Enum", "status=succeeded&delivery_status=pending", []string{a, b, c}},
		{"EnumOther", "status[0]=failed&status[1]=retrying", []string{}},
		{"TriggerKey", "trigger_key=publish", []string{a, b, c}},
		{"TriggerKeyOther", "trigger_key=contact.created", []string{}},
		{"Instance", "callback_instance_id=cbi_none", []string{}},
		{"JSRange", esc("created_at[gt]") + "=2026-01-01T00:00:00Z&created_at[lt]=2026-02-01T00:00:00Z", []string{a, b, c}},
		{"JSRangeBefore", "created_at[lt]=2026-01-10T14:45:00.123Z", []string{}},
		{"JSRangeJustBehind", "created_at[lt]=2026-01-10T14:45:00.1235Z", []string{a, b, c}},
		{"JSRangeAfter", "created_at[gt]=2026-01-10T14:45:00.123Z", []string{}},
		{"JSRangeJustBefore", "created_at[gt]=2026-01-10T14:45:00.1229Z", []string{a, b, c}},
		{"OtherZone", "created_at[lt]=" + esc("2026-01-10T15:45:00.124+01:00"), []string{a, b, c}},
		{"GoRange", "created_at=" + esc("map[gt:2026-01-01T00:00:00Z lt:2026-02-01T00:00:00Z]"), []string{a, b, c}},
		{"GoRangeHalf", "created_at=" + esc("map[gt:2026-02-01T00:00:00Z]"), []string{}},
		{"GoRangeEmpty", "created_at=" + esc("map[]"), []string{a, b, c}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.with(t)
			if got := e.must("GET", events+"?"+tt.query, "").ids(); !slices.Equal(got, tt.want) {
				t.Errorf("ids %v, want %v", got, tt.want)
			}
		})
	}
}

// testFiltersOfEveryList asks each list for what is there and for what is not.
func testFiltersOfEveryList(t *testing.T, e *env) {
	s := e.setup("http://127.0.0.1:1")
	instance := e.id("POST", "/callbacks/"+s.callback+"/instances", `{"provider_config_id":"`+s.config+`","provider_auth_config_id":"`+s.authConfig+`"}`)
	event := e.id("POST", "/callbacks/"+s.callback+"/events", `{"type":"own","output":{}}`)
	old := e.id("DELETE", "/callback-destinations/"+e.id("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`), "")
	version := e.must("GET", "/providers/crm", "").decode().str("current_version", "id")
	const dates = "created_at[gt]=2026-01-01T00:00:00Z&updated_at[gt]=2026-01-01T00:00:00Z"
	for _, tt := range []struct {
		path, query string
		want        int
	}{
		{"/callbacks", "id=" + s.callback + "&provider_deployment_id=" + s.deployment + "&status=active&" + dates, 1},
		{"/callbacks", "status=archived", 0},
		{"/callbacks", "status=deleted", 0},
		{"/callbacks/" + s.callback + "/instances", "id=" + instance + "&status=attached&provider_config_id=" + s.config + "&provider_auth_config_id=" + s.authConfig + "&" + dates, 1},
		{"/callbacks/" + s.callback + "/instances", "status=detached", 0},
		{"/callbacks/" + s.callback + "/notifications", "destination_id=" + s.destination + "&status=pending&event_id=" + event + "&created_at[gt]=2026-01-01T00:00:00Z", 1},
		{"/callbacks/" + s.callback + "/notifications", "status=delivered", 0},
		{"/callback-destinations", "callback_id=" + s.callback + "&status=active&" + dates, 1},
		{"/callback-destinations", "status=archived&id=" + old, 1},
		{"/callback-destinations", "id=" + old, 0},
		{"/callbacks-destinations", "callback_id=" + s.callback, 1},
		{"/callbacks-destinations", "callback_id=clb_none", 0},
		{"/providers", "id=crm", 1},
		{"/providers", "id=none", 0},
		{"/providers", "id=crm&status=active", 1},
		{"/providers", "status=archived", 0},
		{"/provider-versions", "provider_id=crm", 1},
		{"/provider-specifications", "provider_id=none", 0},
		{"/provider-triggers", "provider_id=crm&provider_version_id=" + version + "&provider_deployment_id=" + s.deployment, 2},
		{"/provider-auth-methods", "provider_version_id=" + version, 1},
		{"/provider-deployments", "provider_id=crm&id=" + s.deployment + "&status=active&" + dates, 1},
		{"/provider-configs", "provider_id=crm&provider_deployment_id=" + s.deployment + "&status=active&" + dates, 1},
		{"/provider-configs", "provider_deployment_id=none", 0},
		{"/provider-auth-configs", "provider_deployment_id=" + s.deployment + "&id=" + s.authConfig, 1},
		{"/provider-auth-configs", "provider_auth_method_id=pam_none", 0},
	} {
		if got := e.must("GET", tt.path+"?"+tt.query, "").ids(); len(got) != tt.want {
			t.Errorf("%s?%s: %d items, want %d", tt.path, tt.query, len(got), tt.want)
		}
	}
}

func TestArchivedProvidersAreListedWhenAskedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	other := crm()
	other.Key = "other"
	for _, providers := range [][]engine.Provider{{crm(), other}, {other}} {
		eng, err := engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, Providers: providers})
		if err != nil {
			t.Fatal(err)
		}
		e := serve(t, eng)
		gone := []string{}
		if len(providers) == 1 {
			gone = append(gone, e.id("GET", "/providers/crm", ""))
		}
		if got := e.must("GET", "/providers", "").ids(); len(got) != len(providers) || len(gone) > 0 && slices.Contains(got, gone[0]) {
			t.Errorf("providers: %v", got)
		}
		if got := e.must("GET", "/providers?status=archived", "").ids(); !slices.Equal(got, gone) {
			t.Errorf("archived providers: %v, want %v", got, gone)
		}
		if got := e.must("GET", "/providers?status=archived&status=active&id=crm", "").ids(); len(got) != 1 {
			t.Errorf("of all statuses: %v", got)
		}
		if err := eng.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func testQueryErrors(t *testing.T, e *env) {
	esc := url.QueryEscape
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"limit=0", []string{"invalid_min limit"}},
		{"limit=101", []string{"invalid_max limit"}},
		{"limit=-5", []string{"invalid_min limit"}},
		{"limit=many", []string{"invalid_type limit"}},
		{"limit=1.5", []string{"invalid_type limit"}},
		{"limit=99999999999999999999", []string{"invalid_type limit"}},
		{"limit=1&limit=2", []string{"invalid_type limit"}},
		{"order=up", []string{"invalid_enum order"}},
		{"after=a&before=b", []string{"invalid_literal before"}},
		{"after=a&after=b", []string{"invalid_type after"}},
		{"status=active&status=gone&status=lost", []string{"invalid_enum status", "invalid_enum status"}},
		{"status=" + esc("[active gone]"), []string{"invalid_enum status"}},
		{"created_at[gt]=yesterday&updated_at[lt]=2026-13-01T00:00:00Z", []string{"invalid_type created_at.gt", "invalid_type updated_at.lt"}},
		{"created_at[gt]=2026-01-01T00:00:00Z&created_at[gt]=2026-01-02T00:00:00Z", []string{"invalid_type created_at.gt"}},
		{"created_at=2026-01-01T00:00:00Z", []string{"invalid_type created_at"}},
		{"created_at[gte]=2026-01-01T00:00:00Z", []string{"unrecognized_key created_at.gte"}},
		{"created_at=" + esc("map[gt]"), []string{"invalid_type created_at.gt"}},
		{"created_at=" + esc("map[eq:2026-01-01T00:00:00Z gt:now]"), []string{"unrecognized_key created_at.eq", "invalid_type created_at.gt"}},
		{"cursor=nonsense", []string{"invalid_literal cursor"}},
		{"cursor=cur_", []string{"invalid_literal cursor"}},
		{"cursor=cur_!!", []string{"invalid_literal cursor"}},
		{"cursor=" + esc("cur_+1"), []string{"invalid_literal cursor"}},
		{"cursor=cur_" + strings.Repeat("z", 1000), []string{"invalid_literal cursor"}},
		{"cursor=" + cursor("beside", "clb_1"), []string{"invalid_literal cursor"}},
		{"cursor=" + cursor("after"), []string{"invalid_literal cursor"}},
		{"cursor=" + cursor("after", ""), []string{"invalid_literal cursor"}},
		{"cursor=" + cursor("after", "a", "b"), []string{"invalid_literal cursor"}},
		{"id[a]=x", []string{"invalid_type id"}},
		{"id[0][1]=x", []string{"invalid_type id"}},
		{"id[0=x", []string{"invalid_type id"}},
		{"id=a&id[0]=b&id[c]=d", []string{"invalid_type id"}},
		{"status[a]=active", []string{"invalid_type status"}},
		{"limit[]=5", []string{"invalid_type limit"}},
		{"limit[a]=5", []string{"invalid_type limit"}},
		{"order[0]=desc", []string{"invalid_type order"}},
		{"after[]=a&before[x]=b&cursor[0]=c", []string{"invalid_type after", "invalid_type before", "invalid_type cursor"}},
		{"created_at[]=x", []string{"invalid_type created_at"}},
		{"created_at[gt][0]=2026-01-01T00:00:00Z", []string{"invalid_type created_at"}},
		{"created_at=" + esc("map[gt:2026-01-01T00:00:00Z]") + "&created_at[lt]=2026-01-01T00:00:00Z", []string{"invalid_type created_at"}},
		{"limit=0&order=up&status=x&cursor=x", []string{"invalid_enum status", "invalid_min limit", "invalid_enum order", "invalid_literal cursor"}},
	} {
		a := e.do("GET", "/callbacks?"+tt.query, "")
		if got := a.fieldErrors(); a.Status != 400 || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d %q, want %q", tt.query, a.Status, got, tt.want)
		}
	}
}

// FuzzQuery has any query string answered with a page, or with an error of the client.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "limit=3&order=desc", "id[0]=a&id[]=b&id=c", "id=%5Ba+b%5D", "created_at=map%5Bgt%3A2026-01-01T00%3A00%3A00Z+lt%3A%5D",
		"created_at[gt]=2026-01-01T00:00:00Z", "cursor=" + cursor("after", "cte_1"), "cursor=cur_0", "a;b", "%", "id[=&]=1&[]=2", "after=\x00", "created_at[gt]=0000-01-01T00:00:00Z"} {
		f.Add(seed)
	}
	h := httpapi.New(openEngine(f), httpapi.Options{APIKeys: []string{rootKey}})
	f.Fuzz(func(t *testing.T, raw string) {
		req := httptest.NewRequest("GET", "/callbacks", nil)
		req.URL.RawQuery = raw
		req.Header.Set("Authorization", "Bearer "+rootKey)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != 200 && w.Code != 400 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// FuzzCursor has every cursor that a client makes of an id read as that id, and any other
// text refused or read as one of the two directions.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"clb_1", "", "\"", "\u00e9", strings.Repeat("a", 300), "cur_" + strings.Repeat("z", 40)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id := strings.ToValidUTF8(text, "\ufffd")
		for _, direction := range []string{"after", "before"} {
			made := cursor(direction, id)
			gotDirection, gotID, ok := httpapi.DecodeCursor(made)
			if want := id != "" && len(made) <= 300; ok != want || ok && (gotDirection != direction || gotID != id) {
				t.Errorf("%q is read as %q %q %v, want %q %q %v", made, gotDirection, gotID, ok, direction, id, want)
			}
		}
		if direction, id, ok := httpapi.DecodeCursor(text); ok && (id == "" || direction != "after" && direction != "before") {
			t.Errorf("%q is read as %q %q", text, direction, id)
		}
	})
}
