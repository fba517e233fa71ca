package sqldump

import (
	"bytes"
	"fmt"
)

// origin is a tool that shows in the first lines of a dump that it wrote it, and in the last that it came to the end.
type origin struct {
	tool    string
	dialect dialect
	headers []string
	trailer string // "" if another sign tells the end
}

// Headers of PostgreSQL go to the end of their line, since the trailer begins like them.
var origins = []origin{
	{"mysqldump", mysql, []string{"-- MySQL dump ", "-- MariaDB dump "}, "-- Dump completed"},
	{"pg_dump", postgres, []string{"-- PostgreSQL database dump\n", "-- PostgreSQL database dump\r"}, "-- PostgreSQL database dump complete"},
	{"pg_dumpall", postgres, []string{"-- PostgreSQL database cluster dump\n", "-- PostgreSQL database cluster dump\r"}, "-- PostgreSQL database cluster dump complete"},
	{"sqlite3", sqlite, []string{"PRAGMA foreign_keys=OFF;"}, ""},
}

// originOf finds the tool by how a file begins; nil if none of them is named there.
func originOf(start []byte) *origin {
	for i := range origins {
		for _, header := range origins[i].headers {
			if bytes.Contains(start, []byte(header)) {
				return &origins[i]
			}
		}
	}
	return nil
}

// beginning is the file of a dump whose end was not seen yet: the last statement may be whole although the dump is not.
type beginning struct {
	*origin
	file string
	line int64 // its last one
}

// judgeOrigin holds what a file says about itself against the plan. A file of another product is refused, since much of
// it would pass for what it is not: a backslash, a quote, COPY. What else was said of it, from the fault with the number
// before on, follows from that. People cut the files of pg_dump into schema and data, so the trailer may stand in a later
// file.
func (p *plan) judgeOrigin(d dialect, shown string, start, end []byte, line int64, before int) {
	if o := originOf(start); o != nil {
		if o.dialect != d {
			p.faults = p.faults[:before]
			p.fault(fmt.Errorf("%s:1: the file was written by %s: write `dialect: %s`", shown, o.tool, dialectNames[o.dialect]))
			return
		}
		p.judgeEnd()
		p.begun = &beginning{o, shown, line}
	}
	if p.begun != nil && bytes.Contains(end, []byte(p.begun.trailer)) {
		p.begun = nil
	}
}

// judgeEnd refuses a dump that has begun and not ended.
func (p *plan) judgeEnd() {
	if b := p.begun; b != nil {
		p.fault(fmt.Errorf("%s:%d: the file begins as %s does, but lacks its last line, `%s`: it is not whole", b.file, b.line, b.tool, b.trailer))
	}
	p.begun = nil
}
