package sqldump

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// made is a made-up table: its rows hold a *string (nil: NULL) each, in the form of a neutral literal.
type made struct {
	name    string
	columns []madeColumn
	rows    [][]*string
}

type madeColumn struct {
	name string
	kind extract.Kind
}

// nasty are pieces that break naive splitters.
var nasty = []string{"'", "''", `"`, ";", "--", "-- ", "/*", "*/", "#", "\n", "\r\n", "\t", `\`, `\\`, `\'`, `\N`, `\.`, "$$", "`", "]",
	"😀", "Łukasz", "),(", "\nGO\n", "\n/\n", "\nINSERT INTO a VALUES (1);\n", "\\.\n", "Robert'); DROP TABLE a;--", "%", "_", "NULL", "\x1a",
	"\b", "q'[x]'", "&", "{}", "a", "b c", ""}

func drawText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(nasty), 0, 6).Draw(t, "pieces"), "")
	})
}

var madeKinds = []extract.Kind{extract.Text, extract.Integer, extract.Decimal, extract.Boolean, extract.Date, extract.DateTime, extract.Bytes}

func drawCell(kind extract.Kind) *rapid.Generator[string] {
	switch kind {
	case extract.Integer:
		return rapid.Map(rapid.Int64(), func(n int64) string { return fmt.Sprint(n) })
	case extract.Decimal:
		return rapid.Map(rapid.IntRange(-99999, 99999), func(n int) string { return fmt.Sprintf("%d.%03d", n, (n%7+7)%7) })
	case extract.Boolean:
		return rapid.SampledFrom([]string{"0", "1"})
	case extract.Date:
		return rapid.Map(rapid.IntRange(1, 28), func(d int) string { return fmt.Sprintf("19%02d-02-%02d", 20+d, d) })
	case extract.DateTime:
		return rapid.Map(rapid.IntRange(0, 59), func(n int) string { return fmt.Sprintf("20%02d-11-03 01:%02d:59", n, n) })
	case extract.Bytes:
		return rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 9), func(b []byte) string { return string(b) })
	}
	return drawText()
}

// drawTables makes a small database.
func drawTables() *rapid.Generator[[]made] {
	return rapid.Custom(func(t *rapid.T) []made {
		var tables []made
		for _, name := range []string{"a", "order items", "z"}[:rapid.IntRange(1, 3).Draw(t, "tables")] {
			m := made{name: name, columns: []madeColumn{{"id", extract.Integer}}}
			for i := range rapid.IntRange(0, 5).Draw(t, "columns") {
				m.columns = append(m.columns, madeColumn{fmt.Sprintf("c %d", i), rapid.SampledFrom(madeKinds).Draw(t, "kind")})
			}
			for i := range rapid.IntRange(0, 12).Draw(t, "rows") {
				id := fmt.Sprint(i)
				row := []*string{&id}
				for _, c := range m.columns[1:] {
					var cell *string
					if rapid.IntRange(0, 4).Draw(t, "null") > 0 {
						text := drawCell(c.kind).Draw(t, "cell")
						cell = &text
					}
					row = append(row, cell)
				}
				m.rows = append(m.rows, row)
			}
			tables = append(tables, m)
		}
		return tables
	})
}

// cells are the rows as every dialect must read them.
func (m made) cells() [][]string {
	var all [][]string
	for _, row := range m.rows {
		cells := make([]string, len(row))
		for i, c := range row {
			if c == nil {
				continue
			}
			switch m.columns[i].kind {
			case extract.DateTime:
				cells[i] = strings.Replace(*c, " ", "T", 1)
			case extract.Bytes:
				cells[i] = base64.StdEncoding.EncodeToString([]byte(*c))
			default:
				cells[i] = *c
			}
		}
		all = append(all, cells)
	}
	return all
}

// writer writes a database as a tool of one dialect does.
type writer struct {
	name    string
	dialect string
	write   func([]made) string
}

var writers = []writer{
	{"mysqldump", "mysql", func(tables []made) string { return mysqlDump(tables, false, false) }},
	{"mysqldump of single rows", "mysql", func(tables []made) string { return mysqlDump(tables, true, false) }},
	{"mysqldump without backslash escapes", "mysql", func(tables []made) string { return mysqlDump(tables, false, true) }},
	{"pg_dump", "postgres", pgCopy},
	{"pg_dump of inserts", "postgres", pgInserts},
	{"sqlite", "sqlite", sqliteDump},
	{"script of SQL Server", "sqlserver", func(tables []made) string { return utf16le(sqlServerScript(tables)) }},
	{"script of Oracle", "oracle", oracleScript},
}

