// Where reads are answered from. Each cache asks the one behind it.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

const usersInMemory = 1_000_000

// A reader gives the body of an answer.
type reader interface {
	read(ctx context.Context, key userKey) ([]byte, error)
}

func newReader(s settings, behind *store) (reader, error) {
	switch s.read {
	case "postgres":
		return behind, nil
	case "redis":
		return newShared(s, behind)
	case "memory":
		return newMemory(s, behind), nil
	default:
		return nil, fmt.Errorf("-read %q is none of memory, redis, postgres", s.read)
	}
}

// memory is the in-process cache; who asks for what is being loaded waits for that load.
type memory struct {
	cache *otter.Cache[userKey, []byte]
	load  otter.LoaderFunc[userKey, []byte]
}

func newMemory(s settings, behind reader) *memory {
	return &memory{
		cache: otter.Must(&otter.Options[userKey, []byte]{
			MaximumSize:      usersInMemory,
			ExpiryCalculator: otter.ExpiryWriting[userKey, []byte](s.fresh),
		}),
		load: func(ctx context.Context, key userKey) ([]byte, error) {
			body, err := behind.read(ctx, key)
			if errors.Is(err, errNotFound) {
				return nil, fmt.Errorf("%w: %w", otter.ErrNotFound, err)
			}
			return body, err
		},
	}
}

func (m *memory) read(ctx context.Context, key userKey) ([]byte, error) {
	if body, found := m.cache.GetIfPresent(key); found {
		return body, nil
	}
	return m.cache.Get(ctx, key, m.load)
}

// shared is the cache in Redis.
type shared struct {
	client redis.Cmdable
	behind reader
	ttl    time.Duration
}

func newShared(s settings, behind reader) (*shared, error) {
	options, err := redis.ParseURL(s.redisURL)
	if err != nil {
		return nil, fmt.Errorf("-redis-url: %w", err)
	}
	options.PoolSize = s.redisPool
	options.MinIdleConns = s.redisPool
	options.DisableIdentity = true
	options.ReadTimeout = time.Second
	client := redis.NewClient(options)
	if !s.redisPipeline {
		return &shared{client: client, behind: behind, ttl: s.redisTTL}, nil
	}
	pipeline, err := client.AutoPipeline()
	if err != nil {
		return nil, err
	}
	return &shared{client: pipeline, behind: behind, ttl: s.redisTTL}, nil
}

func (s *shared) read(ctx context.Context, key userKey) ([]byte, error) {
	name := "yardstick:user:" + key.tenant + ":" + key.id.String()
	body, err := s.client.Get(ctx, name).Bytes()
	if err == nil {
		return body, nil
	}
	if !errors.Is(err, redis.Nil) {
		return nil, err
	}
	body, err = s.behind.read(ctx, key)
	if err != nil {
		return nil, err
	}
	return body, s.client.Set(ctx, name, body, s.ttl).Err()
}
