package load

import (
	"slices"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// serverMeta are the members of meta that belong to the server: versionId and lastUpdated "change when the content of
// the resource changes" (resource.html#Meta), and servers such as HAPI fill in source.
var serverMeta = []string{"versionId", "lastUpdated", "source"}

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
			if other := got.Get(m.Name); other == nil || !m.Value.Equal(other) {
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
