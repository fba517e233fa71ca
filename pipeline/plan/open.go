package plan

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// Access is what a command needs of a plan.
type Access uint8

// The parts of a plan that Open opens. They are added up.
const (
	Tables Access = 1 << iota // find the source's tables and compile the mappings against them
	Keys                      // open the keyring
	Write                     // open the ledger to work: takes the lock, makes it if need be
	View                      // open the ledger to read, beside a running process; it may be absent
)

// Options is what Open needs beside the plan.
type Options struct {
	Access   Access
	Operator string // recorded in the audit log
	Version  string // of the program
	Logger   *zap.Logger
	Now      func() time.Time
	Progress Progress
	Workers  int // concurrent extractors; 0: one per core
}

// Progress is told how far long work is. Its methods may be called concurrently.
type Progress interface {
	// Stage begins a stage of the work; total is in units (records, resources, bytes), 0 if unknown.
	Stage(name, unit string, total int64)
	// Add says that n more units are done.
	Add(n int64)
	// Done ends the stage.
	Done()
}

// Silent is a Progress that shows nothing.
type Silent struct{}

// Stage does nothing.
func (Silent) Stage(string, string, int64) {}

// Add does nothing.
func (Silent) Add(int64) {}

// Done does nothing.
func (Silent) Done() {}

// Session is a plan with what a command needs of it opened. What was not asked for is nil. Close it.
type Session struct {
	Plan    *Plan
	Packs   []*mapping.Pack
	Program *mapping.Program
	Notices []mapping.Notice
	Tables  []*extract.Table
	Policy  *phi.Policy
	Keys    *phi.Keyring
	Stage   stage.Place    // batches, outcomes and what else runs keep, each run in a place below
	Ledger  *ledger.Ledger // nil if not asked for, or for View if there is none yet

	Log      *zap.Logger
	Now      func() time.Time
	Progress Progress
	Operator string
	Version  string
	Workers  int

	sources map[string]extract.Source
	cuts    map[*extract.Table]*Cut // set by Cuts
	guides  []*fhir.Package
	codes   *terminology.Definitions // nil: the plan names none
}

