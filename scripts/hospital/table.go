package main

import (
	"strings"
)

// table is one CSV file in the making. It knows the physical line of each record, which is how faults are named.
type table struct {
	name    string
	columns []string
	text    strings.Builder
	line    int // the line on which the next record starts
	rows    int
}

func newTable(name, columns string) *table {
	t := &table{name: name, columns: strings.Split(columns, ","), line: 1}
	t.write(columns + "\n")
	return t
}

func (t *table) write(s string) {
	t.text.WriteString(s)
	t.line += strings.Count(s, "\n")
}

// add appends a record and answers the line on which it starts. Cells that need it are quoted. There must be as many as
// there are columns; a ragged row is planted with addRaw, and a test counts the others.
func (t *table) add(cells ...string) int {
	quoted := make([]string, len(cells))
	for i, c := range cells {
		if strings.ContainsAny(c, ",\"\n") {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		quoted[i] = c
	}
	return t.addRaw(strings.Join(quoted, ","))
}

// addRaw appends a record as it is, however broken.
func (t *table) addRaw(record string) int {
	line := t.line
	t.rows++
	t.write(record + "\n")
	return line
}

func (t *table) bytes() []byte { return []byte(t.text.String()) }

// dice is SplitMix64 (Steele, Lea and Flood, 2014). The standard library's generators may draw differently in a later
// version of Go; a fixture must not.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// upTo answers a number from 0 to n-1.
func (d *dice) upTo(n int) int { return int(d.next() % uint64(n)) }

// between answers a number from lo to hi, both included.
func (d *dice) between(lo, hi int) int { return lo + d.upTo(hi-lo+1) }

// chance is true in so many of a hundred cases.
func (d *dice) chance(percent int) bool { return d.upTo(100) < percent }

func pick[T any](d *dice, from []T) T { return from[d.upTo(len(from))] }
