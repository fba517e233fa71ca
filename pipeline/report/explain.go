package report

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/reconcile"
)

// Explanation says in plain words what a code means and what to do about it.
type Explanation struct {
	Title   string // a few words
	Meaning string // one sentence or two
	Action  string // what to do; empty if nothing is needed
}

// Explain explains the code of a refusal, a finding or a normalisation. A name that a mapping gave to a rule of its own
// (`refuse:`, `find:`) is not in the catalogue: it speaks for itself.
func Explain(code string) Explanation {
	if e, ok := catalogue[code]; ok {
		return e
	}
	return Explanation{
		Title:   code,
		Meaning: "A rule that the mapping itself defines under this name.",
		Action:  "Ask the author of the mapping what the rule stands for, and decide about the records it names.",
	}
}

// Explained says whether the catalogue knows the code.
func Explained(code string) bool {
	_, ok := catalogue[code]
	return ok
}

// ExplainDiscrepancy explains the code of a discrepancy. Only what was refused may have a code that a mapping gave.
func ExplainDiscrepancy(kind ledger.Kind, code string) Explanation {
	switch kind {
	case ledger.Refused:
		return Explain(code)
	case ledger.Rekeyed: // the code names the new id
		return kinds[kind]
	}
	what, byOther := strings.CutSuffix(code, reconcile.ByOther)
	e, ok := noted[what]
	switch {
	case !ok:
		return Explanation{Title: code, Meaning: "A code that this report has no words for."}
	case byOther:
		other := noted[reconcile.CodeOtherVersion]
		return Explanation{e.Title + ", by somebody else", e.Meaning + " " + other.Meaning, other.Action}
	}
	return e
}

const (
	mendSource   = "Correct the cell in the source, or name the mending in the mapping; then run again."
	mendFile     = "Ask for a new export of this file, or correct the named lines; then run again."
	mendMapping  = "Ask the migration engineer: the mapping has to say what to do with such records."
	sealedAgain  = "Treat the patient's identity in this resource as unproven, and find out who changed it in the target. Then `chartlift run --repair=different` sends it again, unless the target holds another version than the one that was written."
	repairLost   = "`chartlift run --repair` sends it again; `chartlift dry-run --repair` says first what that would send. If it is lost again, ask the target's operator."
	repairOther  = "Compare it with the legacy record. `chartlift run --repair=different` sends it again, unless somebody has changed it; if it comes back like this again, the target alters it: ask its operator. Do not sign the domain before."
	vanishedNext = "Find out whether it was deleted in the legacy system or is lacking in the export. If it was deleted, say `vanished: mark` or `vanished: delete` in the plan, then `chartlift run`. If it is lacking, ask for a whole export."
	seeCheck     = "`chartlift check` shows the place and what is meant."
	seeSheets    = "Look at the sheet; `chartlift help sources` says how the plan names what is to be read."
	wholeExport  = "Make sure that the export is whole; if it is not, ask for another one."
	signIn       = "Check `auth:` in the plan, then `chartlift run --rejected`."
	askLog       = "Ask the target's operator for the log of that request."
	retry        = "`chartlift run --rejected` tries again what was refused for this reason."
)

