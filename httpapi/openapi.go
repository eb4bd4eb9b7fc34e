package httpapi

import (
	_ "embed"
	"encoding/json"
)

// openAPIDocument describes every route in OpenAPI 3.1. It is written by hand; its test
// holds it to what the handlers read and answer.
//
//go:embed openapi.json
var openAPIDocument []byte

func openAPI(*request) (any, error) { return json.RawMessage(openAPIDocument), nil }
