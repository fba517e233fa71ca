// Package sandbox is a FHIR R4 server inside the binary, for rehearsals and tests: a place to load into that needs
// nothing installed, behaves as the standard says, and can be told to misbehave.
//
// It reads, reads versions and histories, searches, creates, updates (also to ids that do not exist yet, unless only the
// server gives ids: Options.ServerIDs; and on conditions), deletes, and takes batches and transactions. Every resource is
// checked against the structure that R4 defines, and kept with its members and numbers as they came. It holds everything
// in memory, packed, and with a file (Options.Store) also there. It knows no users and asks for no credentials, so it
// belongs on loopback, with made-up data or data that may be seen.
//
// # Faults
//
// A fault specification (Options.Faults) is a list of items separated by commas:
//
//	spec  = item { "," item }
//	item  = "seed=" number | name [ "=" argument ] [ ":" probability ] { ":" key "=" value }
//	keys    retry-after (as the header: seconds, a date, nonsense; a colon in it is not possible), nth (only the nth
//	        occasion), times (at most so often), type (only resources of that type), method (only requests with that
//	        method), seed
//
// Without a probability a fault befalls every occasion. Faults of whole requests (all but GET metadata):
//
//	429 503 500 …       the request is refused with this status, nothing is done
//	slow=20ms           the answer takes so much longer
//	hang                no answer, until the client gives up; nothing is done
//	drop-before         the connection breaks; nothing is done
//	drop-after-commit   all is done, then the connection breaks
//	half-answer         all is done, and the answer breaks off in its middle
//	html                all is done, and the answer is a page of HTML with status 200
//	entry-missing entry-added entry-reordered no-location   the answer to a Bundle lacks its last entry, has one more, has
//	                    them in another order, names no locations
//
// Faults of single resources, read or written, also inside a Bundle:
//
//	entry=503           this resource is refused with the status; outside a Bundle the request is
//
// Faults of resources that are written, the same for one resource however often it is sent. Of a create, which gets
// another id each time, one resource is what has the same If-None-Exist, or else the same first identifier:
//
//	reject=Type/n       the nth resource of the type to arrive is refused with 422, whenever it comes; reject=Type: each one
//	poison              a Bundle that holds the resource fails as a whole, with 500
//	lose                201 is answered and nothing is stored
//	cut-string=255      strings longer than that are cut (without a number: the longest string of the resource loses its
//	                    last character)
//	drop-extension      extensions are not stored
//	wrong-id            it is stored under an id of the server's own, which the answer names
//
// Faults of searches:
//
//	search-lag=100      the last so many versions written are not found yet
//	page-loop           the next page is the first one
//	page-repeat         each page is its own next page
//	total-wrong total-absent
//
// Everything is decided by the seed (default 1) and the number of the occasion, faults of written resources by the seed
// and the resource's type and id: the same requests in the same order meet the same faults.
package sandbox