func doubled(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// literal writes a value, with what differs between dialects given.
func literal(kind extract.Kind, c *string, text, bytes, date, dateTime func(string) string) string {
	if c == nil {
		return "NULL"
	}
	switch kind {
	case extract.Text:
		return text(*c)
	case extract.Bytes:
		return bytes(*c)
	case extract.Date:
		return date(*c)
	case extract.DateTime:
		return dateTime(*c)
	}
	return *c
}

func tuple(m made, row []*string, one func(extract.Kind, *string) string) string {
	values := make([]string, len(row))
	for i, c := range row {
		values[i] = one(m.columns[i].kind, c)
	}
	return "(" + strings.Join(values, ",") + ")"
}

func createTable(m made, quote func(string) string, types map[extract.Kind]string) string {
	var columns []string
	for _, c := range m.columns {
		columns = append(columns, "  "+quote(c.name)+" "+types[c.kind])
	}
	return "CREATE TABLE " + quote(m.name) + " (\n" + strings.Join(columns, ",\n") + "\n)"
}

var mysqlEscapes = strings.NewReplacer("\x00", `\0`, "\n", `\n`, "\r", `\r`, `\`, `\\`, "'", `\'`, `"`, `\"`, "\x1a", `\Z`)

func mysqlDump(tables []made, single, plainBackslash bool) string {
	var b strings.Builder
	quote := func(s string) string { return "`" + s + "`" }
	text := func(s string) string { return "'" + mysqlEscapes.Replace(s) + "'" }
	bytes := func(s string) string { return "_binary '" + mysqlEscapes.Replace(s) + "'" }
	mode := "NO_AUTO_VALUE_ON_ZERO"
	if plainBackslash {
		mode += ",NO_BACKSLASH_ESCAPES"
		text = doubled
		bytes = func(s string) string { return "X'" + hex.EncodeToString([]byte(s)) + "'" }
	}
	one := func(kind extract.Kind, c *string) string { return literal(kind, c, text, bytes, text, text) }
	b.WriteString("/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n--\n/*!40101 SET NAMES utf8mb4 */;\n/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='" + mode + "' */;\n")
	for _, m := range tables {
		b.WriteString("DROP TABLE IF EXISTS `" + m.name + "`;\n/*!40101 SET @saved_cs_client     = @@character_set_client */;\n")
		b.WriteString(createTable(m, quote, map[extract.Kind]string{extract.Text: "longtext COMMENT 'a, b) ENGINE'", extract.Integer: "bigint(20) DEFAULT NULL",
			extract.Decimal: "decimal(12,3)", extract.Boolean: "bit(1)", extract.Date: "date", extract.DateTime: "datetime", extract.Bytes: "longblob"}))
		b.WriteString(" ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\nLOCK TABLES `" + m.name + "` WRITE;\n/*!40000 ALTER TABLE `" + m.name + "` DISABLE KEYS */;\n")
		for i, row := range m.rows {
			switch {
			case single:
				var names []string
				for _, c := range m.columns {
					names = append(names, quote(c.name))
				}
				b.WriteString("INSERT INTO `" + m.name + "` (" + strings.Join(names, ", ") + ") VALUES " + tuple(m, row, one) + ";\n")
				continue
			case i == 0:
				b.WriteString("INSERT INTO `" + m.name + "` VALUES\n")
			default:
				b.WriteString(",\n")
			}
			b.WriteString(tuple(m, row, one))
		}
		if len(m.rows) > 0 && !single {
			b.WriteString(";\n")
		}
		b.WriteString("/*!40000 ALTER TABLE `" + m.name + "` ENABLE KEYS */;\nUNLOCK TABLES;\n")
	}
	b.WriteString("DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN\n" +
		"  UPDATE a SET id = 'it''s; not' WHERE 1; DELETE FROM a WHERE 1;\nEND */;;\nDELIMITER ;\n-- Dump completed on 2026-01-01  1:00:00\n")
	return b.String()
}

func double(s string) string { return `"` + s + `"` }

var pgTypes = map[extract.Kind]string{extract.Text: "text DEFAULT 'a, b)'::text", extract.Integer: "bigint NOT NULL", extract.Decimal: "numeric(12,3)",
	extract.Boolean: "boolean", extract.Date: "date", extract.DateTime: "timestamp(6) without time zone", extract.Bytes: "bytea"}

const pgHead = "--\n-- PostgreSQL database dump\n--\n\n\\restrict x\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n" +
	"SELECT pg_catalog.set_config('search_path', '', false);\nCREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $_$\nBEGIN\n" +
	"  DELETE FROM public.a WHERE x = 'y';\n  RETURN NEW;\nEND;\n$_$;\nCREATE PROCEDURE public.p() BEGIN ATOMIC\n UPDATE public.a SET id = CASE WHEN true THEN 1 END;\n DELETE FROM public.a;\nEND;\n"

const pgTail = "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n\n"

func pgCopy(tables []made) string {
	var b strings.Builder
	b.WriteString(pgHead)
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`)
	for _, m := range tables {
		b.WriteString(strings.Replace(createTable(m, double, pgTypes), "TABLE ", "TABLE public.", 1) + ";\n")
	}
	for _, m := range tables {
		var names []string
		for _, c := range m.columns {
			names = append(names, double(c.name))
		}
		b.WriteString("COPY public." + double(m.name) + " (" + strings.Join(names, ", ") + ") FROM stdin;\n")
		for _, row := range m.rows {
			for i, c := range row {
				if i > 0 {
					b.WriteByte('\t')
				}
				switch {
				case c == nil:
					b.WriteString(`\N`)
				case m.columns[i].kind == extract.Bytes:
					b.WriteString(`\\x` + hex.EncodeToString([]byte(*c)))
				case m.columns[i].kind == extract.Boolean:
					b.WriteString(map[string]string{"0": "f", "1": "t"}[*c])
				default:
					b.WriteString(escape.Replace(*c))
				}
			}
			b.WriteByte('\n')
		}
		b.WriteString("\\.\n\n\n")
	}
	b.WriteString("ALTER TABLE ONLY public.a\n    ADD CONSTRAINT a_pkey PRIMARY KEY (id);\n" + pgTail)
	return b.String()
}

func pgInserts(tables []made) string {
	var b strings.Builder
	b.WriteString(pgHead)
	escaped := func(s string) string { // as pg_dump does with standard_conforming_strings, and as others do
		if strings.Contains(s, `\`) && len(s)%2 == 0 {
			return "E" + doubled(strings.ReplaceAll(s, `\`, `\\`))
		}
		return doubled(s)
	}
	bytes := func(s string) string { return `'\x` + hex.EncodeToString([]byte(s)) + `'` }
	for _, m := range tables {
		b.WriteString(strings.Replace(createTable(m, double, pgTypes), "TABLE ", "TABLE public.", 1) + ";\n")
		for i, row := range m.rows {
			text := tuple(m, row, func(kind extract.Kind, c *string) string {
				if kind == extract.Boolean && c != nil {
					return map[string]string{"0": "false", "1": "true"}[*c]
				}
				return literal(kind, c, escaped, bytes, doubled, doubled)
			})
			switch {
			case i%3 > 0:
				b.WriteString(",\n\t" + text)
			case i > 0:
				b.WriteString(";\nINSERT INTO public." + double(m.name) + " VALUES\n\t" + text)
			default:
				b.WriteString("INSERT INTO public." + double(m.name) + " VALUES\n\t" + text)
			}
		}
		if len(m.rows) > 0 {
			b.WriteString(";\n")
		}
	}
	return b.String() + pgTail
}

func sqliteDump(tables []made) string {
	var b strings.Builder
	b.WriteString("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")
	text := func(s string) string {
		switch {
		case strings.ContainsAny(s, "\n\r") && !strings.Contains(s, `\`): // as older versions do
			return "replace(replace(" + strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(doubled(s)) + `,'\r',char(13)),'\n',char(10))`
		case strings.ContainsAny(s, "\b\x1a"): // as newer ones do
			return "unistr(" + strings.NewReplacer(`\`, `\\`, "\b", `\u0008`, "\x1a", `\u001a`, "\n", `\u000a`).Replace(doubled(s)) + ")"
		}
		return doubled(s)
	}
	bytes := func(s string) string { return "X'" + hex.EncodeToString([]byte(s)) + "'" }
	for _, m := range tables {
		b.WriteString("CREATE TABLE IF NOT EXISTS" + strings.TrimPrefix(createTable(m, double, map[extract.Kind]string{extract.Text: "TEXT", extract.Integer: "INTEGER",
			extract.Decimal: "DECIMAL(12,3)", extract.Boolean: "BOOLEAN", extract.Date: "DATE", extract.DateTime: "DATETIME", extract.Bytes: "BLOB"}), "CREATE TABLE") + ";\n")
		for _, row := range m.rows {
			b.WriteString("INSERT INTO " + double(m.name) + " VALUES" + tuple(m, row, func(kind extract.Kind, c *string) string {
				return literal(kind, c, text, bytes, doubled, doubled)
			}) + ";\n")
		}
	}
	b.WriteString("DELETE FROM sqlite_sequence;\nINSERT INTO sqlite_sequence VALUES('a',3);\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n" +
		"  UPDATE a SET id = CASE WHEN 1 THEN 2 END;\n  DELETE FROM a;\nEND;\nCOMMIT;\n")
	return b.String()
}

func sqlServerScript(tables []made) string {
	var b strings.Builder
	b.WriteString("USE [x]\nGO\nSET ANSI_NULLS ON\nGO\n")
	bracket := func(s string) string { return "[" + s + "]" }
	text := func(s string) string { return "N" + doubled(s) }
	bytes := func(s string) string { return "0x" + strings.ToUpper(hex.EncodeToString([]byte(s))) }
	cast := func(to string) func(string) string {
		return func(s string) string {
			return "CAST(N'" + strings.Replace(s, " ", "T", 1) + map[string]string{"Date": "", "DateTime2": ".0000000"}[to] + "' AS " + to + ")"
		}
	}
	for _, m := range tables {
		b.WriteString("/****** Object:  Table [dbo].[" + m.name + "] ******/\n" + strings.Replace(createTable(m, bracket, map[extract.Kind]string{
			extract.Text: "[nvarchar](max) NULL", extract.Integer: "[bigint] NULL", extract.Decimal: "[decimal](12, 3) NULL", extract.Boolean: "[bit] NULL",
			extract.Date: "[date] NULL", extract.DateTime: "[datetime2](7) NULL", extract.Bytes: "[varbinary](max) NULL"}), "TABLE ", "TABLE [dbo].", 1) +
			" ON [PRIMARY] TEXTIMAGE_ON [PRIMARY]\nGO\nSET IDENTITY_INSERT [dbo]." + bracket(m.name) + " ON \n\n")
		var names []string
		for _, c := range m.columns {
			names = append(names, bracket(c.name))
		}
		for i, row := range m.rows {
			values := tuple(m, row, func(kind extract.Kind, c *string) string {
				if kind == extract.Decimal && c != nil {
					return "CAST(" + *c + " AS Decimal(12, 3))"
				}
				return literal(kind, c, text, bytes, cast("Date"), cast("DateTime2"))
			})
			b.WriteString("INSERT [dbo]." + bracket(m.name) + " (" + strings.Join(names, ", ") + ") VALUES " + values + "\n")
			if i%4 == 3 {
				b.WriteString("GO\n")
			}
		}
		b.WriteString("SET IDENTITY_INSERT [dbo]." + bracket(m.name) + " OFF\nGO\n")
	}
	b.WriteString("CREATE PROCEDURE [dbo].[p] AS\nBEGIN\n  UPDATE [dbo].[a] SET id = 1;\n  DELETE FROM [dbo].[a];\n  INSERT INTO [dbo].[a] (id) VALUES (1)\nEND\nGO\n")
	return b.String()
}

func utf16le(s string) string {
	b := []byte(charset.MarkLittle)
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func oracleScript(tables []made) string {
	var b strings.Builder
	b.WriteString("REM made up, isn't it\nSET DEFINE OFF;\nPROMPT it's; here\n")
	text := func(s string) string {
		if len(s)%3 == 0 && !strings.Contains(s, "]'") && !strings.HasSuffix(s, "]") {
			return "q'[" + s + "]'"
		}
		if before, after, found := strings.Cut(s, "\n"); found {
			return doubled(before) + " || CHR(10) || TO_CLOB(" + doubled(after) + ")"
		}
		return doubled(s)
	}
	bytes := func(s string) string { return "HEXTORAW('" + strings.ToUpper(hex.EncodeToString([]byte(s))) + "')" }
	date := func(s string) string { return "TO_DATE('" + s + "','YYYY-MM-DD')" }
	dateTime := func(s string) string { return "TO_TIMESTAMP('" + s + ",000000','YYYY-MM-DD HH24:MI:SSXFF')" }
	for _, m := range tables {
		// Without types for dates: a DATE of Oracle has a time.
		b.WriteString(createTable(m, double, map[extract.Kind]string{extract.Text: "CLOB", extract.Integer: "NUMBER(19,0)", extract.Decimal: "NUMBER(12,3)",
			extract.Boolean: "NUMBER(1)", extract.Date: "VARCHAR2(10)", extract.DateTime: "TIMESTAMP (6)", extract.Bytes: "BLOB"}) + ";\n")
		var names []string
		for _, c := range m.columns {
			names = append(names, double(c.name))
		}
		for i, row := range m.rows {
			values := tuple(m, row, func(kind extract.Kind, c *string) string {
				if kind == extract.Date {
					return literal(extract.Text, c, doubled, nil, date, nil)
				}
				return literal(kind, c, text, bytes, date, dateTime)
			})
			into := "INTO " + double(m.name) + " (" + strings.Join(names, ",") + ") VALUES " + values
			if i%5 == 4 {
				b.WriteString("INSERT ALL\n  " + into + "\nSELECT * FROM dual;\n")
			} else {
				b.WriteString("Insert " + into + ";\n")
			}
		}
	}
	b.WriteString("CREATE OR REPLACE TRIGGER t BEFORE INSERT ON a FOR EACH ROW\nBEGIN\n  UPDATE a SET id = 1;\n  DELETE FROM a;\nEND;\n/\nCOMMIT;\n")
	return b.String()
}
