package csv

import "strings"

// magics are the first bytes of files that get among exports under a wrong name. Each holds a byte that no text begins
// with, or is far too odd to be the header of a table.
var magics = []struct{ start, what string }{
	{"PK\x03\x04", "a zip archive or a workbook (.xlsx)"},
	{"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "a workbook of the old format (.xls)"},
	{"\x1F\x8B\x08", "packed with gzip, so its name must end with .gz"},
	{"\x28\xB5\x2F\xFD", "packed with zstandard, so its name must end with .zst"},
	{"%PDF-", "a PDF document"},
	{"SQLite format 3\x00", "an SQLite database"},
}

// longestMagic is how many bytes must be there to tell.
const longestMagic = 32

// magic says what kind of other file begins so, or "".
func magic(start []byte) string {
	for _, m := range magics {
		if strings.HasPrefix(string(start[:min(len(start), longestMagic)]), m.start) {
			return m.what
		}
	}
	// dBase: a version, a date (years from 1900, month, day), and a length of the header that is 1 more than a multiple
	// of 32, or 264 more.
	if len(start) >= longestMagic && (start[0] == 0x03 || start[0] == 0x83 || start[0] == 0xF5 || start[0] == 0x30) &&
		start[2] >= 1 && start[2] <= 12 && start[3] >= 1 && start[3] <= 31 {
		return "a dBase table (.dbf)"
	}
	return ""
}
