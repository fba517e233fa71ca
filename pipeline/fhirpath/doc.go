// Package fhirpath is an engine for FHIRPath 2.0 (hl7.org/fhirpath/N1) with FHIR R4's additions. It reads two kinds of
// things with one compiled form: resources, as trees of [fhir.Node], and records, as rows of text cells.
//
// [Compile] parses an expression, types it over an [Env] and turns it into closures; [Expr.Append] runs them. What the
// types prove while compiling is not asked again while evaluating: an expression that yields at most one value runs
// through closures that return that value, without slices and without allocation; constants are folded; names of
// columns become offsets and names of elements become members.
//
// Over a record a column is a String, or empty if its cell is blank. What FHIRPath would let through there in silence
// (a comparison with the empty text, a cell as a condition, an ordering between text and number, a blank under `=`) is a fault or
// a finding of [Compile] (Env.Record).
//
// What memberOf(), subsumes() and subsumedBy() know of value sets and code systems comes from Env.Terminology. A question
// that the definitions at hand cannot decide has an empty result, not false.
//
// A formula over a record asks mostly for the text of a cell or whether something holds; such code has a short form
// that takes the row and passes no Value ([Expr.AppendRow]). A Value is four words, so that Go keeps it in registers.
//
// Beyond 2.0 there are the functions of the continuous build that HL7's tests of R4 or everyday work ask for: sort with
// asc and desc, coalesce, repeatAll, matchesFull and flags of regular expressions, trim, split, join, encode, decode,
// escape, unescape, toChars, lastIndexOf, boundaries, precision, comparable, sum, min, max, avg, yearOf and its
// like, duration, difference, defineVariable. Not there: Long, instance selectors, pathname, toDate with a format, and of R4's own
// elementDefinition and slice.
//
// Values made while evaluating live in the [Context] and are dead after [Context.Reset]. Errors while evaluating are
// of type [*Error]: a reason code and the place in the expression, never a value.
package fhirpath