// Open reads the plan and opens what o.Access asks for. document.Faults of the plan and of the mappings are answered all at once
// as document.Faults.
func Open(ctx context.Context, planFile string, o Options) (s *Session, err error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = Silent{}
	}
	if err := crash.Check(); err != nil {
		return nil, Usage(err)
	}
	plan, err := Read(planFile)
	if err != nil {
		return nil, err
	}
	s = &Session{Plan: plan, Stage: stage.NewDisk(plan.Stage), Log: o.Logger, Now: o.Now, Progress: o.Progress, Operator: o.Operator, Version: o.Version, Workers: o.Workers,
		sources: map[string]extract.Source{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if o.Access&Keys != 0 {
		if s.Keys, err = phi.OpenKeys(ctx, plan.KeyPlace()); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return s, Usagef("there are no keys at %s yet: `chartlift keys init` makes them (%w)", plan.PHI.Keys, err)
			}
			return s, err
		}
	}
	if s.Keys != nil && s.Keys.Torn() > 0 {
		// Nothing durable relies on what a crash cut off there; it is mended with the next key, and still worth a word.
		s.Log.Warn("the key store ends in what was never finished; it is left out", zap.String("file", s.Keys.StorePath()), zap.Int("records", s.Keys.Torn()))
	}
	if o.Access&Tables != 0 {
		if err := s.compile(ctx); err != nil {
			return s, err
		}
	}
	if o.Access&Write != 0 {
		s.Ledger, err = ledger.Open(ctx, plan.Ledger, ledger.Options{Migration: plan.Migration, Operator: o.Operator, Now: o.Now})
		if err != nil {
			return s, err
		}
	} else if o.Access&View != 0 {
		s.Ledger, err = ledger.View(ctx, plan.Ledger, plan.Migration)
		if errors.Is(err, fs.ErrNotExist) {
			s.Ledger, err = nil, nil
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// Close frees what was opened.
func (s *Session) Close() error {
	var errs []error
	if s.Ledger != nil {
		errs = append(errs, s.Ledger.Close())
	}
	if s.Keys != nil {
		errs = append(errs, s.Keys.Close())
	}
	errs = append(errs, s.closeSources()...)
	return errors.Join(errs...)
}

// compile finds the tables and compiles the packs against them.
func (s *Session) compile(ctx context.Context) error {
	var faults document.Faults
	policy, found := s.openPolicy()
	faults = append(faults, found...)
	s.Policy = policy
	options := mapping.Options{
		Migration: s.Plan.Migration, Policy: policy, UnusedTables: s.Plan.Unused, Constants: s.Plan.Constants, PlanFile: s.Plan.File,
		// Without keys (check, test) any key serves: ids are not shown, only their shape is checked.
		IDKey: make([]byte, 32),
	}
	if s.Keys != nil {
		options.IDKey = s.Keys.IDKey()
	}
	guides, err := ReadGuides(s.Plan.Guides)
	if err != nil {
		faults = append(faults, document.At(s.Plan.File, s.Plan.nodes["guides"], "%v", err))
	}
	codes, found := ReadCodes(ctx, s.Plan.Codes)
	faults = append(faults, found...)
	s.guides, s.codes = guides, codes
	store := StoreOf(guides, codes)
	options.Terminology, options.Validator = store, ValidatorOf(store, guides)
	for _, p := range s.Plan.Sources {
		tables, err := s.openTables(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err() // stopped by the operator: no fault of the plan
		}
		if err != nil {
			faults = append(faults, document.At(s.Plan.File, s.Plan.nodes["sources"], "%v", err)) // it names the source
			continue
		}
		s.Tables = append(s.Tables, tables...)
		options.Sources = append(options.Sources, mapping.Source{Name: p.Name, Zone: p.Zone, Blank: p.Blank, Tables: tables})
	}
	packs, packFaults := ReadPacks(s.Plan)
	s.Packs = packs
	faults = append(faults, packFaults...)
	for _, p := range packs {
		faults = append(faults, p.Unfinished()...)
	}
	if len(faults) > 0 {
		return faults.Sort()
	}
	program, notices, faults := mapping.Compile(packs, options)
	s.Notices = append(s.Notices, notices...)
	if len(faults) > 0 {
		return faults
	}
	s.Program = program
	if faults := s.checkDelivery(); len(faults) > 0 {
		return faults.Sort()
	}
	return nil
}

// openTables opens a source and finds its tables.
func (s *Session) openTables(ctx context.Context, p Source) ([]*extract.Table, error) {
	source, err := OpenSource(ctx, p)
	if err != nil {
		return nil, err
	}
	s.sources[p.Name] = source
	tables, err := source.Tables(ctx)
	if err != nil {
		return nil, err
	}
	notices, err := SourceNotices(ctx, p.Name, source)
	s.Notices = append(s.Notices, notices...)
	return tables, err
}

// loadPolicy loads a policy that ships, by name, or a file of the user's own, by path; what a policy file names stays
// in its folder.
func loadPolicy(name string) (*phi.Policy, error) {
	if !filepath.IsAbs(name) {
		return phi.LoadPolicy(name, nil)
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return phi.LoadPolicy(filepath.Base(name), root.FS())
}

// ReadPacks reads the packs that the plan names: those inside the binary by name, folders by path.
func ReadPacks(p *Plan) ([]*mapping.Pack, document.Faults) {
	var packs []*mapping.Pack
	var faults document.Faults
	var beside []fs.FS // where concept maps find files that the user supplies
	if home, err := os.OpenRoot(p.Dir); err == nil {
		defer home.Close()
		beside = append(beside, home.FS())
	}
	for _, name := range p.Mappings {
		var (
			fsys  fs.FS
			shown = name
			own   = filepath.IsAbs(name)
		)
		if own {
			root, err := os.OpenRoot(name)
			if err != nil {
				faults = append(faults, document.At(p.File, p.nodes["mappings"], "there is no folder of mappings %s", Relative(p.Dir, name)))
				continue
			}
			defer root.Close()
			fsys, shown = root.FS(), Relative(p.Dir, name)
		} else {
			pack, ok := mappings.Pack(name)
			if !ok {
				f := document.At(p.File, p.nodes["mappings"], "there is no pack %q in this program", name)
				f.Hint = document.Hint(name, mappings.Names())
				if f.Hint == "" {
					f.Hint = "a folder of your own is written with a slash: ./" + name
				}
				faults = append(faults, f)
				continue
			}
			fsys = pack
		}
		pack, found := mapping.Read(fsys, shown, beside...)
		faults = append(faults, found...)
		if pack != nil {
			pack.Own = own
			packs = append(packs, pack)
		}
	}
	return packs, faults
}

// Relative shows a path as seen from the plan's folder, if it lies below it.
func Relative(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// MappingsOf lists the mappings of a table.
func (s *Session) MappingsOf(t *extract.Table) []*mapping.Mapping {
	var out []*mapping.Mapping
	for _, m := range s.Program.Mappings {
		if m.Table == t.Name && m.Source == t.Source {
			out = append(out, m)
		}
	}
	return out
}

// SourceOf is the source that a table is read from.
func (s *Session) SourceOf(t *extract.Table) extract.Source { return s.sources[t.Source] }

// Source is the source of a name; nil if the plan has none.
func (s *Session) Source(name string) extract.Source { return s.sources[name] }

// Table finds a table by name, or by source/name.
func (s *Session) Table(name string) (*extract.Table, error) {
	var found []*extract.Table
	for _, t := range s.Tables {
		if t.Name == name || t.Source+"/"+t.Name == name {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, Usagef("there is no table %s", name)
	}
	return nil, Usagef("more than one source has a table %s: write SOURCE/%s", name, name)
}
