// Package extract reads the legacy system: tables, and their records as text, exactly as found, each with its place.
//
// Nothing is interpreted here. A cell is a string (of typed sources in the form that Kind describes); what it means (a date, a number, nothing at all) is for the mapping
// to say. What extract does decide is whether a record can be read at all: a record that is malformed in its own
// format (a row with too many cells, a quote that never closes) is returned as a Fault, which has a place and a rule
// and no text, and the stream goes on with the next record. So for every table
//
//	accepted + refused = records
//
// whatever is in it. Below this package lies one package per kind of source; each passes the contract suite of
// extracttest.
package extract

import (
	"context"
	"iter"
	"strconv"
)

// Source is one configured source of the plan: a folder of CSV files, a workbook, a dump, a database.
//
// The contract of every implementation, checked by extracttest.Run:
//
//   - All methods may be called concurrently, and any number of Reads may be under way at once.
//   - Tables lists the tables in a stable order, sorted by name. It reports everything that is wrong with the names of
//     files, tables and columns in one error, so that they can be mended in one go.
//   - Shards splits a table into pieces that together hold each record once. It splits by size and by what the source
//     holds, never by the number of workers, so the same source gives the same shards on any machine. Shard n ends
//     where shard n+1 begins. An empty table has one shard.
//   - Read yields the records of one shard in the source's order, each either as a *Record or, malformed, as a *Fault
//     in the place of the error. Reading the shards one after the other yields the same records, faults, lines and
//     ordinals as reading the whole table in one piece.
//   - A *Fault does not end the stream. Any other error does: it is yielded once, with a nil record, as the last pair.
//     Then the shard was not read, whatever was yielded before, and must be read again from its start. errors.As with
//     a *Fault tells the two apart.
//   - The *Record and the strings in it are valid until the loop asks for the next one. Who keeps a cell longer clones
//     it (strings.Clone).
//   - When ctx is done the stream ends with an error that wraps ctx.Err(), at once before the first record and
//     otherwise within the next few hundred kilobytes. Breaking out of the loop releases what the Read holds.
//   - done, if not nil, is filled when the stream has come to its regular end, faults included, and stays zero when it
//     was broken off or failed. A Digest belongs to one Read.
//   - No error and no Fault contains the text of a cell. Names of tables, columns and files are not cells.
type Source interface {
	Tables(ctx context.Context) ([]*Table, error)
	Shards(ctx context.Context, t *Table) ([]Shard, error)
	Read(ctx context.Context, s Shard, done *Digest) iter.Seq2[*Record, error]
}

// Table is one table of a source. It is immutable once Tables has returned it.
type Table struct {
	Source  string   `json:"source"`          // the source's name in the plan
	Name    string   `json:"name"`            // as mappings name it
	File    string   `json:"file,omitempty"`  // as the plan names it, if the table lies in one file
	Columns []string `json:"columns"`         // as found; none blank, none twice
	Kinds   []Kind   `json:"kinds,omitempty"` // of each column, if the source says; nil if it says of none
}

// Column is the index of the column of that name, or -1. Names match exactly.
func (t *Table) Column(name string) int {
	for i, c := range t.Columns {
		if c == name {
			return i
		}
	}
	return -1
}

// Record is one row of a table. It and its cells are valid until the next record is read.
type Record struct {
	Table   *Table
	Cells   []string // as found, one per column
	Line    int64    // the physical line (row, tuple) on which the record starts; the first line of a file is 1
	Ordinal int64    // the record's number in its table, from 1, refused records counted
	Bytes   int      // its length in the source, line end included
}

// Place says where the record was found.
func (r *Record) Place() Place {
	return Place{Table: r.Table.Name, Line: r.Line, File: r.Table.File}
}

// Place is where something was found. It holds no patient data and may be printed.
type Place struct {
	Table string `json:"table"`
	Line  int64  `json:"line"` // physical line on which the record starts, the first line of the file is 1
	File  string `json:"file,omitempty"`
}

// String is `table:line`, the form in which people and commands name a record.
func (p Place) String() string {
	return p.Table + ":" + strconv.FormatInt(p.Line, 10)
}

// Shard is a piece of a table: the unit of extraction. It survives a round trip through JSON.
type Shard struct {
	Table        *Table `json:"table"`
	Index        int    `json:"index"`        // from 0
	Position     string `json:"position"`     // what the source needs to find the piece; opaque to everyone else
	Bytes        int64  `json:"bytes"`        // about how much there is to read, for progress; 0 if unknown
	FirstLine    int64  `json:"firstLine"`    // physical line at which the shard starts
	FirstOrdinal int64  `json:"firstOrdinal"` // ordinal that its first record has
}

// Digest identifies what one Read has read.
type Digest struct {
	Sum      [32]byte // SHA-256 of the bytes of the shard as read, after decompression and before decoding of characters
	Bytes    int64    // how many bytes that were
	Records  int64    // records yielded, faults included
	Complete bool     // the stream came to its regular end; otherwise everything else is zero
}