var catalogue = map[string]Explanation{
	// Refused while reading (package extract).
	"ragged-row":         {"Wrong number of cells", "The row has more or fewer cells than the header has columns, so nobody can tell which cell belongs to which column.", mendFile},
	"bare-quote":         {"Stray quotation mark", "A quotation mark stands inside a field that did not begin with one, so the end of the field is uncertain.", mendFile},
	"quote-after-blank":  {"Blank before a quotation mark", "A field begins with blanks and then a quotation mark, so it is unclear whether the field is quoted.", mendFile},
	"text-after-quote":   {"Text after a closing quotation mark", "There is text between the closing quotation mark of a field and the next delimiter.", mendFile},
	"unterminated-quote": {"Quotation mark never closed", "A quotation mark opens and never closes, so the rest of the file could be swallowed.", mendFile},
	"nul-byte":           {"NUL character", "The record contains a NUL character, which is not text. The file is probably damaged.", mendFile},
	"invalid-encoding":   {"Wrong character encoding", "The record contains bytes that mean nothing in the declared encoding. They were not replaced by guesswork.", "Declare the right encoding in the plan (`chartlift profile` suggests one), or ask for a new export."},
	"field-too-long":     {"Field too long", "A field is longer than the limit. Often a quotation mark was lost and the field ran on.", mendFile},
	"record-too-long":    {"Record too long", "The record is longer than the limit. Often a quotation mark was lost and the record ran on.", mendFile},
	"too-many-columns":   {"Too many columns", "The row has more cells than the limit allows.", mendFile},

	"sql-expression":       {"Value that must be computed", "A value in the SQL dump is no literal: only a database could say what it is.", mendFile},
	"sql-statement":        {"Rows that are not written down", "A statement of the SQL dump adds rows that do not stand in it, or only under a condition.", mendFile},
	"sql-truncated":        {"SQL dump cut short", "The SQL dump, or a statement of it, ends in the middle of a record or before the next.", mendFile},
	"bytes-in-text":        {"Bytes in place of text", "The value is written as bytes, and its column does not hold bytes. What text they stand for was not guessed.", mendFile},
	"unknown-escape":       {"Escape of unclear meaning", "A backslash stands before a character that needs none. Programs differ in what that means, and none was guessed.", mendFile},
	"short-line":           {"Line too short", "A line of fixed width ends before its last column does.", mendFile},
	"long-line":            {"Line too long", "A line of fixed width goes on behind its last column.", mendFile},
	"text-between-columns": {"Text between columns", "A line of fixed width holds text at a place that belongs to no column.", mendFile},
	"error-cell":           {"Cell with an error", "The cell of the workbook holds an error such as #N/A or #REF!.", mendFile},
	"stale-formula":        {"Formula without a result", "The cell holds a formula, and no result is stored. Nothing is computed here.", "Open the workbook in Excel, save it, and run again."},
	"malformed-cell":       {"Malformed cell", "What the workbook stores is not a value of the type that the cell has.", mendFile},
	"doubled-cell":         {"Two cells in one place", "The row of the workbook has two cells at the same place.", mendFile},

	// Refused while mapping (package mapping).
	"required-empty":     {"Required information is absent", "FHIR requires an element, and the record has nothing to put there.", mendSource},
	"bad-form":           {"Value has the wrong form", "A value does not have the form that its FHIR type prescribes.", mendSource},
	"not-in-binding":     {"Code outside its value set", "FHIR allows only certain codes here, and the value is none of them.", "Add the source's code to the concept map, then run again."},
	"too-many":           {"More values than allowed", "The element takes fewer values than the record gave.", mendMapping},
	"several-choices":    {"Two kinds of value for one element", "The element may hold one kind of value, and the record gave two.", mendMapping},
	"wrong-type":         {"Wrong type of value", "A formula gave a type of value that the element cannot hold.", mendMapping},
	"bad-date":           {"Not a date", "The cell fits none of the declared date layouts, or names a day that does not exist.", mendSource},
	"ambiguous-date":     {"Date can be read in two ways", "Two declared layouts read the cell as different days. Neither was picked by guesswork.", "Declare a single layout for this column, then run again."},
	"no-zone":            {"Time without a time zone", "The cell is a time without a zone, and the plan declares no zone for this source.", "Declare `timezone:` for the source in the plan, then run again."},
	"nonexistent-time":   {"Time that did not exist", "The local time falls into the hour that was left out when the clocks went forward.", mendSource},
	"ambiguous-time":     {"Time that happened twice", "The local time falls into the hour that was repeated when the clocks went back.", mendSource},
	"bad-number":         {"Not a number", "The cell is not a decimal, whole number or quantity. It was not rounded or guessed.", mendSource},
	"unmapped-code":      {"Code without a translation", "No concept map knows this code of the legacy system.", "Add the code to the concept map with a clinician's approval, then run again."},
	"several-targets":    {"Code with several translations", "The concept map gives several targets for this code, of which one would have to be chosen. None was picked by guesswork: the record was refused, or moved with text or the source's own code alone.", "Decide with a clinician which target is meant, then run again."},
	"narrower-code":      {"Translation says more than the source", "The only target that the concept map gives for this code is more specific than what the source said, so it can be wrong for a patient.", "Decide with a clinician whether the target holds; if not, choose a wider one in the concept map."},
	"unconvertible-unit": {"Unit that cannot be converted", "The value has to be converted to another unit, and its own unit is unknown, measures something else, or depends on the substance.", "Add the unit to the concept map `units`, or leave the value in its own unit in the mapping."},
	"doubtful-unit":      {"Unit that looks like another", "A line of the concept map reads a text as one unit, and UCUM reads the same text as a unit of something else.", "Check the line, and say in its column `comment` that it is meant so."},
	"no-patient":         {"Record without a patient", "The record does not say whose it is.", "Find the patient in the source, or leave the record out by a named rule."},
	"blank-key":          {"Record without a key", "Every column that identifies the record is blank.", mendSource},
	"partial-reference":  {"Incomplete reference", "Only some parts of the key of another record are filled in, so it cannot be found.", mendSource},
	"duplicate-item":     {"Repeated item", "Two items within the record have the same key.", mendSource},
	"formula-failed":     {"Formula failed", "A formula of the mapping could not be computed for this record.", mendMapping},
	"bad-encoding":       {"Unreadable text", "The text contains control characters, or is not valid in its encoding.", mendSource},
	"too-large":          {"Record grows too large", "The resource made of the record exceeds the size limit.", mendMapping},
	"not-valid":          {"Not valid FHIR", "The resource that the mapping wrote breaks a rule of FHIR R4, and a server would refuse it. The rule stands beside it.", "Look at the rule: either the source holds something impossible, or the mapping writes the wrong thing."},
	"missing-reference":  {"Points to something that is not there", "The record refers to another record that was refused, left out or never existed.", "Mend the other record first: this one follows by itself in the next run."},
	"duplicate-key":      {"Second record with the same key", "Another record has the same key, and the mapping says that there must be one.", "Find out which of the two is right, or choose `merge` or `number` in the mapping."},
	"merge-conflict":     {"Two unequal records with the same key", "Two records with the same key were to be merged, and they do not say the same.", "Find out which of the two is right, then run again."},

	// Formulas (package fhirpath).
	"several-values":       {"Several values where one is needed", "A formula was given several values and is defined for one.", mendMapping},
	"number-out-of-range":  {"Number out of range", "A number is beyond what can be computed with exactly.", mendSource},
	"too-many-steps":       {"Formula works too long", "A formula did more work than the limit allows.", mendMapping},
	"collection-too-large": {"Too many values in a formula", "A formula gathered more values than the limit allows.", mendMapping},
	"text-too-long":        {"Text too long in a formula", "A formula made a text longer than the limit.", mendMapping},
	"no-clock":             {"Formula asks for the time", "A formula asks for the present time, which would make every run different.", mendMapping},

	// Findings.
	"dropped-reference":  {"Reference left out", "The record refers to something that does not exist. The mapping allows to leave the reference out, so the record was moved without it.", "Decide whether the record is still useful without the reference."},
	"not-conforming":     {"Does not conform to a profile", "What the mapping wrote breaks a rule of a profile that it claims, such as US Core. The resource itself is sound.", "Mend the mapping so that the rule holds, or claim the profile only for records that conform."},
	"validation-warning": {"Worth a look", "What the mapping wrote does what FHIR or a profile advises against, such as a code outside of a recommended value set.", "Nothing has to be done; look whether a better code is known."},
	"wrote-nothing":      {"Value read and not written", "A formula read a cell with something in it and wrote nothing.", "Ask the migration engineer: either the formula misses something, or the mapping should say why (`allow empty:`)."},
	"unused-column":      {"Column left behind", "No formula reads this column, and the mapping does not say why.", "Decide whether the column is needed; if not, name it under `unused:` with a reason."},
	"unused-table":       {"Table left behind", "No mapping reads this table, and the plan does not say why.", "Decide whether the table is needed; if not, name it under `unused-tables:` with a reason."},
	"loose-map":          {"Translations that do not mean the same", "A concept map has targets that are wider than what the source says, or only overlap with it. The source's own code is kept beside them.", "Have a clinician look through these lines of the concept map."},
	"narrower-map":       {"Translations that say more than the source", "A concept map has targets that are more specific than what the source says.", "Have a clinician look through these lines of the concept map: each can be wrong for a patient."},
	"choice-map":         {"Codes with several translations to choose from", "A concept map has codes with several targets, of which one would have to be chosen. None is picked by guesswork.", "Decide with a clinician which target is meant, line by line."},
	"missing-column":     {"Column not in this export", "The mapping knows a column that this export does not have.", "Make sure that the export is complete; if it never has the column, name it under `optional:`."},

	// What `chartlift check` says of plan and mappings, too.
	"literal":         {"Text that looks like a formula", "The mapping writes a text into every resource, and the text looks like a formula.", "Write `=` before it, or put it in quotes if the text itself is meant."},
	"blank":           {"Formula that may never give anything", "A formula of the mapping does not do what its author most likely meant.", seeCheck},
	"not-checked":     {"Profile not at hand", "What was made claims a profile whose definition is not at hand, so it is judged by FHIR R4 alone.", "Name the package that defines the profile under `guides:` in the plan."},
	"clinical-key":    {"Key that may be corrected", "A key column also feeds an element. If somebody corrects that value later, the record gets a new id, and the old one vanishes.", "Choose a key that nobody corrects, if there is one."},
	"drop-required":   {"Reference that cannot be left out", "The mapping allows to leave a reference out that FHIR requires. Where its target is missing the record is refused.", ""},
	"unused-constant": {"Constant not used", "No formula uses a constant that the mapping or the pack names.", seeCheck},
	"unused-fragment": {"Fragment not used", "No mapping includes a fragment of the pack.", seeCheck},
	"absent-table":    {"No such table", "The mapping reads a table that this export does not have. The mapping is left out, or the table is empty to it.", wholeExport},
	"absent-target":   {"References to an absent table", "The mapping refers to what is made of a table that this export does not have.", wholeExport},
	"absent-column":   {"No such column", "The mapping lists a column as unused that the table does not have.", seeCheck},
	"unknown-column":  {"No such column", "The mapping lists a column as unused that the table does not have.", seeCheck},
	"used-column":     {"Unused, and read", "The mapping lists a column as unused and reads it.", "Take it out of `unused:`."},
	"circle":          {"Mappings that refer to each other", "One of them is written first without its reference, and as a whole when what it refers to is there.", ""},
	"never-joined":    {"Rows that joined no record", "The rows belong to no record that a mapping makes, so nothing was made of them.", "Find out what they belong to, and whether it is lacking in the export."},
	"looked-up":       {"A table to look things up in", "Nothing is made of its rows: formulas look in it for what others mean.", ""},

	// What a workbook or a database says about itself.
	"database":                {"A remark of the database", "The database holds something that reading does not show.", seeCheck},
	"empty-sheet":             {"Empty sheet", "The sheet holds nothing, so it is not a table.", ""},
	"sheet-not-read":          {"Sheet not read", "The plan names sheets, and this one not.", seeSheets},
	"sheet-not-there":         {"Sheet not there", "The plan names a sheet that the workbook does not have.", seeSheets},
	"sheet-is-no-table":       {"Sheet without a header", "The sheet has no usable header, so it was not read.", seeSheets},
	"hidden-sheet":            {"Hidden sheet", "The sheet is hidden, and was read all the same.", ""},
	"hidden-rows":             {"Hidden rows", "Rows are hidden or filtered away, and were read all the same.", ""},
	"hidden-column":           {"Hidden column", "The column is hidden, and was read all the same.", ""},
	"row-ceiling":             {"Sheet that is full", "The sheet ends on the last row that its format has, so records may have been cut off.", wholeExport},
	"above-header":            {"Rows above the header", "Something stands above the header or between its rows, and was not read.", seeSheets},
	"footer":                  {"Rows taken for totals", "Rows at the end were taken for totals or printing lines, and not read.", seeSheets},
	"end":                     {"Rows behind the end", "Rows stand behind the end that the plan names, and were not read.", seeSheets},
	"end-not-found":           {"End not found", "No row is the end that the plan names.", seeSheets},
	"rows-after-blank-row":    {"Rows after a blank row", "Records stand behind a blank row, and were read.", ""},
	"formulas-without-values": {"Column of formulas without results", "The column holds formulas and not one stored result, so it was left out.", "Open the workbook in Excel, save it, and run again."},
	"rows-of-formulas":        {"Rows of formulas without results", "Rows hold nothing but formulas without results, so they are no records.", ""},
	"formula-results":         {"Results of formulas", "Cells were read as the result of their formula was last stored.", ""},
	"merged-cells":            {"Merged cells", "Cells are merged among the records: the value stands in the first of them.", seeSheets},
	"filled-down":             {"Filled down", "Blank cells took the value above, as the plan says.", ""},
	"digits-beyond-15":        {"Numbers longer than Excel keeps", "Whole numbers have more digits than Excel keeps, so identifiers among them may be wrong.", "Ask for an export that writes them as text."},
	"rows-without-values":     {"Rows without a value", "Rows of an unpivoted sheet hold no value, so they make no record.", ""},

	// Notices about policy, delivery and keys.
	"no-as-of":        {"No day to count ages at", "The policy cuts birth dates down by age, and the plan names no day for it, so birth dates are taken out as a whole.", "Name the day in the plan: `phi: {as-of: …}`."},
	"dates-taken-out": {"Clinical dates taken out", "The policy takes dates of care out of what the clinical target shows.", "Do not treat patients by that target alone; choose `limited-data-set` if dates may stay."},
	"nothing-sealed":  {"Nothing is taken out", "The delivery separates patient data, and the policy leaves the names of patients where they are.", "Choose a policy that takes them out, or delivery `identified`."},
	"backup-stale":    {"Keys without a proven backup", "Patients have keys that the last backup whose restore was proven does not hold. If the key store is lost, their encrypted data is lost with it.", "Make a new backup (`chartlift keys backup`) and prove it (`chartlift keys restore`)."},

	// Equal after a named rule (package reconcile).
	"meta-order":       {"Labels in another order", "The server keeps profiles, security labels and tags as sets, whose order means nothing.", ""},
	"server-meta":      {"Version and time of the server", "The server keeps its own version number and time of change. They are not part of the record.", ""},
	"server-narrative": {"Text made by the server", "The server added a text that it generated from the record.", ""},
	"time-zone":        {"Same instant, other offset", "The server writes the same instant with another time zone offset.", ""},
	"second-fraction":  {"Zeros after the seconds", "The server adds or leaves out zeros in the fraction of a second.", ""},
	"decimal-form":     {"Same number, other form", "The server writes the same number in another way, such as 1.5 for 1.50.", ""},
	"reference-form":   {"Same reference, other form", "The server writes the same reference with its own address before it.", ""},
}

