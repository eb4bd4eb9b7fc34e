package engine

import (
	"encoding/json"
	"testing"
)

func TestFill(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, schema, value, want string }{
		{"AddsWhatIsMissing", `{"properties":{"a":{"default":1},"b":{"default":"x"},"c":{"default":null},"d":{"default":{"e":[true]}},"f":{}}}`, `{}`,
			`{"a":1,"b":"x","c":null,"d":{"e":[true]}}`},
		{"LeavesWhatIsGiven", `{"properties":{"a":{"default":1},"b":{"default":1},"c":{"default":1},"d":{"default":1}}}`, `{"a":null,"b":false,"c":"","d":0}`, `{"a":null,"b":false,"c":"","d":0}`},
		{"KeepsEveryByteOfWhatIsGiven", `{"properties":{"a":{"default":1}}}`, `{"big":9007199254740993,"e":1E400,"exact":1.10,"html":"<&>","u":"\u00e9é\ud800"}`,
			`{"a":1,"big":9007199254740993,"e":1E400,"exact":1.10,"html":"<&>","u":"\u00e9é\ud800"}`},
		{"KeepsEveryDigitOfADefault", `{"properties":{"a":{"default":9007199254740993},"b":{"default":[1.10,1E400]},"c":{"default":"<&>"}}}`, `{}`,
			`{"a":9007199254740993,"b":[1.10,1E400],"c":"<&>"}`},
		{"OrderDoesNotMatter", `{"properties":{"b":{"default":2},"a":{"default":1}}}`, `{"z":1,"c":3}`, `{"a":1,"b":2,"c":3,"z":1}`},
		{"NothingMissingIsTheSameText", `{"properties":{"a":{"default":1}}}`, `{"z":1,"a":2}`, `{"z":1,"a":2}`},
		{"ObjectsInside", `{"properties":{"a":{"properties":{"b":{"properties":{"c":{"default":1}}}}}}}`, `{"a":{"b":{"x":2}}}`, `{"a":{"b":{"c":1,"x":2}}}`},
		{"MissingObjectsAreNotMade", `{"properties":{"a":{"properties":{"b":{"default":1}}}}}`, `{}`, `{}`},
		{"ObjectThatIsNull", `{"properties":{"a":{"properties":{"b":{"default":1}}}}}`, `{"a":null}`, `{"a":null}`},
		{"ObjectThatIsAList", `{"properties":{"a":{"properties":{"b":{"default":1}}}}}`, `{"a":[{}]}`, `{"a":[{}]}`},
		{"DefaultAsItStands", `{"properties":{"a":{"default":{},"properties":{"b":{"default":1}}}}}`, `{}`, `{"a":{}}`},
		{"Reference", `{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"b":{"$ref":"#/$defs/b"}}},"b":{"$ref":"#/$defs/c"},"c":{"properties":{"d":{"default":1}}}}}`, `{"b":{}}`, `{"b":{"d":1}}`},
		{"DefaultBehindAReference", `{"properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"default":1}}}`, `{}`, `{"a":1}`},
		{"NearerDefaultWins", `{"properties":{"a":{"$ref":"#/$defs/a","default":2}},"$defs":{"a":{"default":1}}}`, `{}`, `{"a":2}`},
		{"ReferenceBesideProperties", `{"$ref":"#/$defs/a","properties":{"b":{"default":2}},"$defs":{"a":{"properties":{"a":{"default":1},"b":{"default":1}}}}}`, `{}`, `{"a":1,"b":2}`},
		{"SchemaInItself", `{"properties":{"a":{"$ref":"#"},"b":{"default":1}}}`, `{"a":{"a":{}}}`, `{"a":{"a":{"b":1},"b":1},"b":1}`},
		{"DefaultInItself", `{"properties":{"a":{"$ref":"#","default":{}}}}`, `{}`, `{"a":{}}`},
		{"DefaultInItselfTwice", `{"$ref":"#/$defs/m","properties":{"a":{"$ref":"#","default":{}}},"$defs":{"m":{"properties":{"a":{"$ref":"#"}}}}}`, `{}`, `{"a":{}}`},
		{"ReferencesInACircle", `{"properties":{"a":{"$ref":"#/$defs/a"},"b":{"default":1}},"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, `{}`, `{"b":1}`},
		{"NothingRatherThanWhatIsNotValid", `{"properties":{"a":{"default":"x","type":"integer"},"b":{"default":1}}}`, `{}`, `{}`},
		{"NothingRatherThanWhatIsForbidden", `{"properties":{"a":{"default":1},"b":{}},"dependentRequired":{"a":["b"]}}`, `{}`, `{}`},
		{"NoProperties", `{"type":"object"}`, `{"a":1}`, `{"a":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := compileSchema(json.RawMessage(tt.schema))
			if err != nil {
				t.Fatal(err)
			}
			if wrong := s.check(json.RawMessage(tt.value)); len(wrong) > 0 {
				t.Fatalf("the value is not valid: %v", wrong)
			}
			for range 10 { // as often as maps need to show another order
				if got := string(s.fill(json.RawMessage(tt.value))); got != tt.want {
					t.Fatalf("got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}
