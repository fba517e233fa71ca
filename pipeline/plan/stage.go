package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// Staged is what lies on the stage of one run: its batches, what became of them, and what was refused.
type Staged struct {
	Run     string
	Place   stage.Place
	Scratch *stage.Scratch
	Keys    *phi.Keyring
}

// Staged is what lies on the stage of a run.
func (s *Session) Staged(run string) Staged {
	return Staged{Run: run, Place: s.Stage.Sub(run), Scratch: s.Scratch(run), Keys: s.Keys}
}

// Scratch is where this process keeps for a while what does not fit into its memory, beside the batches of a run.
func (s *Session) Scratch(run string) *stage.Scratch {
	return stage.NewScratch(filepath.Join(s.Plan.Stage, run))
}

// StateOf is where the state of a target lies. Another URL is another target.
func (s *Session) StateOf(target string) state.Home {
	return state.Home{Place: s.Stage.Sub("state").Sub(FileName(target)), Keys: s.Keys, Target: target}
}

// longestName leaves room for what is put behind a name.
const longestName = 120

// FileName keeps what every place takes. Where it has to change or cut a name a digest follows it, so that two names
// never become one file.
func FileName(s string) string {
	name := plainName(s)
	if name != s || len(name) > longestName {
		sum := sha256.Sum256([]byte(s))
		name = name[:min(len(name), longestName)] + "-" + hex.EncodeToString(sum[:8])
	}
	return name
}

func plainName(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, s)
}
