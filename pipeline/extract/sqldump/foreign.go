package sqldump

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// headSize is how much of a file is looked at to tell what it is.
const headSize = 1 << 10

// foreigners are files that pass for dumps by their name, how they begin, and what makes a dump of them.
var foreigners = []struct {
	at   int
	mark string
	what string
}{
	{0, "PGDMP", "an archive of pg_dump (custom format), not text: make a dump of it with `pg_restore -f dump.sql FILE`"},
	{0, "SQLite format 3\x00", "a database of SQLite, not a dump: name it under `sqlite:` instead, or write `sqlite3 FILE .dump > dump.sql`"},
	{0, "TAPE", "a backup of SQL Server, not a script: restore it (RESTORE DATABASE) and name the database, or let Management Studio generate a script of schema and data"},
	{0, "XBSTCK", "a stream of xtrabackup or mariabackup: restore it (`mbstream -x`, `mariabackup --prepare`) and write `mariadb-dump DATABASE > dump.sql`"},
	{0, "MDMP", "a memory dump, not a dump of a database"},
	{0, "\x03\x03", "an export of Oracle (exp), not a script: import it (imp) and export it as INSERTs"},
	{1, "EXPORT:V", "an export of Oracle (exp), not a script: import it (imp) and let SQL Developer export it as INSERTs"},
	{3, "EXPORT:V", "an export of Oracle (exp), not a script: import it (imp) and let SQL Developer export it as INSERTs"},
	{0, "\x1f\x8b", "packed (gzip): give it the ending .gz"},
	{0, "\x28\xb5\x2f\xfd", "packed (zstd): give it the ending .zst"},
	{0, "PK\x03\x04", "a zip archive: unpack it"},
	{0, "BZh", "packed (bzip2): unpack it"},
	{0, "\xfd7zXZ", "packed (xz): unpack it"},
	{0, "7z\xbc\xaf", "a 7z archive: unpack it"},
	{0, "%PDF-", "a PDF, not a dump"},
	{0, "\x00\x01\x00\x00Standard ", "a database of Access, not a dump: export its tables as CSV"},
	{0, "\xd0\xcf\x11\xe0", "a document of an Office program, not a dump"},
}

// foreign says what a file is that is no dump; "" if that does not show in its first bytes.
func foreign(head []byte) string {
	for _, f := range foreigners {
		if len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.mark)) {
			return f.what
		}
	}
	switch {
	case len(head) > 262 && string(head[257:262]) == "ustar" && bytes.HasPrefix(head, []byte("toc.dat\x00")):
		return "an archive of pg_dump (tar format), not text: make a dump of it with `pg_restore -f dump.sql FILE`"
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return "a tar archive: unpack it and name the dump in it"
	}
	start := strings.ToLower(string(bytes.TrimLeft(bytes.TrimPrefix(head, []byte(charset.MarkUTF8)), " \t\r\n")))
	for _, page := range []string{"<!doctype html", "<html", "<head", "<body"} {
		if strings.HasPrefix(start, page) {
			return "a page of a web site (HTML), not a dump: the download has failed, or asks for a login; fetch the dump again"
		}
	}
	if strings.HasPrefix(start, "<?xml") || strings.HasPrefix(start, "<mysqldump") {
		return "XML, not SQL: dump the database without --xml"
	}
	return ""
}

// wideOrder is the UTF-16 of a file without a mark, of whose bytes every second is 0 as in no other text; nil for others.
func wideOrder(head []byte) *charset.Charset {
	var zeros [2]int
	for i, b := range head {
		if b == 0 {
			zeros[i%2]++
		}
	}
	most := len(head) / 4
	name := ""
	switch {
	case len(head) < 8:
	case zeros[1] > most && zeros[0] == 0:
		name = "utf-16le"
	case zeros[0] > most && zeros[1] == 0:
		name = "utf-16be"
	}
	c, err := charset.Lookup(name)
	if name == "" || err != nil {
		return nil
	}
	return c
}

// endsUnmarked says whether a version of mysqldump wrote the file that has no last line: 9 and before, of MySQL 4.0.
func endsUnmarked(start []byte) bool {
	_, version, ok := bytes.Cut(start, []byte("-- MySQL dump "))
	n := 0
	for n < len(version) && class[version[n]]&isDigit != 0 {
		n++
	}
	major, err := strconv.Atoi(string(version[:n]))
	return ok && err == nil && major < 10
}

// foreignError says what a file is that is no dump.
type foreignError string

// Error implements error.
func (e foreignError) Error() string { return string(e) }