// noted explains the codes of discrepancies, but for those of refused records.
var noted = map[string]Explanation{
	// What a comparison noticed (package reconcile).
	reconcile.Lost:    {"Sent and not there", "The element was sent, and what the target returned does not have it.", repairOther},
	reconcile.Added:   {"There and not sent", "The target returned an element that was not sent.", repairOther},
	reconcile.Changed: {"Another value", "The target returned another value than was sent.", repairOther},
	reconcile.Damaged: {"Cut short", "The target returned only the beginning of the value that was sent.", repairOther},
	"missing":         {"Not found", "The target does not know the id under which it took the resource.", repairLost},
	"gone":            {"Deleted", "The target says that the resource was there and has been deleted.", "Find out whether somebody deleted it on purpose. If not, `chartlift run --repair` sends it again."},
	"not-in-state":    {"Not loaded by this migration", "It carries the mark of this migration, and no run that the ledger knows of has loaded it: another ledger may have been in use, or somebody copied a resource with its mark.", "Ask who wrote it. If it does not belong there, delete it in the target; then `chartlift reconcile`."},

	// Who changed it, and what that means (package reconcile).
	reconcile.CodeOtherVersion: {"Changed by somebody else", "The target holds another version than the one that this migration wrote, so somebody or something else changed it. Nothing overwrites it.", "Find out who changed it, and which of the two is right; `chartlift explain TABLE:LINE` shows what the source says."},
	reconcile.CodeNotApplied:   {"Change not applied", "Somebody has changed it in the target, so what the source says now was not sent. What they wrote stays.", "See which of the two is right; `chartlift explain TABLE:LINE` shows what the source says. If the source is, enter it in the target by hand: no run overwrites an edit."},

	// What became of what vanished from the source (package run).
	"not-in-source":  {"Not in the source any more", "Every record of the source was read, and none of them makes it. Nothing was done about it.", vanishedNext},
	"unsure":         {"Perhaps not in the source", "It is made by no record that could be read; but records of its table were refused whose key nobody could read, and one of them may be its own. So it is neither deleted nor marked.", "Mend the refused records, then `chartlift run`: it is judged anew."},
	"too-many":       {"So much vanished that nothing was taken back", "The plan says to delete or mark what vanished, but of this type more than a tenth of what is in the target is no longer in the source. An export that was cut short looks like that.", "Look whether the export is whole. If so much was really deleted, name the number as a gate, `gates: {vanished: N}`, and run again."},
	"not-taken-back": {"Could not be taken back", "The plan says to delete or mark what vanished, and the target would not have it, or nobody knows which version it is.", "Ask the target's operator for the right to delete or change it; the next `chartlift run` tries again. Or take it back by hand."},
	"edited-since":   {"Changed, and left", "The plan says to delete or mark what vanished, but somebody has changed this one in the target since it was loaded. It stays as they left it.", "Look at it in the target, and decide there: no run deletes or overwrites an edit."},

	// What is wrong with the encrypted part of a resource in the target (delivery sealed).
	"ciphertext-lost":    {"Encrypted part gone", "The resource was loaded with its patient data encrypted in an extension, and that extension is no longer there.", sealedAgain},
	"ciphertext-twice":   {"Two encrypted parts", "The resource carries more than one encrypted part, so nobody can tell which of them belongs to it.", sealedAgain},
	"ciphertext-damaged": {"Encrypted part damaged", "The encrypted part was cut short or changed and cannot be read.", sealedAgain},
	"wrong-key":          {"Encrypted for another patient", "The encrypted part was made under the key of another patient: it was swapped with another's.", sealedAgain},
	"stale-digest":       {"Older encrypted part", "The encrypted part is genuine, but of an older content of this resource: an old one was put back.", sealedAgain},
	"foreign-ciphertext": {"Encrypted part does not belong here", "The encrypted part belongs to another resource of the patient, or was changed.", sealedAgain},
	"other-ciphertext":   {"Another copy of the encrypted part", "The encrypted part has the right content, but is not the one that this run sent.", "Find out who replaced it: the content is right, the way it came there is not known."},
	"not-joined":         {"Parts do not join", "The clinical part has lost what a piece of the encrypted part belongs into.", sealedAgain},

	// Why a target rejected a resource: package load, and the codes of FHIR's IssueType.
	"duplicate":        {"The target already has one", "The target says that another resource answers to the same identity.", "Find the other resource in the target before anything is sent again."},
	"too-costly":       {"Too large for the target", "The resource alone is larger than the target accepts.", "Ask the target's operator for a higher limit, or leave large content out by a named rule."},
	"lost-answer":      {"Answer lost", "The connection broke before the target had answered, so it is not known whether the resource arrived.", "`chartlift run`: it looks first, and then sends the same bytes."},
	"unreadable":       {"Answer not understood", "The target answered something that is not a FHIR answer, so nothing is proven.", "Ask the target's operator what stands between: a proxy or gateway often answers in its place."},
	"other-id":         {"Answer about another resource", "The target answered about another resource than was asked for.", "Do not go on: ask the target's operator."},
	"invalid":          {"Not valid for the target", "The target says that the content is not valid.", mendMapping},
	"structure":        {"Structure not accepted", "The target does not accept the structure of the resource.", mendMapping},
	"required":         {"Element required by the target", "The target requires an element that the resource does not have.", mendMapping},
	"value":            {"Value not accepted", "The target does not accept the value of an element.", mendMapping},
	"invariant":        {"Rule of the profile broken", "The target checks a rule that the resource does not satisfy.", mendMapping},
	"code-invalid":     {"Code not accepted", "The target does not know a code or does not allow it here.", "Check the concept map against the target's terminology, then run again."},
	"extension":        {"Extension not accepted", "The target does not accept an extension.", mendMapping},
	"not-found":        {"Not found in the target", "The resource refers to something that the target does not have.", retry},
	"not-supported":    {"Not supported by the target", "The target does not take resources or elements of this kind.", mendMapping},
	"business-rule":    {"Rule of the target broken", "The target has a rule of its own that the resource does not satisfy.", "Ask the target's operator which rule it is."},
	"conflict":         {"Changed at the same time", "Something else changed the resource in the target at the same time.", "Look at the resource in the target: nobody's edit is overwritten."},
	"processing":       {"The target could not process it", "The target failed while it processed the resource.", retry},
	"exception":        {"Fault inside the target", "The target reports a fault of its own.", retry},
	"throttled":        {"Too fast for the target", "The target asked for a slower pace, also after waiting.", retry},
	"timeout":          {"The target took too long", "The target gave up because it took too long.", retry},
	"transient":        {"Passing fault of the target", "The target says that the fault will pass.", retry},
	"forbidden":        {"Not allowed", "The account that loads has no right to write this resource.", "Ask the target's operator for the right, then `chartlift run --rejected`."},
	"security":         {"Refused for security", "The target refused the resource for reasons of security.", "Ask the target's operator."},
	"deleted":          {"Deleted in the target", "Somebody deleted the resource in the target.", "Find out who deleted it and why before it is loaded again."},
	"unknown":          {"No reason known", "The target gives no reason that FHIR has a word for.", askLog},
	"too-long":         {"Content too long", "The target does not take an element of this length.", mendMapping},
	"multiple-matches": {"Several matches", "The target knows several resources that the request could mean.", "Find them in the target before anything is sent again."},
	"incomplete":       {"Incomplete", "The target could only do a part of what it was asked to do.", retry},
	"lock-error":       {"Locked", "Something else had a lock on the resource in the target.", retry},
	"no-store":         {"No room in the target", "The target has no room left for what it was sent.", "Ask the target's operator for room, then `chartlift run --rejected`."},
	"login":            {"Not signed in", "The target asks for a sign-in that the run does not have.", signIn},
	"expired":          {"Sign-in expired", "The sign-in of the run is no longer valid.", signIn},
	"suppressed":       {"Held back by the target", "The target keeps something back for reasons of privacy.", "Ask the target's operator what the account may see and write."},
	"informational":    {"A remark", "The target made a remark and gave no reason.", askLog},
	"success":          {"Said to be done", "The target refused the resource and called that a success.", askLog},

	// The same from Google's API, which has words of its own.
	"aborted":             {"Stopped by the target", "Something else changed the resource at the same time.", retry},
	"already-exists":      {"The target already has one", "The target says that there is one already.", "Find the other resource in the target before anything is sent again."},
	"cancelled":           {"Cancelled by the target", "The target cancelled the request.", retry},
	"data-loss":           {"Loss in the target", "The target says that it lost data for good.", "Do not go on: ask the target's operator."},
	"deadline-exceeded":   {"The target took too long", "The target gave up because it took too long.", retry},
	"failed-precondition": {"The target is not ready for it", "Something has to be there or set up in the target first.", "Ask the target's operator, then `chartlift run --rejected`."},
	"internal":            {"Fault inside the target", "The target reports a fault of its own.", retry},
	"invalid-argument":    {"Not valid for the target", "The target says that the content is not valid.", mendMapping},
	"out-of-range":        {"Out of range", "A value lies outside of what the target takes.", mendMapping},
	"permission-denied":   {"Not allowed", "The account that loads has no right to write this resource.", "Ask the target's operator for the right, then `chartlift run --rejected`."},
	"resource-exhausted":  {"A limit of the target", "The target has reached a limit of its own, of requests or of room.", "Ask the target's operator for a higher limit, then `chartlift run --rejected`."},
	"unauthenticated":     {"Not signed in", "The target asks for a sign-in that the run does not have.", signIn},
	"unavailable":         {"Target not reachable", "The target was not there for a while.", retry},
	"unimplemented":       {"Not supported by the target", "The target does not take resources or elements of this kind.", mendMapping},
	"unresolved":          {"Waits for another resource", "It refers to a resource to which the target has given no id.", "Mend what that resource was refused for: this one follows by itself in the next run."},
	"unmarkable":          {"Cannot be marked", "The type has no place for the mark that says that a record vanished.", "Take it back by hand, or say `vanished: delete` in the plan."},
	"no-version":          {"Version not known", "Nobody knows whether the resource is still as this migration wrote it, so it is left alone.", "Look at it in the target, and decide there."},
}

