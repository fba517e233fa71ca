package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/load"
)

// connection is one base URL with the means to reach it. Safe for concurrent use.
type connection struct {
	base        *url.URL // without trailing slash
	http        *http.Client
	credentials *credentials
	pace        *load.Pace
	timeout     time.Duration
	most        int64 // bytes of an answer
	parallel    int   // most requests at once
	attempts    int   // how often a request that failed is made, at most
	now         func() time.Time
	log         *zap.Logger
}

// newConnection checks the URL and makes a client with deadlines on every phase.
func newConnection(o Options) (*connection, error) {
	base, err := baseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if (o.TokenEnv != "" || o.TokenFile != "") && plain(base) {
		return nil, errors.New("target: a token is sent over https only (or to this machine itself)")
	}
	client := http.Client{Transport: transport(o)}
	if o.Client != nil {
		client = *o.Client
	}
	client.CheckRedirect = redirects
	client.Jar = nil
	pace := load.NewPace(load.PaceOptions{Parallel: o.Parallel, Patience: o.Patience, MaxWait: o.MaxWait, Now: o.Now, Wait: o.Wait, Random: o.Random})
	return &connection{base: base, http: &client, credentials: &credentials{env: o.TokenEnv, file: o.TokenFile}, pace: pace,
		timeout: o.Timeout, most: o.ResponseBytes, parallel: o.Parallel, attempts: o.Attempts, now: o.Now, log: o.Logger}, nil
}

// baseURL puts a base URL into the one form in which it is compared: scheme and host in lower case, no default port, no
// slash at the end.
func baseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("target: the URL cannot be parsed") // url.Error would quote it, password and all
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("target: the URL must begin with http:// or https:// and name a host")
	case u.User != nil:
		return nil, errors.New("target: the URL holds a user or password; name a variable or file for the token instead")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("target: the URL must have neither query nor fragment")
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && !(u.Scheme == "http" && port == "80") && !(u.Scheme == "https" && port == "443") {
		host += ":" + port
	}
	return &url.URL{Scheme: u.Scheme, Host: host, Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/")}, nil
}

// address is the base URL with a path below it. Types and ids are checked by their callers to need no escaping.
func (c *connection) address(elem ...string) string {
	text := c.base.String()
	for _, e := range elem {
		text += "/" + e
	}
	return text
}

// plain tells whether what is sent to the URL travels unencrypted through a network.
func plain(u *url.URL) bool { return u.Scheme != "https" && !loopback(u.Hostname()) }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// transport has a deadline on each phase of a request, so that a peer which accepts and then says nothing cannot hold a
// run for ever. The whole request has one besides (Options.Timeout), which also bounds a body that trickles.
func transport(o Options) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  min(o.Timeout, 2*time.Minute),
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           o.Parallel,
		MaxIdleConnsPerHost:    o.Parallel,
		MaxConnsPerHost:        2 * o.Parallel,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
	}
}

// redirects lets reads follow a few redirects. A write is never redirected: its body would go to where nobody said. A
// read that leaves the host loses its credentials.
func redirects(r *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || len(via) > 5 || first.URL.Scheme == "https" && r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	if r.URL.Host != first.URL.Host {
		r.Header.Del("Authorization")
	}
	return nil
}

// reply is what came back of a request: an answer, or why there is none.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	code    string // without a whole answer: why
	unsent  bool   // nothing of the request can have reached the target
	started time.Time
}

// tree is the body as JSON; nil if it is none.
func (r *reply) tree() *fhir.Node {
	n, err := fhir.Parse(r.body)
	if err != nil {
		return nil
	}
	return n
}

// bundle is the body as a Bundle of one of the types; nil if it is none.
func (r *reply) bundle(types ...string) *fhir.Bundle {
	b, err := fhir.ReadBundle(r.body)
	if err != nil || !slices.Contains(types, b.Type) {
		return nil
	}
	return b
}

// reason is the code and the path of what the body complains about.
func (r *reply) reason() (code, path string) {
	if !r.whole() {
		return r.code, ""
	}
	return load.Reason(r.tree())
}

// whole tells whether an answer arrived completely.
func (r *reply) whole() bool { return r.code == "" }

// doubtful tells whether the target may have acted although it did not say so: no whole answer, or a status by which a
// server or a proxy reports that something broke on the way.
func (r *reply) doubtful() bool {
	return !r.unsent && (!r.whole() || r.status == http.StatusRequestTimeout || r.status >= 500 && !r.throttled())
}

// throttled tells whether the target asked to be left alone for a while.
func (r *reply) throttled() bool {
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		return true
	}
	if r.status < 400 || r.status >= 500 {
		return false
	}
	code, _ := r.reason()
	return code == "throttled"
}

