// Package feed is the provider of events from feeds: it polls an RSS (0.9x, 1.0, 2.0), Atom or JSON
// Feed, and makes an event of each entry that was not there before.
//
// Its identifier is "feed" and its one trigger is "entry.new", polled every 300 seconds. What the
// first poll finds is remembered and makes no events (baseline "skip"). A config:
//
//	{"url": "https://example.com/feed.xml"}
//
// and an event:
//
//	{
//	  "type": "entry.new",
//	  "source_id": "https://example.com/?p=42",
//	  "output": {
//	    "id": "https://example.com/?p=42",
//	    "title": "Release 1.2",
//	    "link": "https://example.com/blog/release-1-2",
//	    "published_at": "2026-01-10T14:45:00.000Z",
//	    "updated_at": null,
//	    "authors": [{"name": "Ada", "email": null}],
//	    "categories": ["releases"],
//	    "summary": "What is new.",
//	    "content": "<p>What is new: ...</p>",
//	    "enclosures": [{"url": "https://example.com/1.mp3", "type": "audio/mpeg", "length": 24986239}],
//	    "truncated": false,
//	    "feed": {"title": "Example", "link": "https://example.com/"}
//	  }
//	}
//
// Every field is always there, null or an empty list when the feed does not say. Dates are UTC;
// one that cannot be read is null. published_at is when the entry was updated if the feed says
// only that. An entry of an Atom or JSON feed without authors has the feed's. Relative links are
// made absolute. summary and content are as the feed has them, HTML or plain text, and not to be
// trusted. "truncated" says that texts were cut, of which summary and content may have 256 KiB each, or
// lists, of which each may have 50 elements, so that the output fits an event.
//
// # Config
//
//   - url: required, http or https, without user and password.
//   - headers: further request headers, by name. Credentials belong into an auth config instead, which is
//     kept encrypted, with the method "bearer" (token), "basic" (username, password) or "header" (name, value).
//   - updates: true makes an event also of each entry that was updated since. Default false.
//     Turning it on makes events of all entries that are in the feed then.
//
// # Ids
//
// One event is made of each id, for ever. An entry's id is its guid (RSS), or its id (Atom, JSON
// Feed); without one, its link; without that, "sha256:" and a digest of all that it says. An id
// that does not fit a source_id is "sha256:" and its digest.
//
// Some feeds give the same guid to different entries. Entries of a feed that share a guid, or have
// none and share a link, but differ in their link or title, are different entries: their ids are
// the guid, "#" and a digest of link and title. That is kept up for as long as the config stays the
// same. If the link and title are the same too, it is one entry, of which the first in the feed counts.
//
// With updates, "@" and when the entry was updated follow the id, or a digest of all that it says if
// the feed has no readable date of that. The type of all events is "entry.new".
//
// Events come in the reverse order of the feed, which mostly has the newest first.
//
// # Manners
//
// As with package http: the URL is asked with If-None-Match and If-Modified-Since, gzip is
// understood, Retry-After is honoured on 429 and 503, up to 24 hours, and 410 pauses the trigger until
// someone acts. Redirects are not followed, since that would send credentials elsewhere: the error
// says where they lead.
//
// A feed may have 10 MiB, 10,000 entries and 300,000 elements and attributes, nested 200 deep.
// Its encoding is that of its byte order mark, its XML declaration or the Content-Type, and UTF-8
// otherwise. Entities that a feed declares itself are not expanded. An HTML page is an
// error, which says where the page has its feed if it tells.
package feed
