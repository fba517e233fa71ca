package load

import (
	"slices"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// serverMeta are the members of meta that belong to the server: versionId and lastUpdated "change when the content of
// the resource changes" (resource.html#Meta), and servers such as HAPI fill in source.
var serverMeta = []string{"versionId", "lastUpdated", "source"}

// metaSets are the members of meta whose order means nothing (resource.html#Meta: they are sets). HAPI sorts tags.
var metaSets = []string{"profile", "security", "tag"}

// SameAsSent tells whether what a target holds is exactly what was sent, apart from what a server adds to meta itself.
// Members may stand in any order; numbers are compared as written, so that a server which rewrites 0.70 as 0.7 holds
// something else. It errs on the side of difference: reconciling, which knows named normalisations, decides what a
// difference means.
func SameAsSent(sent, got *fhir.Node) bool {
	if sent == nil || got == nil || sent.Kind != fhir.Object || got.Kind != fhir.Object {
		return sent.Equal(got)
	}
	for _, m := range sent.Members {
		if m.Name == "meta" {
			continue
		}
		if other := got.Get(m.Name); other == nil || !m.Value.Equal(other) {
			return false
		}
	}
	for _, m := range got.Members {
		if m.Name != "meta" && sent.Get(m.Name) == nil {
			return false
		}
	}
	return sameMeta(sent.Get("meta"), got.Get("meta"))
}

func sameMeta(sent, got *fhir.Node) bool {
	if sent != nil {
		for _, m := range sent.Members {
			if m.Name == "versionId" || m.Name == "lastUpdated" {
				continue // a server replaces these whatever is sent
			}
			if other := got.Get(m.Name); other == nil || !m.Value.Equal(other) && !SameMetaSet(m.Name, m.Value, other) {
				return false
			}
		}
	}
	if got != nil {
		for _, m := range got.Members {
			if !slices.Contains(serverMeta, m.Name) && sent.Get(m.Name) == nil {
				return false
			}
		}
	}
	return true
}

// SameMetaSet tells whether a member of meta is one of its sets, and two values of it hold the same in any order.
func SameMetaSet(name string, a, b *fhir.Node) bool {
	holds := func(list, all *fhir.Node) bool {
		return !slices.ContainsFunc(all.Items, func(x *fhir.Node) bool { return !slices.ContainsFunc(list.Items, x.Equal) })
	}
	return slices.Contains(metaSets, name) && a.Kind == fhir.Array && b.Kind == fhir.Array && len(a.Items) == len(b.Items) && holds(a, b) && holds(b, a)
}
