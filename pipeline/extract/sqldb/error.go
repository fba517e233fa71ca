package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// ErrLost says that the connection that held the snapshot is gone, and the snapshot with it. What was read before and
// what would be read after are two states of the database, so the extraction has to start anew.
var ErrLost = errors.New("the connection is lost, and the snapshot with it: extraction must start anew")

// Error is what is kept of an error of the database: its code. The message is left behind, because it may quote values.
type Error struct {
	Engine Engine
	Code   string // SQLSTATE of PostgreSQL, else the engine's own number
	Rule   string // what the code means, if it is one that extraction runs into; else empty
}

// Error names the engine, the code and what it means.
func (e *Error) Error() string {
	if e.Rule == "" {
		return fmt.Sprintf("%s error %s (the server's log has its message)", e.Engine, e.Code)
	}
	return fmt.Sprintf("%s error %s: %s", e.Engine, e.Code, e.Rule)
}

// What codes mean, in words that hold no values.
const (
	ruleLogin      = "the server refuses the user or the password"
	ruleDatabase   = "there is no such database"
	ruleRight      = "the user has no right to read this, or not all of its rows"
	ruleNoTable    = "there is no such table or view"
	ruleNoColumn   = "there is no such column"
	ruleSyntax     = "the server does not understand the query"
	ruleReadOnly   = "the query wants to write; only SELECT is allowed"
	ruleTimeout    = "the server ended the statement: it took longer than the statement timeout, or an administrator stopped it"
	ruleTooMany    = "the server has no connection left"
	ruleDoubled    = "two columns of the query have the same name: name them with AS"
	ruleFull       = "the server's disk is full"
	ruleLocked     = "another session holds a lock"
	ruleSnapshot   = "the snapshot is gone: extraction must start anew"
	ruleEncoding   = "a text has no form in UTF-8"
	ruleStandby    = "the standby ended the query to keep up with its primary"
	ruleUndo       = "the server has overwritten the undo data of the snapshot: extraction must start anew"
	ruleDamaged    = "the file is not a sound database"
	ruleUnreadable = "the file cannot be opened for reading"
)

// errTimeout is the error of a statement that we ended.
var errTimeout = errors.New("it took longer than the statement timeout")

// foreign turns an error of a driver into one that may be shown: the code of the server, or the cause of a broken
// connection in fixed words. No word of the driver's message passes.
func (e Engine) foreign(err error) error {
	if code := e.code(err); code != "" {
		return &Error{Engine: e, Code: code, Rule: rules[e][code]}
	}
	return errors.New(cause(err))
}

// known says whether an error is ours or the context's and may be shown as it is.
func known(err error) bool {
	var ours *Error
	return errors.As(err, &ours) || errors.Is(err, ErrLost) || errors.Is(err, errTimeout) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// cause names what went wrong with a connection. Errors of name lookup hold the name, those of TLS the certificate:
// neither is repeated.
func cause(err error) string {
	var (
		number      syscall.Errno
		lookup      *net.DNSError
		certificate *tls.CertificateVerificationError
		unknown     x509.UnknownAuthorityError
		hostname    x509.HostnameError
		header      tls.RecordHeaderError
		timeout     net.Error
	)
	switch {
	case errors.As(err, &lookup):
		return "the host's name is not found"
	case errors.As(err, &certificate), errors.As(err, &unknown), errors.As(err, &hostname):
		return "the server's TLS certificate is not trusted"
	case errors.As(err, &header):
		return "the server does not speak TLS"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &number):
		return number.Error()
	}
	return "the connection broke"
}
