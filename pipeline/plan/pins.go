package plan

import (
	"context"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// EngineRevision counts changes of the engine that decide bytes: ids, canonical JSON, sealing, batches. A run does not
// resume across one.
const EngineRevision = "3"

// Pins is the digest of everything that must not change between a stop and a resume of a run.
func (s *Session) Pins(ctx context.Context, target string) (map[string]string, error) {
	p := s.Plan
	pins := map[string]string{
		"engine":    EngineRevision,
		"r4":        fhir.DefinitionsDigest(),
		"migration": p.Migration,
		"mappings":  s.Program.Digest(),
		"policy":    s.Policy.Digest(),
		"delivery":  p.PHI.Delivery,
		"keys":      s.Keys.Fingerprint(),
		"target":    target,
	}
	for _, src := range p.Sources {
		zone := "none"
		if src.Zone != nil {
			zone = src.Zone.String()
		}
		pins["source "+src.Name] = src.pin + " " + zone
	}
	for _, m := range s.Program.Mappings {
		pins[madePrefix+m.Name] = m.Type
	}
	for i, g := range s.guides { // two folders may have one name, and of two guides the first counts
		pins[fmt.Sprintf("guide %d %s %s", i+1, g.Name, g.Version)] = g.Digest()
	}
	if s.codes != nil {
		pins["terminology"] = s.codes.Digest()
	}
	for _, w := range p.Waves {
		pins["wave "+w.Name] = w.Formula + "|" + w.File
	}
	cuts, err := s.Cuts(ctx)
	if err != nil {
		return nil, err
	}
	for t, c := range cuts {
		pins["table "+t.Source+"/"+t.Name] = c.Digest()
	}
	return pins, nil
}

// madePrefix marks the pins that say which type a mapping makes: they are part of what a run is, and reconcile needs
// them when the source is long gone.
const madePrefix = "makes "

// MadeTypes says which type each mapping of a run makes, by its pins.
func MadeTypes(pins map[string]string) map[string]string {
	types := map[string]string{}
	for name, typ := range pins {
		if m, ok := strings.CutPrefix(name, madePrefix); ok {
			types[m] = typ
		}
	}
	return types
}
