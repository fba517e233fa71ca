package ledger

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresEngine keeps a ledger in a schema of its own in a PostgreSQL database. Several processes write at a time; who
// may is told by sessions, which each renews.
type postgresEngine struct {
	config *pgx.ConnConfig // holds the secret
	schema string
}

const (
	// defaultSchema is where the ledger lies if the address has no search_path.
	defaultSchema = "chartlift"
	// writers is the number of connections for writing; more than one, so that claims and the renewal of the lease do
	// not wait for a large report.
	writers = 4
	// connectTimeout bounds how long a server that does not answer is waited for, if the address says nothing.
	connectTimeout = 15 * time.Second
)

var schemaForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func openPostgres(dsn string) (engine, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the postgres:// address of the ledger cannot be read") // the parser's error quotes it
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	schema, named := config.RuntimeParams["search_path"]
	if !named {
		schema = defaultSchema
	}
	if !schemaForm.MatchString(schema) {
		return nil, errors.New("the ledger lies in one schema: search_path in its address must be one name of letters, digits and _")
	}
	config.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	config.RuntimeParams["application_name"] = "chartlift ledger" // an administrator tells it from a reading of a source
	return &postgresEngine{config: config, schema: schema}, nil
}

var postgresMarks = strings.NewReplacer(
	"{now}", "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
	"{hold}", "FOR KEY SHARE", "{lock}", "FOR NO KEY UPDATE", "{skip locked}", "FOR UPDATE SKIP LOCKED",
)

// text also numbers the parameters. No statement has a question mark in a literal.
func (e *postgresEngine) text(statement string) string {
	statement = postgresMarks.Replace(statement)
	var b strings.Builder
	b.Grow(len(statement) + 64)
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		statement = after
	}
}

func (e *postgresEngine) schemas() string { return "migrations/postgres" }
func (e *postgresEngine) renews() bool    { return true }
func (e *postgresEngine) sound()          {}
func (e *postgresEngine) end(bool) error  { return nil }

// exclusively lets others read.
func (e *postgresEngine) exclusively(table string) string {
	return "LOCK TABLE " + table + " IN SHARE ROW EXCLUSIVE MODE"
}

// dead is an operator whose lease has ended; those of workers end when somebody needs their tasks.
func (e *postgresEngine) dead(role role) string {
	if role != operatorRole {
		return ""
	}
	return "DELETE FROM sessions WHERE role = 'operator' AND expires < {now}"
}

func (e *postgresEngine) connect(connections int, settings map[string]string) *sql.DB {
	config := e.config.Copy()
	for name, value := range settings {
		config.RuntimeParams[name] = value
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db
}

func (e *postgresEngine) begin(_ context.Context, _ string, lease time.Duration) (*sql.DB, error) {
	return e.connect(writers, map[string]string{
		"synchronous_commit": "on", // a commit is durable, whatever the server's default is
		// A process that stops in the middle of a transaction must not keep its locks until the leases of others have ended.
		"idle_in_transaction_session_timeout": strconv.FormatInt(max(lease.Milliseconds()/2, 1), 10),
	}), nil
}

func (e *postgresEngine) view(ctx context.Context) (*sql.DB, error) {
	db := e.connect(readers, map[string]string{"default_transaction_read_only": "on"})
	tables, _, err := e.inventory(ctx, handle{db, e})
	if err == nil && tables == 0 {
		err = fmt.Errorf("the database has none: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, errors.Join(err, kept(db.Close()))
	}
	return db, nil
}

func (e *postgresEngine) prepare(ctx context.Context, tx handle) error {
	// One at a time: two that find nothing would both make it.
	if _, err := tx.exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(applicationID)); err != nil {
		return err
	}
	var there bool
	// CREATE SCHEMA IF NOT EXISTS asks for a right that need not be there where the schema is.
	if err := tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?)", e.schema).Scan(&there); err != nil || there {
		return err
	}
	_, err := tx.exec(ctx, "CREATE SCHEMA "+pgx.Identifier{e.schema}.Sanitize())
	return err
}

// inventory counts the tables in the schema, and says whether it is a ledger.
func (e *postgresEngine) inventory(ctx context.Context, q handle) (tables int, ours bool, err error) {
	err = q.row(ctx, `SELECT count(*), count(*) FILTER (WHERE tablename = 'ledger_schema') > 0
		FROM pg_catalog.pg_tables WHERE schemaname = ?`, e.schema).Scan(&tables, &ours)
	return tables, ours, err
}

func (e *postgresEngine) version(ctx context.Context, q handle) (number int, err error) {
	tables, ours, err := e.inventory(ctx, q)
	if err != nil || tables == 0 {
		return 0, err
	}
	if !ours {
		return 0, fmt.Errorf("%w: the schema has tables of something else; name another with search_path in the address", ErrForeign)
	}
	return number, q.row(ctx, "SELECT number FROM ledger_schema").Scan(&number)
}

func (e *postgresEngine) setVersion(ctx context.Context, tx handle, number int) error {
	if _, err := tx.exec(ctx, "DELETE FROM ledger_schema"); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "INSERT INTO ledger_schema (number) VALUES (?)", number)
	return err
}

// meanings are the SQLSTATEs that an operator can do something about, and those of broken rules.
var meanings = map[string]string{
	"23502": "a value is missing", "23503": "what it refers to is not there", "23505": "it is there already", "23514": "a rule of the schema is broken",
	"22021": "a text is not valid UTF-8", "25P03": "the process stopped in the middle of a transaction for too long",
	"28000": "the server refuses the user", "28P01": "the server refuses the user or the password", "3D000": "there is no such database",
	"42501": "the user has no right to do this", "40P01": "two transactions waited for each other", "53100": "the server's disk is full",
	"53300": "the server has no connection left", "57014": "the server ended the statement", "57P01": "an administrator ended the connection",
	"57P03": "the server is starting or stopping", "25006": "the server takes no writes",
}

// keptOfPostgres is what may be known of an error of PostgreSQL or of the way there; nil if it is neither.
func keptOfPostgres(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		e := &SQLError{Code: "SQLSTATE " + answer.Code, Meaning: meanings[answer.Code], Constraint: answer.ConstraintName}
		if e.Constraint == "" && answer.ColumnName != "" {
			e.Constraint = answer.TableName + "." + answer.ColumnName
		}
		return e
	}
	var (
		number  syscall.Errno
		lookup  *net.DNSError
		network net.Error
		login   *pgconn.ConnectError
	)
	cause := ""
	switch {
	case errors.As(err, &lookup):
		cause = "the name of the server is not known"
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)):
		cause = "the certificate of the server is not accepted"
	case errors.As(err, &number):
		cause = number.Error()
	case errors.As(err, &network) && network.Timeout():
		cause = "the server does not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		cause = "the connection is closed"
	case errors.As(err, &login):
		cause = "the login failed"
	default:
		return nil
	}
	return fmt.Errorf("the PostgreSQL server of the ledger: %s", cause)
}
