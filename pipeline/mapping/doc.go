// Package mapping turns the records of legacy tables into FHIR R4 resources, as mapping files say. It reads the files
// ([Read]), checks everything about them before a row is read ([Compile]), runs them ([Worker]), and runs the cases that
// analysts write beside them ([RunCases]).
//
// # The language
//
// A pack is a folder: NAME.yaml is a mapping, NAME.cases.yaml holds its cases, maps/NAME.csv or maps/NAME.json is
// the concept map NAME. What mappings share lies in pack.yaml and fragments/NAME.yaml, see below. `chartlift schema`
// writes schemas with which an editor completes and checks these files. One mapping file says how the records of one
// table become resources of one type:
//
//	name: condition               # default: the file's name without .yaml
//	from: conditions              # the table; `source/table` where two sources have a table of that name
//	to: Condition                 # the R4 type
//	profile: http://…             # one URL or formula, or a list of them; written to meta.profile
//	ids: condition                # the id space; default: source and table
//	key: [PATIENT, CODE, START]   # columns that identify the record
//	duplicates: refuse            # a second record with the same key: refuse | merge | number
//	optional: [SYSTEM]            # columns that some exports lack; they are blank then
//	rename: {DATE: START}         # a table without START has its column DATE called START
//	constants: {limit: = 5}       # values that formulas use as %limit, see below
//	patient: = ref('patient', PATIENT)     # or `self` (only to: Patient), or `none` (shared resources)
//	references: refuse            # ref() to what was never made: refuse (default) | drop; or a map by element path:
//	                              #   {encounter: drop, participant.individual: drop} (without list indexes; a
//	                              #   record whose required reference leads nowhere is refused all the same)
//	with: {notes: {table: visit_notes, on: {visit: ID}}}   # rows of other tables as children, see below
//	group by: [PATIENT, DATE]     # one resource for each group of records, see below
//	forEach: = A | B              # several resources from a record, see below
//	skip:   {name: = formula, …}  # tried in this order: skip, refuse, patient, resource, find. Only `true` acts;
//	refuse: {name: = formula, …}  # false and empty do nothing. The name is what reports show
//	find:   {name: = formula, …}
//	resource: {…}                 # the template: the shape of the FHIR resource
//	unused: {COLUMN: reason, …}   # columns left behind on purpose
//	allow empty: {PATH: reason, …} # formulas (by element path in the template, without list indexes, such as
//	                              # valueQuantity or name.given) that may read something and write nothing
//
// Unknown and duplicate keys, YAML aliases, anchors and tags are faults. Names of rules and reasons are free text.
//
// # Templates
//
// The template has the shape of the resource's JSON. A scalar that begins with `=` is a formula; `==x` is the
// literal `=x`; every other scalar is a literal, taken from its source text by the element's type, so 007, no and
// 1.50 stay what they are, and a boolean element takes only true or false. Write `valueQuantity`, `onsetDateTime`
// and so on for choices; several variants of one choice may stand in a template, but a record that fills two is
// refused (`several-choices`). `_birthDate: {extension: […]}` are the id and extensions of a primitive (not of one
// that repeats). An entry of `contained:` names its type with `resourceType:` and has an `id:`. `id`,
// `resourceType`, meta.profile, meta.tag, meta.versionId and meta.lastUpdated are written by Chartlift and may not
// stand in a template.
//
// A literal without quotes that is the name of a column, or looks like a call, is a finding: most likely its `=` is
// missing. In quotes it is meant as it stands.
//
// An element that repeats takes a list, or a formula or an object alone, which is then the only entry of the list
// (`category: {coding: …}` is category: [{coding: …}]); a formula may give several values, each becomes an entry. A
// list entry of the form
//
//   - forEach: = rows.where(CODE = '8480-6')
//     code: = CODE.coding('http://loinc.org').concept()
//
// becomes one entry for each item of the collection. In its formulas a name is looked for in the item first (a column,
// if the item is a row), then among the columns of the record; $this is the item. For entries that are primitives write
// {forEach: = …, value: = …}.
//
// # Fragments
//
// What several mappings of a pack have in common stands once in fragments/NAME.yaml: what it takes and what it gives.
//
//	# fragments/us-address.yaml
//	takes:
//	  street:                       # must be filled
//	  city:
//	  use: home                     # stands there if nobody fills it
//	gives:
//	  use: = %use
//	  line: = %street
//	  text: = %street & ', ' & %city
//
// A mapping includes it wherever an object stands: in the template, in an entry of a list, in skip, refuse, find,
// unused and the other keys that hold names, and at the top (then it gives keys of the mapping):
//
//	address:
//	  - include: {us-address: {street: = ADDRESS1, city: = CITY}}
//	    country: US
//	skip:
//	  include: test-patients        # one that takes nothing; [one, another] are several
//	  no visit: = VISIT.empty()
//
// It is as if the fragment were written there. An own key beside `include:` wins, whole; two fragments that give one
// key are a fault. An object that is nothing but `include:` may become anything that a fragment gives: a formula, a
// list; as an entry of a list, a list becomes entries. `takes: [street, city]` are holes that must be filled. A value
// that is nothing but a hole becomes what fills it: a formula, a literal, an object, a list. Inside a formula a hole is
// replaced by the formula that fills it, as if in parentheses, or by the text; the names in it are looked for where the
// hole stands, so within where() among the columns of its rows (%record.NAME is always the record's). Fragments include
// others, not in a circle and at most 16 deep, and only those of their own pack.
//
// A fault in a fragment names the fragment's line and, as `included in`, the mapping's; the columns are those of each
// table that uses it. A fragment that nobody includes is a notice.
//
// # Constants and defaults
//
// pack.yaml holds what all mappings of the pack have in common:
//
//	constants:
//	  mrn_system: https://riverside.example/mrn
//	  inpatient: [IP, ICU]          # several values: CLASS in %inpatient
//	  cutover: = @2026-06-01        # a formula that reads no record; it may use the constants above it
//	defaults:
//	  duplicates: number            # for mappings without duplicates:
//	  references: drop              # for mappings without references:
//	  patient: = ref('patient', PATIENT)   # for mappings without patient:, but those that make Patient
//	  profile: {Patient: http://…}  # for mappings without profile:, by the type they make
//	  optional: [SITE]              # added to the mapping's own
//	  unused: {ROW_ID: a surrogate} # added to the mapping's own, wherever the column is not read
//	  meta: {source: urn:riverside} # elements of meta that the template does not have
//
// The mapping's own key wins over a default. A constant is a String, or what its formula gives; formulas use it as
// %mrn_system, so does `eval` and a wave of the plan, and all that is built of constants alone is computed while
// compiling. A mapping's own `constants:` win over those of its pack, and the plan's `constants:` (of the same kind)
// stand in place of the pack's. %sct, %loinc, %ucum and %`vs-…` are there without being said. A constant that no formula
// uses is a notice.
//
// # Empty
//
// A cell of white space, or one of the source's `blank:` texts, is an empty collection. An object or list entry that
// has formulas, all of which (at any depth) are empty, is left out with its literals; one without any formula is
// always written. A required element (minimum 1) missing from an object that is written is the refusal
// `required-empty`. A formula whose columns hold something but which writes nothing is counted, and is a finding
// unless `allow empty` gives a reason.
//
// # Formulas
//
// A formula is FHIRPath (package fhirpath) over the record: an identifier is a column first, odd names stand in
// backticks, a cell is a String. Its result must fit the element: text for string, code, uri, id, …; Boolean for
// boolean; Integer for the integer types; Integer or Decimal for decimal; Date for date; Date or DateTime for
// dateTime; the datatype itself for elements of a datatype. A formula that holds `: ` or ` #`, or stands inside {}
// or [] and holds a comma or bracket, must be quoted.
//
// `refuse: {no code: = CODE.empty()}`, or the same under `skip:`, tells the compiler that CODE is not blank in all
// formulas but those rules, so that CODE = 'x' needs no care about blanks.
//
// Functions beyond FHIRPath. An empty input gives an empty result.
//
//	date(layout…)         String → Date. Without a layout: yyyy, yyyy-MM, yyyy-MM-dd, or the date of an ISO date-time as
//	                      it is written there (a date has no zone). Also DateTime → Date: the date as written. Partial stays partial
//	dateTime(layout…)     String → DateTime; as an ISO text may also be a Date: partial stays partial. A layout may be followed by
//	                      zones: UTC, or a name such as America/Chicago
//	decimal()             String → Decimal: -?digits[.digits][e±digits], nothing else; zeros at the end are kept
//	integer()             String → Integer: -?digits
//	quantity(unit?, to?)  String or Decimal → Quantity; <, <=, >, >= before the number become the comparator. The unit is
//	                      a UCUM code with system if the concept map `units` of the pack gives one for it (target system
//	                      http://unitsofmeasure.org), else text only; {text} in braces and 1 are not exceptions. With `to`, a
//	                      constant UCUM code, the value is converted to that unit, see below
//	coding(system, display?)   String → Coding
//	concept(text?)        Coding (several: all of them) → CodeableConcept; of a String: a CodeableConcept with text only
//	translate(map)        String → String: the one target code in the concept map
//	translated(map, display?)  String → CodeableConcept: the source's coding (if the map has `# system:`) with display, then
//	                      the targets; text is display. See below for codes that the map does not know
//	ref(mapping, key…)    → Reference to the resource that the mapping makes of the record with this key, in the key's
//	                      order (plus the forEach key). All parts blank: empty; some blank: they are part of the key as
//	                      in the record's own. Under `duplicates: number` the first of equal keys is meant
//	identifier(system)    String → Identifier
//	lookup(table, column, value, …)   rows of another table, see below
//
// Layouts are written as people write them: yyyy yy MM M dd d HH H hh h mm m ss s S (fraction, one to nine digits) a
// (AM, PM) MMM (Jan) MMMM (January) EEE EEEE (weekday, checked) XXX (zone as Z or +01:00) XX (+0100), 'text' in
// quotes; other letters are faults. The pattern letters that are repeated ask for exactly that many digits, single
// ones for one or two. yy is 1930 to 2029. If two layouts of one call read a text as different dates it is refused
// (`ambiguous-date`). A layout of less than a date gives a partial date. A time without a zone has the zone of the
// call, else the source's timezone, else is refused (`no-zone`); a local time that a clock change left out or
// doubled is refused (`nonexistent-time`, `ambiguous-time`).
//
// # Codes that a concept map does not know
//
// The map says in its header `# unknown: refuse` (default; the record is refused with `unmapped-code`), `text`
// (translated gives a CodeableConcept with text only, translate is empty) or `keep` (the source's own coding or
// code). Each is counted by map and value; with text and keep the record also gets the finding `unmapped-code`. A unit
// that the map `units` does not know is counted too, and stays text whatever the map says. `terminology unmapped` lists
// what was counted, and writes it ready to be filled in.
//
// A code with several targets: translate refuses it (`several-targets`), translated writes all if each of them holds, and
// does as the map's `# alternatives:` says if they are a choice. A code whose target asserts more than the source did is
// the finding, or under `# narrower: refuse` the refusal, `narrower-code`. `chartlift help concept-maps` has the rules.
//
// # Units that are wanted
//
// DOSE.quantity(UNIT, 'mg') converts to the unit by UCUM's own definitions, exactly, and then rounds: to as many significant
// digits as the source wrote, and to more only where rounding would change the value by more than half a percent (1 day
// is 24 h, 150 pounds are 68.0 kg, 98.6 °F are 37.0 °C). Powers of ten keep every digit. What cannot be converted is the
// refusal `unconvertible-unit`: a unit that nobody knows, another dimension, a mass against an amount of substance (only
// the molar mass relates mg/dL to mmol/L), equivalents against moles, an arbitrary unit such as [iU], a logarithmic one
// such as [pH], another annotation ({tbl} is not {capsule}). To keep the value as it was, write it beside the other:
//
//	valueQuantity:
//	  extension:
//	    - url: http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation
//	      valueQuantity: = VALUE.quantity(UNIT)
//	  value: = VALUE.quantity(UNIT, 'mmol/L').value
//	  unit: mmol/L
//	  system: http://unitsofmeasure.org
//	  code: mmol/L
//
// # Groups
//
// With `group by: [COLUMNS]`, `skip:` is asked of each record before grouping, with all columns of the table; everything
// else sees the group: the group's columns as columns, and the records as the collection `rows` in source order
// (rows.where(CODE = '8462-4').VALUE). `key:` defaults to the group's columns and may only name those.
//
// # Other tables
//
// `with:` gives each record the rows of another table as a collection, in source order:
//
//	with:
//	  notes: {table: visit_notes, on: {visit: ID, patient: PATIENT}, orphans: notes of visits before 2010}
//
// `on:` names the columns of the child and, for each, the column of the record (of the group, under `group by`) that it
// must equal, character by character; keys that are blank as a whole join nothing. In formulas the collection goes by
// its name: notes.where(kind = 'public').text, or forEach: = notes. `skip:` is asked before the rows are joined. Rows
// that join nothing are counted (those of a table that is only looked up are `looked-up`), and each is the finding
// `never-joined` unless `orphans:` gives a reason.
//
// lookup(table, column, value) returns the rows of a table that have the value in the column, for code lists and
// dictionaries: lookup('concept', 'concept_id', GENDER).concept_name. Where several columns decide, write them on:
// lookup('list_options', 'list_id', 'sex', 'option_id', SEX).title. Nothing found is empty; several rows where one value
// is wanted are refused, since none is picked in silence. A blank value finds nothing.
//
// The source row that is sealed with a resource holds the joined rows under their name, and under `lookup()` those that
// its formulas found, by table: all that the resource was made of.
//
// Both read the table as it is, without the renaming of its own mapping; a name in a formula over such a row is looked
// for in the row first, then among the columns of the record. Columns left behind on purpose are listed under `unused:`
// as table.column, or table.* for all the rest of a table.
//
// # Several resources from a record
//
// `forEach: = formula` at the top makes one resource for each item; names resolve as in lists. `forEach key: = formula`
// (one value, over the item) is added to the id; without it the item's own text is the key, so items that are rows
// need one. Two items with one key are refused (`duplicate-item`). No item: the record is mapped, to nothing.
//
// # Several mappings of a table
//
// They may make different types. Two that make the same type need different `ids:` if they make different resources of
// one key, or the same `ids:` and key if they agree on purpose.
//
// # Circles
//
// Resources are loaded in the order of their references, which `check` shows as levels. Where mappings refer to each
// other in a circle, or one to itself (Organization.partOf), there is no such order, and `check` names the circle. The
// references that mean the fewest elements are then late: what has one is first written without it, if the target does
// not have it yet, and written whole when the targets are there. A reference can be late if it, or something around it,
// may be left out by R4; a circle of references that are all required is a fault.
//
// # Cases
//
// NAME.cases.yaml is a list:
//
//   - name: resolved
//     record: {PATIENT: p1, CODE: 38341003, START: 2020-01-01}   # cells are source texts; columns not named are blank
//     want:                            # the resources, compared as canonical JSON without id, meta and resourceType
//   - clinicalStatus: {coding: [{system: …, code: resolved}]}
//     subject: ref:patient(p1)     # a Reference: ref:MAPPING(KEY,KEY…); a part that holds , or ) stands in ”
//   - name: no code
//     record: {PATIENT: p1}
//     refused: no code                 # a rule of `refuse:` or a Code of this package
//   - name: billing
//     record: {…}
//     skipped: billing noise           # a rule of `skip:`
//
// `rows: [{…}, {…}]` instead of `record:` gives the records of a group. `tables: {visit_notes: [{visit: v1, text: x}]}`
// gives the rows of the tables of `with:` and lookup(). `findings: [name, …]` are the findings
// wanted; a case without it does not look at findings. `with meta: true` compares meta too (its tag, and the id,
// only if the case names them). Scalars of `want` are taken by the element's type, as in templates. `zone:
// America/Chicago` is the zone of the source for that case. One of want, refused and skipped must be there; `want:
// []` is a record that makes nothing. `chartlift test --update` writes what a mapping makes now into cases that fail, and
// gives one to a case that has none yet.
//
// Constants have the values of the pack in cases, not those of a plan.
//
// # In an editor
//
// `chartlift schema > mapping.schema.json` writes a JSON Schema of mapping files, which knows every element, choice and
// required code of the type in `to:`; `chartlift schema cases`, pack, fragment and plan those of the others. An editor
// with the YAML language server reads it by the first line of a file:
//
//	# yaml-language-server: $schema=../mapping.schema.json
//
// # Outcomes
//
// Every record has exactly one [Result]: mapped, skipped (by the name of a rule) or refused (by the name of a rule,
// or by a [Code]). The codes and findings are fixed lists. No message, result or counter holds a cell's text.
package mapping
