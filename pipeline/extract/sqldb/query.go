package sqldb

import (
	"errors"
	"fmt"
	"strings"
)

// checkQuery refuses what is not a single SELECT, before it is sent. It knows strings, quoted names and comments, and
// words, no more: what gets past it meets a read-only session (SQL Server has none, so there more words are refused).
func checkQuery(e Engine, query string) error {
	words, semicolon, err := wordsOf(e, query)
	if err != nil {
		return err
	}
	if semicolon {
		return errors.New("the query must be one statement, without a semicolon")
	}
	if len(words) == 0 || words[0] != "SELECT" && words[0] != "WITH" {
		return errors.New("the query must begin with SELECT or WITH")
	}
	for _, w := range words {
		// INTO makes a table or, in MySQL, writes a file on the server. It is a reserved word everywhere.
		if w == "INTO" || e == SQLServer && writes[w] {
			return fmt.Errorf("the query must only read: it has the word %s (put a column of that name in quotes)", w)
		}
	}
	return nil
}

// writes are words that make T-SQL do more than read. They need no semicolon before them, and all are reserved, so that no
// column has one of these names without quotes. SQL Server manual, "Reserved keywords (Transact-SQL)".
var writes = map[string]bool{
	"INSERT": true, "UPDATE": true, "DELETE": true, "MERGE": true, "TRUNCATE": true, "DROP": true, "ALTER": true,
	"CREATE": true, "EXEC": true, "EXECUTE": true, "GRANT": true, "REVOKE": true, "DENY": true, "BACKUP": true,
	"RESTORE": true, "SHUTDOWN": true, "KILL": true, "DBCC": true, "USE": true, "DECLARE": true, "SET": true, "BEGIN": true,
	"COMMIT": true, "ROLLBACK": true, "SAVE": true, "WAITFOR": true, "BULK": true, "RECONFIGURE": true, "OPENROWSET": true,
	"OPENQUERY": true, "OPENDATASOURCE": true, "WRITETEXT": true, "UPDATETEXT": true, "IF": true, "WHILE": true, "GOTO": true,
	"RETURN": true, "PRINT": true, "RAISERROR": true, "CHECKPOINT": true, "SETUSER": true, "REVERT": true,
}

// wordsOf returns the words outside strings, quoted names and comments, in upper case, and whether a semicolon is among
// them.
func wordsOf(e Engine, q string) (words []string, semicolon bool, err error) {
	for i := 0; i < len(q); {
		c := q[i]
		rest := q[i:]
		switch {
		case strings.HasPrefix(rest, "--") && (e != MySQL || len(rest) == 2 || rest[2] <= ' '), c == '#' && e == MySQL:
			i += upTo(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			if e == MySQL && (strings.HasPrefix(rest, "/*!") || strings.HasPrefix(rest, "/*M!")) {
				return nil, false, errors.New("the query must have no comment that the server executes (/*! … */)")
			}
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return nil, false, errors.New("the query has a comment that does not end")
			}
			if nested := strings.Contains(rest[2:2+n], "/*"); nested {
				return nil, false, errors.New("the query must not have a comment inside a comment")
			}
			i += n + 4
		case c == '$' && e == Postgres && dollarTag(rest) != "":
			tag := dollarTag(rest)
			n := strings.Index(rest[len(tag):], tag)
			if n < 0 {
				return nil, false, errors.New("the query has a string that does not end")
			}
			i += n + 2*len(tag)
		case c == '\'' || c == '"' || c == '`' && e == MySQL || c == '[' && (e == SQLServer || e == SQLite):
			backslash := e == MySQL && c != '`' || e == Postgres && c == '\'' && escapes(q[:i])
			n := quoted(rest, backslash)
			if n < 0 {
				return nil, false, errors.New("the query has a string or quoted name that does not end")
			}
			i += n
		case c == ';':
			semicolon = true
			i++
		case isWord(c):
			n := 1
			for n < len(rest) && (isWord(rest[n]) || rest[n] >= '0' && rest[n] <= '9' || rest[n] == '$') {
				n++
			}
			words = append(words, strings.ToUpper(rest[:n]))
			i += n
		case c >= '0' && c <= '9': // a number, with what clings to it
			for i < len(q) && (isWord(q[i]) || q[i] >= '0' && q[i] <= '9') {
				i++
			}
		default:
			i++
		}
	}
	return words, semicolon, nil
}

// escapes says whether the text ends with the letter that makes a string of PostgreSQL know backslashes.
func escapes(before string) bool {
	n := len(before)
	return n > 0 && (before[n-1] == 'E' || before[n-1] == 'e') && (n == 1 || !isWord(before[n-2]))
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

// upTo is the length of the text up to and with the mark, or all of it.
func upTo(s, mark string) int {
	if n := strings.Index(s, mark); n >= 0 {
		return n + len(mark)
	}
	return len(s)
}

// quoted is the length of the string or quoted name that the text begins with, or -1 if it does not end. A doubled closing
// quote is text.
func quoted(s string, backslash bool) int {
	end := s[0]
	if end == '[' {
		end = ']'
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && backslash:
			i++
		case s[i] == end && i+1 < len(s) && s[i+1] == end:
			i++
		case s[i] == end:
			return i + 1
		}
	}
	return -1
}

// dollarTag is the $tag$ that the text begins with, or "".
func dollarTag(s string) string {
	n := strings.IndexByte(s[1:], '$')
	if n < 0 {
		return ""
	}
	for i := range n {
		if c := s[1+i]; !isWord(c) && (i == 0 || c < '0' || c > '9') {
			return ""
		}
	}
	return s[:n+2]
}

// quote quotes a name as the engine does, the closing quote doubled.
func (e Engine) quote(name string) string {
	switch e {
	case MySQL:
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	case SQLServer:
		return "[" + strings.ReplaceAll(name, "]", "]]") + "]"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// list quotes names and joins them, each after the prefix.
func (e Engine) list(prefix string, names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix)
		b.WriteString(e.quote(name))
	}
	return b.String()
}