// ask sends one request when the pace allows and reads the answer. The reply says all that can be dealt with; an error
// means that the run cannot go on. A 401 is tried once more with fresh credentials.
func (c *connection) ask(ctx context.Context, op, method, target string, body []byte, header http.Header) (*reply, error) {
	for refreshed := false; ; {
		started, err := c.pace.Acquire(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		token, reading, err := c.credentials.get()
		if err != nil {
			c.pace.Release(started, load.Abandoned, -1)
			return nil, err
		}
		crash.Request(op, crash.Before)
		r := c.once(ctx, method, target, body, header, token.Reveal())
		crash.Request(op, crash.After)
		r.started = started
		health, after := r.health(c.now())
		if ctx.Err() != nil {
			health = load.Abandoned
		}
		c.pace.Release(started, health, after)
		c.log.Debug("request", zap.String("operation", op), zap.String("method", method), zap.Int("status", r.status),
			zap.String("code", r.code), zap.Int("bytes", len(body)), zap.Duration("took", c.now().Sub(started)))
		switch {
		case ctx.Err() != nil && !r.whole():
			return r, fmt.Errorf("%s: %w", op, ctx.Err())
		case r.status == http.StatusUnauthorized && !refreshed:
			if refreshed, err = c.credentials.refresh(reading); err != nil {
				return r, err
			} else if refreshed {
				continue
			}
			fallthrough
		case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden && !r.throttled():
			code, _ := r.reason()
			return r, &load.Error{Op: op, Status: r.status, Code: code, Err: load.ErrUnauthorized}
		}
		return r, nil
	}
}

// insist asks until there is a whole answer, within the bounds that the other requests have. It is for requests that may
// be repeated without harm.
func (c *connection) insist(ctx context.Context, op, method, address string, body []byte, header http.Header) (*reply, error) {
	c.pace.Again()
	var r *reply
	for attempt, throttles := 1, 0; attempt <= c.attempts && throttles <= mostThrottles; attempt++ {
		var err error
		if r, err = c.ask(ctx, op, method, address, body, header); err != nil {
			return nil, err
		}
		switch {
		case r.unsent, r.throttled():
			attempt--
			throttles++
		case !r.whole(), r.status >= 500, r.status == http.StatusRequestTimeout:
		case method == http.MethodGet && r.status == http.StatusOK && r.tree() == nil:
			// A page of something that stands before the server says nothing about what the server holds.
			r.code = load.CodeUnread
		default:
			return r, nil
		}
	}
	return nil, &load.Error{Op: op, Status: r.status, Code: r.code, Err: load.ErrUnavailable}
}

// parts calls f for each part of n things, of so many at most, some parts at a time. The first error ends all.
func (c *connection) parts(ctx context.Context, n, size int, f func(ctx context.Context, from, to int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := pool.New().WithMaxGoroutines(c.parallel).WithErrors().WithFirstError()
	for from := 0; from < n && ctx.Err() == nil; from += size {
		p.Go(func() error {
			err := f(ctx, from, min(from+size, n))
			if err != nil {
				cancel()
			}
			return err
		})
	}
	if err := p.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// health is what the reply says to the pace.
func (r *reply) health(now time.Time) (load.Health, time.Duration) {
	switch {
	case r.throttled():
		return load.Throttled, load.RetryAfter(r.header, now)
	case !r.whole() || r.status >= 500 || r.status == http.StatusRequestTimeout:
		return load.Failed, -1
	}
	return load.Healthy, -1
}

// once sends the request and reads the answer, and turns every error of the network into a code.
func (c *connection) once(ctx context.Context, method, target string, body []byte, header http.Header, token []byte) *reply {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return &reply{code: "invalid", unsent: true}
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", fhir.ContentType)
	request.Header.Set("User-Agent", "chartlift")
	request.Header.Set("Cache-Control", "no-cache") // what is there now: HAPI answers a search from its memory for a minute
	if body != nil {
		request.Header.Set("Content-Type", fhir.ContentType)
	}
	if len(token) > 0 {
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	// net/http repeats a request by itself when a kept connection turns out to be closed, but only one that it holds to
	// be idempotent, and POST is not among those. So nothing is sent twice behind our back.
	response, err := c.http.Do(request)
	if err != nil {
		return &reply{code: transportCode(err), unsent: !connected.Load()}
	}
	defer response.Body.Close()
	r := &reply{status: response.StatusCode, header: response.Header}
	r.body, err = io.ReadAll(io.LimitReader(response.Body, c.most+1))
	switch {
	case err != nil:
		r.code = transportCode(err)
	case int64(len(r.body)) > c.most:
		r.code = load.CodeUnread
	}
	if r.code != "" {
		r.body = nil
	}
	return r
}

// transportCode names what went wrong on the way. The errors themselves are not kept: they hold addresses and, where an
// answer was malformed, pieces of it.
func transportCode(err error) string {
	var (
		dns       *net.DNSError
		netErr    net.Error
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		alert     tls.AlertError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns):
		return "no-such-host"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &record),
		errors.As(err, &verify), errors.As(err, &alert):
		return "tls"
	}
	return load.CodeLost
}
