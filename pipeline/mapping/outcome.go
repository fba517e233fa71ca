package mapping

// Code says why a record was refused. The list is fixed; rules of `refuse:` add their own names to it.
type Code string

// The reasons for which the program itself refuses a record. Result.Column names the column or element, never a value.
const (
	RequiredEmpty   Code = "required-empty"     // an element that must be there ended up empty
	BadForm         Code = "bad-form"           // a value violates the form of its primitive type (date, code, id, …)
	NotInBinding    Code = "not-in-binding"     // a code outside a required value set
	TooMany         Code = "too-many"           // more values than the element, or a formula's place, allows
	SeveralChoices  Code = "several-choices"    // two variants of one choice element, such as valueString and valueQuantity
	WrongType       Code = "wrong-type"         // a formula gave a value of a type that the element cannot hold
	BadDate         Code = "bad-date"           // no layout fits, or there is no such day
	AmbiguousDate   Code = "ambiguous-date"     // two layouts read it differently
	NoZone          Code = "no-zone"            // a time without a zone, and the source declares none
	NonexistentTime Code = "nonexistent-time"   // a local time that a clock change left out
	AmbiguousTime   Code = "ambiguous-time"     // a local time that a clock change made happen twice
	BadNumber       Code = "bad-number"         // not a decimal, integer or quantity
	BadUnit         Code = "unconvertible-unit" // a quantity whose unit does not lead to the one that is wanted: unknown, of another dimension, or only by way of the substance
	UnmappedCode    Code = "unmapped-code"      // a code that the concept map does not know and refuses
	SeveralTargets  Code = "several-targets"    // a code with several targets to choose from, or with several where one is wanted
	NarrowerCode    Code = "narrower-code"      // a code whose only target asserts more, in a map that refuses that
	NoPatient       Code = "no-patient"         // `patient:` ended up empty
	BlankKey        Code = "blank-key"          // every column of the key is blank
	DuplicateItem   Code = "duplicate-item"     // two items of `forEach` with one key
	BadFormula      Code = "formula-failed"     // a formula failed for a reason of FHIRPath, such as several values where one is needed
	BadEncoding     Code = "bad-encoding"       // text that is not UTF-8 or holds control characters
	TooLarge        Code = "too-large"          // the resource grew beyond MaxResource
	Invalid         Code = "not-valid"          // the resource breaks R4: Detail is the rule or invariant (package validate)
	Missing         Code = "missing-reference"  // a ref() to a record that was refused, skipped or never existed (checked over the whole wave)
	Duplicate       Code = "duplicate-key"      // a second record with the same key, under `duplicates: refuse` (checked over the whole wave)
	MergeConflict   Code = "merge-conflict"     // a second, unequal record under `duplicates: merge` (checked over the whole wave)
)

// Codes lists every [Code], for reports and manuals.
func Codes() []Code {
	return []Code{RequiredEmpty, BadForm, NotInBinding, TooMany, SeveralChoices, WrongType, BadDate, AmbiguousDate, NoZone,
		NonexistentTime, AmbiguousTime, BadNumber, BadUnit, UnmappedCode, SeveralTargets, NarrowerCode, NoPatient, BlankKey,
		DuplicateItem, BadFormula, BadEncoding, TooLarge, Invalid, Missing, Duplicate, MergeConflict}
}

// Findings that the program itself makes; rules of `find:` add their own names.
const (
	FindUnmapped      = "unmapped-code"     // a code that the concept map does not know was kept or became text, or the map's fixed code
	FindNarrower      = "narrower-code"     // a code was translated into one that asserts more than the source did
	FindSeveral       = "several-targets"   // a code with several targets to choose from became text, or kept its source's coding alone
	FindDroppedRef    = "dropped-reference" // a ref() to nothing was left out under `references: drop` (made by the wave's check)
	FindWroteNothing  = "wrote-nothing"     // a formula read something and wrote nothing (counted per formula, not per record)
	FindProfile       = "not-conforming"    // what a mapping wrote breaks a profile that it claims (counted per rule, not per record)
	FindDoubtfulUnit  = "doubtful-unit"     // a line of a concept map whose source code is itself a unit that measures something else (made by the check)
	FindUnusedColumn  = "unused-column"     // a column that no formula reads and no `unused` entry names
	FindUnusedTable   = "unused-table"      // a table that no mapping reads
	FindMissingColumn = "missing-column"    // a column of the mapping that the table lacks
)

// Outcome is what became of one record in one mapping.
type Outcome uint8

// The outcomes. The zero value is not an outcome, so a forgotten one shows.
const (
	Mapped  Outcome = iota + 1 // resources were made (possibly none, under a top-level forEach)
	Skipped                    // a rule of `skip:` left it out
	Refused                    // it cannot be mapped
)

// String returns the outcome as a word.
func (o Outcome) String() string {
	switch o {
	case Mapped:
		return "mapped"
	case Skipped:
		return "skipped"
	case Refused:
		return "refused"
	}
	return "none"
}

// Result says what became of one record. It holds names of rules, columns and elements only, never a value. It is valid
// until the worker's next call.
type Result struct {
	Outcome  Outcome
	Rule     string // the skip or refuse rule's name, or the Code
	Column   string // the column it was about, if one formula with one column failed; may be empty
	Element  string // the element path in the resource, such as onsetDateTime; may be empty
	Detail   string // FHIRPath's own reason under formula-failed, such as several-values; the rule under not-valid
	Findings []Finding
	// PatientID is the patient whose a refused record is, zero if it has none, or if it was refused before that could be
	// told. Of a record that was mapped the resources know.
	PatientID ID
}

// Finding is a remark on a record that was mapped nonetheless.
type Finding struct {
	Rule   string // the name of a `find:` rule, or one of the Find constants
	Column string // column or element, may be empty
}
