// PostgreSQL by database/sql over pgx: a row of the user, and one of its event.

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

var (
	errNotFound = errors.New("there is no such user")
	errTaken    = errors.New("the id or the address is taken")
)

// A table as an application without event sourcing has it, and its audit trail.
const schema = `
create schema if not exists yardstick;
create table if not exists yardstick.users (
    tenant text collate "C" not null,
    id uuid not null,
    version bigint not null,
    status text collate "C" not null,
    email text collate "C",
    name text collate "C",
    region text collate "C" not null,
    bio text collate "C",
    display_name text collate "C",
    avatar_url text collate "C",
    created_at timestamptz not null,
    last_active timestamptz not null,
    primary key (tenant, id),
    unique (tenant, email)
);
create table if not exists yardstick.events (
    position bigint generated always as identity primary key,
    event_id uuid not null,
    tenant text collate "C" not null,
    user_id uuid not null,
    sequence bigint not null,
    recorded_at timestamptz not null default clock_timestamp(),
    event_type text collate "C" not null,
    payload json not null,
    unique (tenant, user_id, sequence)
)`

const selectUser = `
select version, status, email, name, region, bio, display_name, avatar_url, created_at, last_active
from yardstick.users where tenant = $1 and id = $2`

const insertUser = `
insert into yardstick.users
    (tenant, id, version, status, email, name, region, bio, avatar_url, created_at, last_active)
values ($1, $2, 1, 'active', $3, $4, $5, $6, $7, $8, $8)`

const insertEvent = `
insert into yardstick.events (event_id, tenant, user_id, sequence, event_type, payload)
values ($1, $2, $3, 1, 'UserRegistered', $4)`

// Both inserts and the commit in one round trip.
const insertBoth = `
with u as (
    insert into yardstick.users
        (tenant, id, version, status, email, name, region, bio, avatar_url, created_at, last_active)
    values ($1, $2, 1, 'active', $3, $4, $5, $6, $7, $8, $8)
)
insert into yardstick.events (event_id, tenant, user_id, sequence, event_type, payload)
values ($9, $1, $2, 1, 'UserRegistered', $10)`

// A store prepares each statement once a connection.
type store struct {
	db                                              *sql.DB
	selectUser, insertUser, insertEvent, insertBoth *sql.Stmt
	oneStatement                                    bool
}

func openStore(s settings) (*store, error) {
	config, err := pgx.ParseConfig(s.databaseURL)
	if err != nil {
		return nil, fmt.Errorf("-database-url: %w", err)
	}
	// What sqlx adds to the URL, and no server knows.
	delete(config.RuntimeParams, "statement-cache-capacity")
	// Bounds a query as ours is bounded, without a goroutine that watches each.
	config.RuntimeParams["statement_timeout"] = "2s"
	config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(s.pool)
	db.SetMaxIdleConns(s.pool)
	db.SetConnMaxLifetime(5 * time.Minute)
	if _, err := db.Exec(schema); err != nil {
		return nil, fmt.Errorf("making the tables: %w", err)
	}
	made := &store{db: db, oneStatement: s.write == "statement"}
	prepared := []struct {
		into **sql.Stmt
		text string
	}{
		{&made.selectUser, selectUser},
		{&made.insertUser, insertUser},
		{&made.insertEvent, insertEvent},
		{&made.insertBoth, insertBoth},
	}
	for _, statement := range prepared {
		if *statement.into, err = db.Prepare(statement.text); err != nil {
			return nil, fmt.Errorf("preparing: %w", err)
		}
	}
	return made, nil
}

func (s *store) close() {
	s.db.Close()
}

// read gives the body of an answer.
func (s *store) read(ctx context.Context, key userKey) ([]byte, error) {
	u := user{id: key.id}
	err := s.selectUser.QueryRowContext(ctx, key.tenant, [16]byte(key.id)).Scan(
		&u.version, &u.status, &u.email, &u.name, &u.region, &u.bio, &u.displayName, &u.avatarURL,
		&u.createdAt, &u.lastActive,
	)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	return u.json(), nil
}

// register writes the user and its event; when it returns nil, both are on disk.
func (s *store) register(ctx context.Context, key userKey, r *registration, payload []byte) error {
	event, id, now := [16]byte(uuid.New()), [16]byte(key.id), time.Now()
	user := []any{key.tenant, id, r.Email, r.Name, r.Region, r.Bio, r.AvatarURL, now}
	if s.oneStatement {
		_, err := s.insertBoth.ExecContext(ctx, append(user, event, payload)...)
		return taken(err)
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	if _, err := tx.StmtContext(ctx, s.insertUser).ExecContext(ctx, user...); err != nil {
		return taken(err)
	}
	insert := tx.StmtContext(ctx, s.insertEvent)
	if _, err := insert.ExecContext(ctx, event, key.tenant, id, payload); err != nil {
		return taken(err)
	}
	return tx.Commit()
}

func taken(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == "23505" {
		return errTaken
	}
	return err
}
