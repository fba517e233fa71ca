package sqldump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// Notice is something about a dump that no record of it shows.
type Notice struct {
	File    string // as the plan names it
	Line    int64
	Rule    string // what it is about, in one word
	Table   string // "" if it is about none
	Message string
	Lost    bool // rows may be missing
}

// UnreadableTable is the rule of a notice about a table that is set aside.
const UnreadableTable = "unreadable-table"

// ErrUnreadable is what an error of Shards or Read is (errors.Is) about a table that is set aside.
var ErrUnreadable = errors.New("the table cannot be read")

type unreadable struct{ error }

// Is implements errors.Is.
func (unreadable) Is(target error) bool { return target == ErrUnreadable }

// Unwrap implements errors.Unwrap.
func (u unreadable) Unwrap() error { return u.error }

// maxNotices bounds how many statements that were passed are listed.
const maxNotices = 20

// notice remembers a statement that may have written rows and was passed.
func (w *walker) notice(message string) {
	if w.passed != nil && w.err == nil {
		w.passed(Notice{File: w.shown, Line: w.start.line, Rule: "statement", Message: message, Lost: true})
	}
}

// Notices lists what was passed or set aside: statements that may write rows, tables that cannot be read, columns whose
// values only the database has. Errors are those of Tables.
func (s *Source) Notices(ctx context.Context) ([]Notice, error) {
	p, err := s.plan(ctx)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(p.notices)
	for _, d := range p.listed {
		t := p.tables[d.Name]
		if t.blocked != nil {
			list = append(list, Notice{File: s.files[t.file].Shown, Rule: UnreadableTable, Table: d.Name, Lost: true,
				Message: "table " + d.Name + " cannot be read: " + t.blocked.Error()})
		}
		var hidden []string
		for _, c := range t.columns {
			if c.hidden() {
				hidden = append(hidden, c.name)
			}
		}
		if len(hidden) > 0 {
			list = append(list, Notice{File: s.files[t.file].Shown, Rule: "computed-column", Table: d.Name,
				Message: fmt.Sprintf("table %s: the dump has no values of the columns that the database computes: %s", d.Name, strings.Join(hidden, ", "))})
		}
	}
	return list, nil
}

// Unreadable returns why the rows of a table cannot be read though the dump has some, or nil. Errors of Tables aside, it is
// that of Shards.
func (s *Source) Unreadable(ctx context.Context, t *extract.Table) error {
	p, err := s.plan(ctx)
	if err == nil {
		_, err = s.table(p, t)
	}
	return err
}

// statements are the first words of statements that write no rows, besides those that are read: whatever else stands
// where a statement must was one before something happened to it.
var statements = words(`ADMINISTER ANALYZE ANALYSE ATTACH AUDIT ASSOCIATE BACKUP BINLOG CACHE CHANGE CHECK CHECKPOINT CHECKSUM CLOSE CLUSTER
	COMMENT COMMIT CONNECT DBCC DEALLOCATE DECLARE DENY DESC DESCRIBE DETACH DISABLE DISASSOCIATE DISCARD ENABLE EXPLAIN FETCH FLASHBACK FLUSH GET GO GOTO GRANT
	HANDLER HELP IMPORT INSTALL KILL LISTEN LOCK MOVE NOAUDIT NOTIFY OPEN OPTIMIZE PRAGMA PRINT PURGE QUIT EXIT RAISERROR REASSIGN REINDEX REFRESH RELEASE
	REPAIR RESET RESIGNAL RESTORE RETURN REVERT REVOKE ROLLBACK SAVEPOINT SECURITY SHOW SHUTDOWN SIGNAL SLAVE STOP SYSTEM TABLE THROW UNINSTALL UNLISTEN
	UNLOCK VACUUM VALUES WAITFOR XA TRY CATCH RECONFIGURE READTEXT WRITETEXT UPDATETEXT ADD BREAK CONTINUE TRUNCATE RENAME START
	STATUS WARNINGS NOWARNING TEE NOTEE PAGER NOPAGER PROMPT REHASH CHARSET REM SUMMARIZE ALTER REPLACE MASTER SETUSER DELIMITER ABORT`)

func words(list string) map[string]bool {
	known := map[string]bool{}
	for _, w := range strings.Fields(list) {
		known[w] = true
	}
	return known
}

// known says whether the word that was read begins a statement.
func (w *walker) known() bool {
	return statements[strings.ToUpper(string(w.word))]
}

// unknown passes what no statement begins with. A message of the program that wrote the dump goes to the end of its line.
func (w *walker) unknown() {
	w.understood--
	w.strange++
	if w.newline {
		w.notice("what begins here is no statement of SQL that is known, and was passed; rows may be missing")
	}
	if w.next() == tokenPunct && w.isPunct(':') && w.dialect != oracle {
		w.restOfLine()
		return
	}
	w.hold()
	w.skip()
}
