package sqldump

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// form is how cells of a column are written. It is finer than an extract.Kind: two columns of one kind may come from
// different literals.
type form uint8

const (
	asFound form = iota // the dump does not say what the column is
	asText
	asInteger
	asDecimal
	asBoolean
	asDate
	asDateTime
	asInstant // of the session's zone, if the literal has none: TIMESTAMP of MySQL, which dumps write in it
	asTime
	asBytes
	asHexBytes // strings in it are hexadecimal digits: RAW of Oracle
	asUUID
)

var kinds = [...]extract.Kind{
	asFound: extract.Unknown, asText: extract.Text, asInteger: extract.Integer, asDecimal: extract.Decimal,
	asBoolean: extract.Boolean, asDate: extract.Date, asDateTime: extract.DateTime, asInstant: extract.DateTime,
	asTime: extract.Time, asBytes: extract.Bytes, asHexBytes: extract.Bytes, asUUID: extract.Text,
}

// column is one column of a table.
type column struct {
	name      string
	form      form
	generated bool // computed by the database: its values are not in the dump
}

// columnType is a type as it is declared: its words in upper case (`TIMESTAMP WITH TIME ZONE`), and the numbers or
// words in parentheses behind it.
type columnType struct {
	words []string
	args  []string
	array bool
}

// form says how cells of the type are written. A type that is not known (a domain, an enumeration, one of an
// extension) is text: so every database writes it.
func (t columnType) form(d dialect) form {
	if len(t.words) == 0 {
		return asFound // SQLite allows it
	}
	first := t.words[0]
	has := func(word string) bool {
		for _, w := range t.words {
			if w == word {
				return true
			}
		}
		return false
	}
	if t.array {
		return asText
	}
	switch d {
	case mysql:
		switch first {
		case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "INTEGER", "BIGINT", "YEAR", "SERIAL", "BOOL", "BOOLEAN", "INT1",
			"INT2", "INT3", "INT4", "INT8", "MIDDLEINT":
			return asInteger
		case "DECIMAL", "DEC", "NUMERIC", "FIXED", "FLOAT", "DOUBLE", "REAL", "FLOAT4", "FLOAT8":
			return asDecimal
		case "BIT":
			if len(t.args) == 0 || t.args[0] == "1" {
				return asBoolean
			}
			return asInteger
		case "DATE":
			return asDate
		case "DATETIME":
			return asDateTime
		case "TIMESTAMP":
			return asInstant
		case "TIME":
			return asTime
		case "BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "GEOMETRY", "POINT", "LINESTRING",
			"POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION", "GEOMCOLLECTION", "VECTOR":
			return asBytes
		case "CHAR", "CHARACTER":
			if has("BYTE") || has("VARBINARY") {
				return asBytes
			}
		}
	case postgres:
		switch first {
		case "SMALLINT", "INTEGER", "INT", "BIGINT", "INT2", "INT4", "INT8", "SMALLSERIAL", "SERIAL", "BIGSERIAL",
			"SERIAL2", "SERIAL4", "SERIAL8", "OID":
			return asInteger
		case "NUMERIC", "DECIMAL", "REAL", "DOUBLE", "FLOAT", "FLOAT4", "FLOAT8":
			return asDecimal
		case "BOOLEAN", "BOOL":
			return asBoolean
		case "DATE":
			return asDate
		case "TIMESTAMP":
			if has("WITH") {
				return asInstant
			}
			return asDateTime
		case "TIMESTAMPTZ":
			return asInstant
		case "TIME":
			if !has("WITH") {
				return asTime
			}
		case "BYTEA":
			return asBytes
		case "UUID":
			return asUUID
		}
	case sqlserver:
		switch first {
		case "TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT":
			return asInteger
		case "DECIMAL", "DEC", "NUMERIC", "MONEY", "SMALLMONEY", "FLOAT", "REAL", "DOUBLE":
			return asDecimal
		case "BIT":
			return asBoolean
		case "DATE":
			return asDate
		case "DATETIME", "DATETIME2", "SMALLDATETIME":
			return asDateTime
		case "DATETIMEOFFSET":
			return asInstant
		case "TIME":
			return asTime
		case "BINARY", "VARBINARY", "IMAGE", "TIMESTAMP", "ROWVERSION", "GEOMETRY", "GEOGRAPHY", "HIERARCHYID":
			return asBytes
		case "UNIQUEIDENTIFIER":
			return asUUID
		}
	case oracle:
		switch first {
		case "NUMBER":
			if len(t.args) == 0 || t.args[0] == "*" && len(t.args) == 1 || len(t.args) > 1 && t.args[1] != "0" {
				return asDecimal
			}
			return asInteger
		case "INTEGER", "INT", "SMALLINT":
			return asInteger
		case "FLOAT", "BINARY_FLOAT", "BINARY_DOUBLE", "DECIMAL", "NUMERIC", "REAL", "DOUBLE":
			return asDecimal
		case "DATE":
			return asDateTime
		case "TIMESTAMP":
			if has("WITH") {
				return asInstant
			}
			return asDateTime
		case "RAW", "BLOB":
			return asHexBytes
		case "LONG":
			if has("RAW") {
				return asHexBytes
			}
		}
	case sqlite:
		return affinity(strings.Join(t.words, " "))
	}
	return asText
}

// affinity is what a declared type means to SQLite ("Datatypes In SQLite", section 3.1), and to those who wrote it.
func affinity(declared string) form {
	switch declared {
	case "DATE":
		return asDate
	case "DATETIME", "TIMESTAMP":
		return asDateTime
	case "TIME":
		return asTime
	case "BOOLEAN", "BOOL":
		return asBoolean
	}
	for _, c := range []struct {
		part string
		form form
	}{{"INT", asInteger}, {"CHAR", asText}, {"CLOB", asText}, {"TEXT", asText}, {"BLOB", asBytes}, {"REAL", asDecimal},
		{"FLOA", asDecimal}, {"DOUB", asDecimal}, {"NUM", asDecimal}, {"DEC", asDecimal}} {
		if strings.Contains(declared, c.part) {
			return c.form
		}
	}
	return asText
}