var kinds = map[ledger.Kind]Explanation{
	ledger.Missing:     {"Missing", "It was loaded, and reading back does not find it.", "Treat it as not migrated. " + repairLost},
	ledger.Unexpected:  {"Unexpected", "The target holds it under this migration's mark, and this migration did not put it there, or no longer knows it.", "Find out where it comes from, and decide whether it belongs in the patient's record. If not, delete it in the target; then `chartlift reconcile`."},
	ledger.Different:   {"Different", "It arrived, and what the target now holds is not what was sent.", repairOther},
	ledger.Vanished:    {"Vanished", "An earlier run loaded it, and no record of the legacy export makes it any more. The target still holds it.", vanishedNext + " An allergy or a drug that was taken off must not stay."},
	ledger.Refused:     {"Refused", "The legacy record could not be turned into a resource, so it was not sent.", "Mend it as said for its reason, or accept in writing that it stays behind."},
	ledger.Rejected:    {"Rejected", "The target would not take it.", "Mend the cause, then `chartlift run --rejected`."},
	ledger.Orphan:      {"Orphan", "It refers to something that does not exist.", "Mend or load what it refers to."},
	ledger.Duplicate:   {"Duplicate", "There are two where there must be one.", "Find out which of them is right, and which has to go."},
	ledger.Rekeyed:     {"Rekeyed", "It vanished from the source, and a nearly equal resource of the same patient appeared: probably the same record under a corrected key. The target holds both.", "Confirm that they are the same. Then `vanished: mark` or `vanished: delete` in the plan takes the old one back in the next `chartlift run`."},
	ledger.EditedSince: {"Edited since", "Somebody changed it in the target after it was loaded. That edit was left alone.", "Nothing is wrong by itself: see whether the edit and the legacy record agree. No run overwrites it."},
}

