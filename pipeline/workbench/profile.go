package workbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
	"github.com/chartlift/chartlift/pipeline/extract/profile/draft"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// ProfileOptions says how to look into sources.
type ProfileOptions struct {
	profile.Options
	Operator string // recorded in the audit log, if values are shown and the plan has a ledger
	Now      func() time.Time
}

// Profile looks into the sources of a plan. Of the plan only `sources:` must be right, and `migration:` and `ledger:` if
// they are there: so it may be run before mappings and keys exist. audited says that values are shown and the ledger has
// an entry of it, which is made before anything is read; a plan that has never run has no ledger.
func Profile(ctx context.Context, planFile string, o ProfileOptions) (p *profile.Profile, audited bool, err error) {
	from, err := plan.ReadSources(planFile)
	if err != nil {
		return nil, false, err
	}
	if o.ShowValues {
		if audited, err = auditShown(ctx, from, "profile with values", o.Operator, o.Now); err != nil {
			return nil, false, err
		}
	}
	p, err = profileSources(ctx, from, o.Options)
	return p, audited, err
}

// profileSources opens the sources of a plan and looks into them.
func profileSources(ctx context.Context, from *plan.Plan, o profile.Options) (p *profile.Profile, err error) {
	var sources []profile.Source
	var notices []profile.Notice
	var faults []error
	defer func() {
		for _, s := range sources {
			if c, ok := s.Source.(io.Closer); ok {
				err = errors.Join(err, c.Close())
			}
		}
	}()
	for _, p := range from.Sources {
		source, err := plan.OpenSource(ctx, p)
		if err == nil {
			sources = append(sources, profile.Source{Source: source, Blank: p.Blank})
			sources[len(sources)-1].Tables, err = source.Tables(ctx)
		}
		if err == nil {
			var found []mapping.Notice
			found, err = plan.SourceNotices(ctx, p.Name, source)
			for _, n := range found {
				notices = append(notices, profile.Notice{Source: p.Name, Message: n.Fault.String()})
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			faults = append(faults, err) // it names the source
		}
	}
	if len(faults) > 0 {
		return nil, plan.Usage(errors.Join(faults...))
	}
	if p, err = profile.Run(ctx, sources, o); err == nil {
		p.Notices = append(p.Notices, notices...)
	}
	return p, err
}

// auditShown records that values are shown. Only a ledger that is there takes an entry: to look into a source is no
// reason to begin a migration.
func auditShown(ctx context.Context, p *plan.Plan, act, operator string, now func() time.Time) (bool, error) {
	v, err := ledger.View(ctx, p.Ledger, p.Migration)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil { // what else is wrong with it, opening it says
		if err = v.Close(); err != nil {
			return false, err
		}
	}
	l, err := ledger.Open(ctx, p.Ledger, ledger.Options{Migration: p.Migration, Operator: operator, Now: now})
	if err != nil {
		return false, fmt.Errorf("%s is audited, and the ledger cannot be written: %w", act, err)
	}
	return true, errors.Join(l.Append(ctx, act, p.Migration), l.Close())
}

// Guess says how a plan in the folder dir would read files, globs, folders and databases (env:NAME). Where something
// besides the defaults is needed it is guessed, and Source.Guess says what.
func Guess(names []string, dir string) ([]draft.Source, error) {
	sources, err := draft.Sources(names, dir)
	if err != nil {
		return nil, plan.Usage(err)
	}
	return sources, nil
}

// ProfileGuessed looks into guessed sources; their paths are relative to dir. Table.Form says what was guessed.
func ProfileGuessed(ctx context.Context, guessed []draft.Source, dir string, o profile.Options) (*profile.Profile, error) {
	text := "sources:\n" + draft.YAML(guessed, "")
	from, err := plan.ParseSources("sources", dir, []byte(text))
	if err != nil {
		return nil, err
	}
	p, err := profileSources(ctx, from, o)
	if err != nil {
		return nil, err
	}
	for _, g := range guessed {
		for i := range p.Tables {
			if t := &p.Tables[i]; t.Source == g.Name {
				t.Form = g.Form()
			}
		}
	}
	return p, nil
}
