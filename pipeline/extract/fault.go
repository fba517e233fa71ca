package extract

// Fault is a malformed record: it is refused, counted, and the stream goes on with the next record. It never holds
// text of the record.
type Fault struct {
	Place
	Ordinal int64  `json:"ordinal"`          // the record's number in its table, as in Record
	Column  string `json:"column,omitempty"` // the column in which the fault lies, if it lies in one
	Rule    string `json:"rule"`             // one of the Rule constants
}

// Rules by which a record is refused while it is read. They are reason codes: they appear in reports and in the sums
// of a run and do not change their spelling.
const (
	// RuleRaggedRow: the row has more or fewer cells than the header has columns.
	RuleRaggedRow = "ragged-row"
	// RuleBareQuote: a quote inside a field that did not begin with one. RFC 4180, section 2.5.
	RuleBareQuote = "bare-quote"
	// RuleQuoteAfterBlank: a quote after blanks at the start of a field, so the field counts as unquoted.
	// RFC 4180, section 2.4: spaces are part of a field.
	RuleQuoteAfterBlank = "quote-after-blank"
	// RuleTextAfterQuote: text between the closing quote of a field and the next delimiter. RFC 4180, section 2.7:
	// a quote inside a quoted field is doubled.
	RuleTextAfterQuote = "text-after-quote"
	// RuleUnterminatedQuote: a quote opens on the first line of the record and no later line closes it properly.
	RuleUnterminatedQuote = "unterminated-quote"
	// RuleNULByte: the record contains a NUL, which no legacy text column can hold and FHIR forbids in strings.
	RuleNULByte = "nul-byte"
	// RuleInvalidEncoding: bytes that mean nothing in the declared encoding. They are never replaced.
	RuleInvalidEncoding = "invalid-encoding"
	// RuleFieldTooLong: a field is longer than the source's cap.
	RuleFieldTooLong = "field-too-long"
	// RuleRecordTooLong: the record is longer than the source's cap.
	RuleRecordTooLong = "record-too-long"
	// RuleTooManyColumns: the row has more cells than the source's cap on columns.
	RuleTooManyColumns = "too-many-columns"
	// RuleExpression: a value in a SQL dump is not a literal but something a database would have to evaluate.
	RuleExpression = "sql-expression"
	// RuleStatement: a statement of a SQL dump adds rows that are not written in it, or only under a condition.
	RuleStatement = "sql-statement"
	// RuleTruncated: a SQL dump ends, or a statement of it, in the middle of a record or before the next.
	RuleTruncated = "sql-truncated"
	// RuleBytesInText: a value of bytes in a column that is declared to hold something else. Whether the bytes are text,
	// and in which encoding, is not guessed.
	RuleBytesInText = "bytes-in-text"
	// RuleUnknownEscape: an escape before a character that needs none. Writers differ on what that means (`\n` is a
	// line end to some and the letter to others), so it is not guessed.
	RuleUnknownEscape = "unknown-escape"
	// RuleShortLine: a line of fixed width ends before its last column does.
	RuleShortLine = "short-line"
	// RuleLongLine: a line of fixed width goes on behind its last column.
	RuleLongLine = "long-line"
	// RuleTextBetweenColumns: a line of fixed width holds text at a place that belongs to no column.
	RuleTextBetweenColumns = "text-between-columns"
)

// Error is the place, the column and the rule, never the text.
func (f *Fault) Error() string {
	if f.Column == "" {
		return f.Place.String() + ": malformed record: " + f.Rule
	}
	return f.Place.String() + ": malformed record: " + f.Rule + " in column " + f.Column
}
