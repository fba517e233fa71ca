package run

import (
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// shownFromPatients is how many patients must share a value that no concept map knows before it is written down: what
// fewer have may name one of them.
const shownFromPatients = 5

// unmappedOfRun says of the unmapped values what no single task can: how many patients of the run have one, and the
// value itself, where so many have it and the policy keeps what its column feeds. Both are of what this process mapped,
// so after a resume they are "at least", and a value stays hidden rather than be shown too early.
func unmappedOfRun(program *mapping.Program) (out []ledger.Unmapped) {
	kept := program.KeptMaps()
	_, unmapped := program.Counters()
	for _, u := range unmapped {
		if u.Patients < shownFromPatients || !kept[u.Map] {
			u.Value = ""
		}
		out = append(out, ledger.Unmapped(u))
	}
	return out
}