// ExplainKind explains a kind of discrepancy.
func ExplainKind(kind ledger.Kind) Explanation {
	if e, ok := kinds[kind]; ok {
		return e
	}
	return Explanation{Title: string(kind), Meaning: "A kind of difference that this report has no words for."}
}

// domainTexts name the domains for readers, and say why an error in one of them matters.
var domainTexts = map[ledger.Domain]struct{ title, why string }{
	ledger.Allergies:     {"Allergies", "An allergy that is lost or altered can lead to a drug that harms."},
	ledger.Medications:   {"Medications", "A wrong or missing medication can lead to a wrong dose, an interaction, or a treatment that stops."},
	ledger.Identity:      {"Identity of patients", "An error in who the patient is can put one person's record in another's hands."},
	ledger.Problems:      {"Problems and diagnoses", "A diagnosis that is lost or altered misleads every later decision."},
	ledger.Immunizations: {"Immunizations", "A lost immunization can mean a dose given twice or not at all."},
	ledger.Results:       {"Results", "A lost or altered result can hide a course that matters."},
	ledger.Rest:          {"Everything else", "Encounters, procedures, devices, plans, organizations and what else was moved."},
}

// word is an entry of the glossary of the report's own words.
type word struct{ Word, Meaning string }

var words = []word{
	{"Record", "One row of one table of the legacy system."},
	{"Read = mapped + skipped + refused + other wave", "Every record that was read ended in exactly one of these four. If the two sides differ, the program made an error and says so."},
	{"Mapped", "Turned into one or more FHIR resources."},
	{"Skipped", "Left out by a rule that the mapping names."},
	{"Refused", "Could not be turned into a resource; the reason and the place are listed. Nothing of it was sent."},
	{"Other wave", "Belongs to patients who are moved at another time."},
	{"Resource", "A record in the form of the FHIR standard, as the new system keeps it."},
	{"Made", "Resources that the mapping wrote."},
	{"Loaded", "Written to the target in this run."},
	{"Unchanged", "Was in the target already, with the same content."},
	{"Not applied", "Counted as unchanged: the source says something new, and somebody has changed the resource in the target. Their edit stays."},
	{"Vanished", "An earlier run loaded it, and no record of the source makes it any more. It stands beside the sum of what was made."},
	{"Rekeyed", "Vanished, and nearly equal to a new resource of the same patient: probably the same record under a corrected key."},
	{"Merged", "Equal to another record with the same key, so one resource stands for both."},
	{"Rejected", "The target would not take it."},
	{"In doubt", "Sent, and the answer was lost: it may or may not be there. The next start looks first."},
	{"Held", "Not sent, because something it refers to is not there."},
	{"Pending", "Not sent yet. In a rehearsal nothing is sent, so everything is pending."},
	{"Matched", "Read back from the target and equal to what was sent, element by element."},
	{"Edited since", "Somebody changed it in the target after it was loaded. Nothing overwrites an edit."},
	{"Not compared", "Loaded, and not read back. It never counts as a match."},
	{"Finding, notice", "A remark that did not stop the record. A finding asks for a decision, a notice does not."},
	{"Gate", "A limit that was agreed before the run. One that is not met means: do not go live."},
	{"Place (table:line)", "Where a record stands in the export; the header is line 1. Records are named by place and by a pseudonym, never by a patient's data."},
}
