package sqldb

import (
	"errors"
	"strconv"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/sijms/go-ora/v2/network"
	"modernc.org/sqlite"
)

// code is the server's code of an error, or "" if no server spoke.
func (e Engine) code(err error) string {
	switch e {
	case Postgres:
		var x *pgconn.PgError
		if errors.As(err, &x) {
			return x.Code
		}
	case MySQL:
		var x *mysql.MySQLError
		if errors.As(err, &x) {
			return strconv.Itoa(int(x.Number))
		}
	case SQLite:
		var x *sqlite.Error
		if errors.As(err, &x) {
			return strconv.Itoa(x.Code() & 0xff) // the primary code; the rest says where in SQLite
		}
	case SQLServer:
		var x mssql.Error
		if errors.As(err, &x) {
			return strconv.Itoa(int(x.Number))
		}
	case Oracle:
		var x *network.OracleError
		if errors.As(err, &x) {
			return strconv.Itoa(x.ErrCode)
		}
	}
	return ""
}

// rules say what codes mean. Sources: PostgreSQL manual, appendix A; MariaDB and MySQL error references; sqlite.org/rescode;
// SQL Server's sys.messages; Oracle Database Error Messages.
var rules = map[Engine]map[string]string{
	Postgres: {
		"28P01": ruleLogin, "28000": ruleLogin, "3D000": ruleDatabase, "42501": ruleRight, "42P01": ruleNoTable,
		"42703": ruleNoColumn, "42601": ruleSyntax, "25006": ruleReadOnly, "57014": ruleTimeout, "53300": ruleTooMany,
		"53100": ruleFull, "55P03": ruleLocked, "22P05": ruleEncoding, "22021": ruleEncoding,
		"40001": ruleStandby,
	},
	MySQL: {
		"1045": ruleLogin, "1698": ruleLogin, "1044": ruleDatabase, "1049": ruleDatabase, "1142": ruleRight, "1143": ruleRight,
		"1370": ruleRight, "1146": ruleNoTable, "1054": ruleNoColumn, "1064": ruleSyntax, "1792": ruleReadOnly,
		"1290": ruleReadOnly, "1969": ruleTimeout, "3024": ruleTimeout, "1040": ruleTooMany, "1203": ruleTooMany,
		"1060": ruleDoubled, "1021": ruleFull, "1205": ruleLocked,
	},
	SQLite: {
		"1": ruleSyntax, "5": ruleLocked, "6": ruleLocked, "8": ruleReadOnly, "11": ruleDamaged, "26": ruleDamaged,
		"14": ruleUnreadable, "3": ruleUnreadable, "23": ruleUnreadable,
	},
	SQLServer: {
		"18456": ruleLogin, "18452": ruleLogin, "4060": ruleDatabase, "229": ruleRight, "230": ruleRight, "208": ruleNoTable,
		"207": ruleNoColumn, "102": ruleSyntax, "156": ruleSyntax, "1222": ruleLocked, "1205": ruleLocked,
		"3952": ruleSnapshot, "3961": ruleSnapshot, "9002": ruleFull,
	},
	Oracle: {
		"1017": ruleLogin, "28000": ruleLogin, "12514": ruleDatabase, "12505": ruleDatabase, "1031": ruleRight, "942": ruleNoTable,
		"904": ruleNoColumn, "900": ruleSyntax, "923": ruleSyntax, "933": ruleSyntax, "936": ruleSyntax, "1456": ruleReadOnly,
		"12519": ruleTooMany, "12520": ruleTooMany, "18": ruleTooMany, "1555": ruleUndo, "918": ruleDoubled,
	},
}
