// Package http is the provider of events from any HTTP API that answers JSON: it
// polls a URL and makes an event of each item that was not there before.
//
// Its identifier is "http" and its one trigger is "item.new", polled every
// 60 seconds. What the first poll finds is remembered and makes no events (baseline
// "skip"). A config for a typical API:
//
//	{
//	  "url": "https://api.example.com/v1/orders",
//	  "query": {
//	    "limit": "100",
//	    "updated_since": "($cursor // ($now - 86400)) | todate"
//	  },
//	  "items": ".data",
//	  "id": ".id",
//	  "event_type": "\"order.\" + .status",
//	  "cursor": ".data | map(.updated_at | fromdate) | max"
//	}
//
// Only url is required: for a URL that answers a list of objects with an id each,
// {"url": "..."} is enough.
//
// # Config
//
//   - url: http or https, without user and password.
//   - method: "GET" (default) or "POST".
//   - headers: further request headers, by name. Credentials belong into an auth
//     config instead, which is kept encrypted.
//   - query: query parameters, name to jq program. A program has no input; $cursor is
//     what cursor last gave (null at first) and $now is the Unix time in seconds. A
//     string, number or boolean is the parameter's value, an array is one parameter
//     of that name for each element, and null leaves it out. A parameter
//     replaces one of the same name in url.
//   - body: what to send, with method POST: a string as it is (text/plain unless headers
//     say otherwise), any other JSON value as JSON.
//   - items: jq program from a page's body to its items: one array, or any number of
//     outputs that are an item each. Default: the body, which must be a list; then the
//     items are kept byte for byte. A null is an error, as it is mostly a wrong path:
//     write ".data // []" for a source that says null for none.
//   - id: jq program from an item to its id, a string or number. Default ".id". One event is
//     made of each id, for ever. A number is taken exactly as it came.
//   - event_type: jq program from an item to the event's type. Default "\"item.new\"".
//   - cursor: jq program over the body of the last page that was read. Its result is
//     kept as $cursor; null keeps the one before.
//   - next_page: jq program from a page's body to the URL of the next, absolute or
//     relative to the page's own, or null after the last. Default: the Link
//     header with rel="next" (RFC 8288).
//   - max_pages: at most so many pages a poll, default 10. The next poll begins at the
//     first page again, so what lies behind the last one is found only if a cursor leads
//     there; a warning in the log says that there was more.
//
// cursor and next_page have $cursor and $now too, and $headers: the answer's headers by
// lower-case name. jq is gojq, within the limits of time and memory that its
// package sets. Items come in the order of the source.
//
// # Manners
//
// A URL that answered one page is asked again with If-None-Match and
// If-Modified-Since, as long as the request stays the same; with several pages this
// would miss what is new on a later one. Retry-After is honoured
// on 429 and 503, up to 24 hours. 410 pauses the trigger until someone acts. Redirects are not
// followed, and a next page on another origin is refused, since both would
// send credentials elsewhere. A page may have 10 MiB, all pages of a poll 32 MiB.
//
// The item is the event's output, unchanged.
package http
