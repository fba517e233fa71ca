package mapping

import (
	"io/fs"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// Fault is something wrong in a mapping, case or concept map file, with its place. See [document.Fault].
type Fault = document.Fault

// Faults is everything wrong at once, sorted by place. See [document.Faults].
type Faults = document.Faults

// Notice is a remark of the check that is not a fault.
type Notice struct {
	Severity Severity
	Rule     string // one of the Find constants, or what the notice is about in one word
	Subject  string // the column (table.column), table or mapping it is about, for reports; may be empty
	Fault           // place and text; File is the table's name where there is no file
}

// Severity tells what a notice means for the exit code: findings count, notices do not.
type Severity uint8

// The severities of a [Notice].
const (
	Remark    Severity = iota // worth knowing
	IsFinding                 // to be resolved or explained: exit code 3
)

// String returns `notice` or `finding`.
func (s Severity) String() string {
	if s == IsFinding {
		return "finding"
	}
	return "notice"
}

// Pack is a folder of mappings as read: parsed, not yet compiled. It is not changed after [Read].
type Pack struct {
	Name string
	// Own is set by the caller for a folder of the plan's own. A mapping of an own pack whose table is absent is a
	// fault; in a shipped pack it is a notice.
	Own   bool
	Maps  map[string]*terminology.ConceptMap
	files []*file
	cases []*caseFile

	settings  *settings // pack.yaml; nil: there is none
	fragments map[string]*fragment
}

// Mappings lists the names of the pack's mappings, sorted.
func (p *Pack) Mappings() []string {
	names := make([]string, len(p.files))
	for i, f := range p.files {
		names[i] = f.name
	}
	return names
}

// Read reads a pack: *.yaml are mappings, *.cases.yaml cases, maps/*.csv and maps/*.json concept maps, fragments/*.yaml
// what mappings include, pack.yaml what they have in common. All that is wrong in the files themselves is returned at once; what needs the tables is for [Compile]. The pack is nil only if the folder
// cannot be read. Nothing outside fsys is read but the GEM files that concept maps name, which may also lie in one of the
// folders beside it. Files of other names are left alone.
func Read(fsys fs.FS, pack string, beside ...fs.FS) (*Pack, Faults) {
	return readPack(fsys, pack, beside)
}

// Source is what a mapping must know about a source of the plan.
type Source struct {
	Name   string
	Zone   *time.Location   // of times that carry no zone; nil: such a time is refused
	Blank  []string         // texts that count as empty, besides white space
	Tables []*extract.Table // the tables found
}

// Options is what [Compile] needs beside the packs.
type Options struct {
	Migration    string // its name; goes into every id and into meta.tag
	IDKey        []byte // the migration's id key, at least 16 bytes
	Policy       *phi.Policy
	Sources      []Source
	UnusedTables map[string]string // tables that no mapping reads on purpose, by name or pattern (path.Match), with the reason
	// Terminology is what memberOf() and subsumes() in formulas ask; nil: R4's own required value sets.
	Terminology fhirpath.Terminology

	// Validator checks what the mappings write; nil: nothing is checked.
	Validator *validate.Validator
	// Constants override those of the packs; PlanFile is where they stand, for faults.
	Constants []Constant
	PlanFile  string
	// NoCoverage leaves the findings about unread columns and tables out; cases and `eval` use it.
	NoCoverage bool

	// evaluate leaves the writers out, so that tests can compare them with what they stand for.
	evaluate bool
}

// Compile checks the packs against the tables and the definitions of R4 and makes the program that maps. Either there
// are faults, all of them, and the program is nil; or there are none. Notices come in both cases.
func Compile(packs []*Pack, o Options) (*Program, []Notice, Faults) { return compile(packs, o) }

// Duplicates says what a second record with the same key means.
type Duplicates uint8

// What `duplicates:` may say.
const (
	RefuseDuplicates Duplicates = iota // the second is refused
	MergeDuplicates                    // equal results count as merged, unequal ones are refused as a conflict
	NumberDuplicates                   // each is a resource of its own; its ordinal goes into the id
)

// String returns the word of the mapping file.
func (d Duplicates) String() string {
	switch d {
	case MergeDuplicates:
		return "merge"
	case NumberDuplicates:
		return "number"
	}
	return "refuse"
}

// Mapping is one compiled mapping. It is immutable.
type Mapping struct {
	Name       string
	Pack       string
	Table      string // the table's name
	Source     string // the source's name
	Type       string // the resource type it makes
	Level      int    // 0 refers to nothing; n refers only to levels below n, but for references that are late
	Late       bool   // some of its references are late: their targets are loaded with it, or after it
	Completes  int    // the level with which the targets of its late references are there
	Grouped    bool   // `group by`: use GroupKey and MapGroup
	Duplicates Duplicates
	Shared     bool     // `patient: none`: belongs to no patient
	Self       bool     // `patient: self`: the resource is the patient
	Many       bool     // top-level forEach: any number of resources per record
	Key        []string // the columns of the key
	Group      []string // the columns of `group by`
	Refers     []string // names of the mappings it refers to, sorted
	With       []With   // its joins

	program *Program
	body    *body
	index   int
}

// Resource is one resource as written, ready for phi.Sealer. It and its buffers are reused after emit returns.
type Resource struct {
	phi.Resource
	ID        ID
	PatientID ID // zero for shared resources
	Ordinal   int
	Refs      []Ref
}

// Ref is one reference that a resource holds to another resource of the migration.
type Ref struct {
	ID   ID
	Type uint16 // index into Program.Types
	Drop bool   // `references: drop`: if the target is missing, leave the element out with a finding
	Late bool   // its target is loaded with the resource or after it, because mappings refer to each other in a circle
	Path string // element path without indexes, such as participant.individual
}

// Row is a record that was kept, for MapGroup: its cells as found, and its place.
type Row struct {
	Cells   []string
	Place   extract.Place
	Ordinal int64
}

// TagSystem is the system of the tag that every resource carries.
const TagSystem = fhir.TagSystem

// MaxResource is the size in bytes beyond which a resource is refused; APIs refuse far smaller ones.
const MaxResource = 8 << 20
