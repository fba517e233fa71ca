package profile

import "github.com/chartlift/chartlift/pipeline/extract"

// SchemaVersion is the version of the JSON form of a profile. Fields are added without a new one; one that is taken away
// or means something else makes a new one.
const SchemaVersion = 1

// Profile is what was found. Its JSON form is stable: lists are sorted by source and table, columns in the table's
// order, counts from the greatest.
type Profile struct {
	Schema      int         `json:"schema"`
	ValuesShown bool        `json:"valuesShown"` // Options.ShowValues
	Notices     []Notice    `json:"notices"`     // set by whoever opened the sources
	Tables      []Table     `json:"tables"`
	References  []Reference `json:"references"`
}

// Notice is what a source says about itself that no table shows, such as a sheet that is not a table.
type Notice struct {
	Source  string `json:"source"`
	Message string `json:"message"`
}

// Table is one table.
type Table struct {
	Source        string    `json:"source"`
	Name          string    `json:"name"`
	File          string    `json:"file,omitempty"`
	Form          string    `json:"form,omitempty"` // what was guessed about the file, if the plan does not say it
	Rows          int64     `json:"rows"`           // records that can be read
	Refused       []Refused `json:"refused"`        // and those that cannot
	PatientColumn string    `json:"patientColumn,omitempty"`
	Keys          []Key     `json:"keys"`
	Columns       []Column  `json:"columns"`
}

// Column looks a column up by name; nil if there is none.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Refused counts the records that one rule has refused.
type Refused struct {
	Rule   string  `json:"rule"` // a rule of package extract
	Count  int64   `json:"count"`
	Places []Place `json:"places"` // the first few
}

// Place is a line of the table, and a column if one is at fault.
type Place struct {
	Line   int64  `json:"line"`
	Column string `json:"column,omitempty"`
}

// Key is a column, or a pair of columns, that is never blank and never the same in two records. A single column may be
// one all but for a few records, at most one in twenty: then it is likely meant as the key, and those are doubles.
type Key struct {
	Columns  []string `json:"columns"`
	Repeated int64    `json:"repeated"` // rows that hold a value which an earlier row holds
	Sampled  bool     `json:"sampled"`  // checked by a sample of the values: Repeated is an estimate
}

// Column is one column. The sum of Filled, Empty, White and Blank is the table's Rows.
type Column struct {
	Name     string           `json:"name"`
	Kind     extract.Kind     `json:"kind,omitempty"` // what the source itself says
	Filled   int64            `json:"filled"`
	Empty    int64            `json:"empty"`
	White    int64            `json:"whiteSpace"`
	Blank    map[string]int64 `json:"blankTexts"` // by text that the plan declares blank
	Distinct Distinct         `json:"distinct"`
	Types    map[string]int64 `json:"types"` // by Type constant
	Dates    []DateForm       `json:"dates"`
	// AmbiguousDates counts the values that two forms read as different days.
	AmbiguousDates int64            `json:"ambiguousDates"`
	Length         Length           `json:"length"`
	LeadingZeros   Spot             `json:"leadingZeros"` // whole numbers that would lose digits
	LeadingBlanks  Spot             `json:"leadingBlanks"`
	TrailingBlanks Spot             `json:"trailingBlanks"`
	Mojibake       Spot             `json:"mojibake"` // UTF-8 that was once read as Windows-1252, such as Ã©
	Replaced       Spot             `json:"replaced"` // U+FFFD, where a character was lost for good
	Controls       Spot             `json:"controls"`
	Bidi           Spot             `json:"bidi"`      // marks that change the direction of writing
	Sentinels      map[string]int64 `json:"sentinels"` // by a name of our own list
	PHI            []Suspect        `json:"phi"`
	// Values are the distinct values with the rows they were seen in, see the package comment; Hidden are those that may
	// not be shown, and why not.
	Values []Value `json:"values"`
	Hidden Hidden  `json:"hidden"`

	spread spread // for the comparison with another profile
	codes  []Code // nil if there are too many, or without Options.Digest
}

// Blanks is how many cells hold nothing.
func (c *Column) Blanks() int64 {
	n := c.Empty + c.White
	for _, b := range c.Blank {
		n += b
	}
	return n
}

// Is says whether at least that share of the filled cells has one of the types.
func (c *Column) Is(share float64, types ...string) bool {
	var n int64
	for _, t := range types {
		n += c.Types[t]
	}
	return c.Filled > 0 && float64(n) >= share*float64(c.Filled)
}

// Distinct is a number of distinct values.
type Distinct struct {
	Count    int64   `json:"count"`
	Exact    bool    `json:"exact"`
	Error    float64 `json:"error,omitempty"` // relative standard error, if it is an estimate
	Repeated int64   `json:"repeated"`        // rows that hold a value which an earlier row holds
}

// DateForm is a way in which dates are written.
type DateForm struct {
	Layout string `json:"layout"` // as date() and dateTime() of a mapping take it
	Fits   int64  `json:"fits"`   // values that it reads
	Only   int64  `json:"only"`   // of them, those that no other form reads
	Time   bool   `json:"time"`   // it has a time of day
	Zone   bool   `json:"zone"`   // and that a zone
}

// Length is about the filled cells, in characters.
type Length struct {
	Min     int     `json:"min"`
	Max     int     `json:"max"`
	Mean    float64 `json:"mean"`
	Longest int64   `json:"longestLine"` // where the longest is
}

// Spot counts cells and says on which line the first is.
type Spot struct {
	Count int64 `json:"count"`
	Line  int64 `json:"line,omitempty"`
}

// Suspect says that a column is likely to hold protected health information.
type Suspect struct {
	Category string `json:"category"` // the letter under 45 CFR 164.514(b)(2)(i), or * for free text
	Title    string `json:"title"`
	Evidence string `json:"evidence"` // one of the Evidence constants
	Count    int64  `json:"count,omitempty"`
}

// Evidence for PHI.
const (
	ByName   = "name"   // the column's name
	ByForm   = "form"   // the form of so many values
	ByLength = "length" // long values of several words
	ByUnique = "unique" // the column identifies a record
	ByRefers = "refers" // the column refers to one that does
)

// Value is one value of a column with few.
type Value struct {
	Text string `json:"text"`
	Rows int64  `json:"rows"`
}

// Hidden says how many distinct values are not shown.
type Hidden struct {
	Values int64  `json:"values"`
	Reason string `json:"reason,omitempty"` // one of the Hidden constants
}

// Why values are not shown.
const (
	HiddenMany = "many values"  // more than a person looks through; never shown
	HiddenPHI  = "likely phi"   // the column looks like PHI
	HiddenFew  = "few patients" // seen for fewer than FewPatients patients
)

// Reference says that the values of one column are mostly among the key values of another table.
type Reference struct {
	Source       string `json:"source"`
	Table        string `json:"table"`
	Column       string `json:"column"`
	ParentSource string `json:"parentSource"`
	ParentTable  string `json:"parentTable"`
	ParentColumn string `json:"parentColumn"`
	ByName       bool   `json:"byName"`  // the names agree too
	Orphans      int64  `json:"orphans"` // distinct values without a parent
	OrphanRows   int64  `json:"orphanRows"`
	Exact        bool   `json:"exact"` // else both counts are estimates
}
