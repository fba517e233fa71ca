package validate

import (
	"crypto/sha1" // Attachment.hash is one
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// scope is a Bundle within which references are followed.
type scope struct {
	node        *fhir.Node
	composition *fhir.Node // of a document
	byName      map[string]*fhir.Node
}

func newScope(n *fhir.Node) scope {
	s := scope{node: n}
	if n.Get("type").Str() == "document" {
		if first := n.Get("entry").Item(0).Get("resource"); first.ResourceType() == "Composition" {
			s.composition = first
		}
	}
	return s
}

// names indexes the entries by their fullUrl, and by Type/id as the fullUrl and the resource have it. Of several entries
// of one name it is the first.
func (s *scope) names() map[string]*fhir.Node {
	if s.byName != nil {
		return s.byName
	}
	s.byName = map[string]*fhir.Node{}
	entries := s.node.Get("entry")
	if entries == nil {
		return s.byName
	}
	add := func(name string, n *fhir.Node) {
		if _, ok := s.byName[name]; !ok {
			s.byName[name] = n
		}
	}
	for _, entry := range entries.Items {
		full, n := entry.Get("fullUrl").Str(), entry.Get("resource")
		if n == nil {
			continue
		}
		add(full, n)
		if typ := typeOfReference(full); typ != "" {
			add(typ+full[strings.LastIndexByte(full, '/'):], n)
		}
		if typ, id := n.ResourceType(), n.ID(); typ != "" && id != "" {
			add(typ+"/"+id, n)
		}
	}
	return s.byName
}

// inBundle finds the entry that a reference means (bundle.html#references), in the innermost Bundle first. Type/id is
// one of any base: R4's own examples are not strict there.
func (c *Checker) inBundle(text string) *fhir.Node {
	text, _, _ = strings.Cut(text, "/_history/")
	for i := len(c.bundles) - 1; i >= 0; i-- {
		if n := c.bundles[i].names()[text]; n != nil {
			return n
		}
	}
	return nil
}

// inComposition tells whether the value at hand is of the Composition of a document, all of whose references are to
// entries (documents.html#content).
func (c *Checker) inComposition() bool {
	n := len(c.bundles)
	return n > 0 && c.holder != nil && c.bundles[n-1].composition == c.holder
}

// bundle checks what a Bundle asks of its entries beyond its invariants (bundle.html): fullUrls that are absolute and
// those of their resources, one link of a relation, and for a message the focus.
func (c *Checker) bundle(n *fhir.Node) {
	base := len(c.path)
	defer func() { c.path = c.path[:base] }()
	if links := n.Get("link"); links != nil && links.Kind == fhir.Array {
		seen := map[string]bool{}
		for i, l := range links.Items {
			relation := l.Get("relation").Str()
			if relation != "" && seen[relation] && paging[relation] {
				c.path = append(c.path[:base], step{name: "link", index: i})
				c.report(Issue{Severity: Error, Code: "business-rule", Rule: RuleLink, Message: "a second link of the relation " + relation}, value{node: l})
			}
			seen[relation] = true
		}
	}
	entries := n.Get("entry")
	if entries == nil || entries.Kind != fhir.Array {
		return
	}
	typ := n.Get("type").Str()
	type versioned struct{ url, version string }
	met := map[versioned]bool{}
	for i, entry := range entries.Items {
		c.path = append(c.path[:base], step{name: "entry", index: i})
		c.fullURL(typ, entry)
		if url := entry.Get("fullUrl").Str(); url != "" && typ != "history" {
			key := versioned{url, entry.At("resource", "meta", "versionId").Str()}
			if met[key] {
				c.report(Issue{Severity: Error, Code: "invariant", Rule: "bdl-7", Message: "FullUrl must be unique in a bundle, or else entries with same fullUrl must have different meta.versionId (except in history bundles)"}, value{node: entry})
			}
			met[key] = true
		}
	}
	if typ == "message" && len(entries.Items) > 0 {
		c.path = c.path[:base]
		c.messageFocus(entries)
	}
}

// paging are the relations that a set of results has once (http.html#paging).
var paging = map[string]bool{"self": true, "first": true, "previous": true, "prev": true, "next": true, "last": true}

// fullURL checks the fullUrl of an entry.
func (c *Checker) fullURL(typ string, entry *fhir.Node) {
	full, resource := entry.Get("fullUrl"), entry.Get("resource")
	text := full.Str()
	if text == "" {
		switch typ {
		case "document", "message", "collection", "searchset", "history":
			if resource != nil && full == nil {
				c.report(Issue{Severity: Error, Code: "required", Rule: RuleFullURL, Message: "an entry of this type of Bundle has a fullUrl"}, value{node: entry})
			}
		}
		return
	}
	if !absolute(text) {
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleFullURL, Message: "a fullUrl is an absolute URL"}, value{node: full})
		return
	}
	if resource == nil || !strings.HasPrefix(text, "http") {
		return
	}
	// A fullUrl of the form of a server's SHALL NOT disagree with the id of its resource (bundle.html, Bundle.entry.fullUrl).
	if typeOfReference(text) != "" && !strings.HasSuffix(text, "/"+resource.ResourceType()+"/"+resource.ID()) {
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleFullURL, Message: "the fullUrl has the form of a server's, but does not end with the type and id of the resource"}, value{node: full})
	}
}

// messageFocus checks that what a MessageHeader is about is in the Bundle.
func (c *Checker) messageFocus(entries *fhir.Node) {
	header := entries.Items[0].Get("resource")
	if header.ResourceType() != "MessageHeader" {
		return
	}
	focus := header.Get("focus")
	if focus == nil {
		return
	}
	base := len(c.path)
	for i, f := range focus.Items {
		text := f.Get("reference").Str()
		if text == "" || text[0] == '#' || c.inBundle(text) != nil {
			continue
		}
		c.path = append(c.path[:base], step{name: "entry", index: 0}, step{name: "resource", index: -1}, step{name: "focus", index: i})
		c.report(Issue{Severity: Error, Code: "not-found", Rule: RuleReference, Message: "the focus of the message is not in the Bundle"}, value{node: f})
	}
	c.path = c.path[:base]
}

// attachment checks that the stated size and hash are those of the data. That the hash is SHA-1 in base64 is how R4
// describes it, without a SHALL.
func (c *Checker) attachment(x value) {
	data, size, hash := x.node.Get("data"), x.node.Get("size"), x.node.Get("hash")
	if data.Str() == "" || size == nil && hash == nil {
		return
	}
	c.beyondShape()
	text := strings.Map(func(r rune) rune {
		if r == ' ' || r >= '\t' && r <= '\r' {
			return -1
		}
		return r
	}, data.Text)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return // its form is another rule
	}
	if size != nil && size.Kind == fhir.Number {
		if want, err := strconv.Atoi(size.Text); err == nil && len(raw) != want {
			c.report(Issue{Severity: Error, Code: "structure", Rule: RuleSize, Message: "the size is not that of the data"}, x)
		}
	}
	if sum := sha1.Sum(raw); hash.Str() != "" && hash.Text != base64.StdEncoding.EncodeToString(sum[:]) {
		c.report(Issue{Severity: Warning, Code: "structure", Rule: RuleSize, Message: "the hash is not that of the data"}, x)
	}
}
