// A yardstick for Runnel: what a well-tuned, conventional Go stack gives on the same machine.
//
// It is what a good Go team would write without event sourcing: gin in release mode, golang-jwt
// with a memory of verified tokens, zerolog lines and prometheus metrics of every request,
// database/sql over pgx with prepared statements, go-redis, and otter as the in-process cache. The
// answers have the JSON fields of ours, and the settings that matter (pools, freshness, what is
// logged) are those of ours.
//
// What was tuned: GOGC 400; bodies made without reflection and kept as the bytes that are sent;
// metric handles found before the first request; a log that is flushed by size and time; queries
// that no request's context watches (PostgreSQL's statement_timeout bounds them); go-redis's
// automatic pipelines (65 to 78 us of processor time a hit against 88 to 130 with 16 or 64
// connections); a command's two inserts in one statement (255 us against 408 to 484 for begin, two
// inserts and commit). Both pairs were compared on a busy machine; -redis-pipeline=false and
// -write transaction are the other ones. What is left of a hit is net/http, two thirds of it.
//
// It leaves out what ours does besides: rate limits, consistency tokens, ETags and 304, fields by
// role, idempotency keys, If-Match, compression, traces, stale answers while the database is away,
// news of changed rows, and all that an event store is. Each omission is in its favour. Of what Go
// offers it leaves out a profile-guided build and HTTP servers other than net/http, gin's own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

type settings struct {
	listen, logFile                   string
	read, write                       string
	databaseURL, redisURL             string
	jwks, issuer, audience            string
	pool, redisPool, gogc             int
	redisPipeline                     bool
	fresh, redisTTL, tokenCache, stop time.Duration
}

func main() {
	if err := run(parse()); err != nil {
		fmt.Fprintln(os.Stderr, "yardstick:", err)
		os.Exit(1)
	}
}

func parse() settings {
	var s settings
	flag.StringVar(&s.listen, "listen", os.Getenv("BENCH_LISTEN"), "where requests are answered")
	flag.StringVar(&s.logFile, "log", "", "the log file; standard output when empty")
	flag.StringVar(&s.read, "read", "memory", "what answers reads: memory, redis or postgres")
	flag.StringVar(&s.write, "write", "statement",
		"how a command is written: statement (both inserts in one) or transaction (four round trips)")
	flag.StringVar(&s.databaseURL, "database-url", os.Getenv("DATABASE_URL"), "PostgreSQL")
	flag.StringVar(&s.redisURL, "redis-url", os.Getenv("REDIS_URL"), "Redis, for -read redis")
	flag.StringVar(&s.jwks, "jwks", os.Getenv("JWKS"), "the file of the public keys")
	flag.StringVar(&s.issuer, "issuer", "runnel-dev", "the iss that a token must carry")
	flag.StringVar(&s.audience, "audience", "runnel-dev", "the aud that a token must carry")
	flag.IntVar(&s.pool, "pool", 16, "connections to PostgreSQL")
	flag.IntVar(&s.redisPool, "redis-pool", 16, "connections to Redis")
	flag.BoolVar(&s.redisPipeline, "redis-pipeline", true, "send what waits to Redis together")
	flag.IntVar(&s.gogc, "gogc", 400, "GOGC")
	flag.DurationVar(&s.fresh, "fresh", time.Second, "how old an answer from memory can be")
	flag.DurationVar(&s.redisTTL, "redis-ttl", 10*time.Minute, "how long Redis keeps an answer")
	flag.DurationVar(&s.tokenCache, "token-cache", time.Minute, "how long a token is remembered")
	flag.DurationVar(&s.stop, "stop", 3*time.Second, "how long to wait for running requests")
	flag.Parse()
	return s
}

func run(s settings) error {
	debug.SetGCPercent(s.gogc)
	debug.SetMemoryLimit(1 << 30)
	log, err := openLog(s.logFile)
	if err != nil {
		return err
	}
	defer log.close()
	verifier, err := newVerifier(s)
	if err != nil {
		return err
	}
	store, err := openStore(s)
	if err != nil {
		return err
	}
	defer store.close()
	reader, err := newReader(s, store)
	if err != nil {
		return err
	}
	return serve(s, newRouter(verifier, newRecorder(log), reader, store))
}

func serve(s settings, handler http.Handler) error {
	server := &http.Server{
		Addr:              s.listen,
		Handler:           handler,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	stopped, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-stopped.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), s.stop)
	defer cancel()
	if err := server.Shutdown(deadline); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
