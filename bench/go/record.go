// What is told of each request: a line of the log and its metrics.

package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

const (
	logBuffer     = 256 << 10
	logFlushEvery = 100 * time.Millisecond
)

// The statuses that are counted; any other one is counted as 0.
var statuses = [...]int{200, 201, 400, 401, 403, 404, 409, 500, 503}

// A requestLog writes many lines with one system call.
type requestLog struct {
	mutex   sync.Mutex
	buffer  *bufio.Writer
	file    io.Closer
	stopped chan struct{}
}

func openLog(path string) (*requestLog, error) {
	file := os.Stdout
	if path != "" {
		opened, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		file = opened
	}
	log := &requestLog{
		buffer:  bufio.NewWriterSize(file, logBuffer),
		file:    file,
		stopped: make(chan struct{}),
	}
	go log.flushNowAndThen()
	return log, nil
}

func (l *requestLog) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.buffer.Write(line)
}

func (l *requestLog) flushNowAndThen() {
	ticker := time.NewTicker(logFlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.mutex.Lock()
			l.buffer.Flush()
			l.mutex.Unlock()
		case <-l.stopped:
			return
		}
	}
}

func (l *requestLog) close() {
	close(l.stopped)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.buffer.Flush()
	l.file.Close()
}

// A recorder makes the middleware of a route.
type recorder struct {
	logger   zerolog.Logger
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newRecorder(log *requestLog) *recorder {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000000Z07:00"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	r := &recorder{
		logger: zerolog.New(log).With().Str("target", "http").Str("service", "yardstick").Logger(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total",
			Help: "Requests answered.",
		}, []string{"method", "path", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "http_request_duration_seconds",
			Help:    "Time to the last byte.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"method", "path"}),
	}
	prometheus.MustRegister(r.requests, r.seconds)
	return r
}

// of is the middleware of one route. Its handles are found now: finding them by their labels costs
// more than the rest of the record.
func (r *recorder) of(method, path string) gin.HandlerFunc {
	seconds := r.seconds.WithLabelValues(method, path)
	other := r.requests.WithLabelValues(method, path, "0")
	var handles [600]prometheus.Counter
	for _, status := range statuses {
		handles[status] = r.requests.WithLabelValues(method, path, strconv.Itoa(status))
	}
	return func(c *gin.Context) {
		started := time.Now()
		id := requestID()
		c.Writer.Header()["X-Request-Id"] = []string{id}
		c.Next()
		took, status := time.Since(started), c.Writer.Status()
		seconds.Observe(took.Seconds())
		counter := other
		if status < len(handles) && handles[status] != nil {
			counter = handles[status]
		}
		counter.Inc()
		r.logger.Info().
			Timestamp().
			Str("request_id", id).
			Str("method", method).
			Str("path", path).
			Int("status", status).
			Float64("duration_ms", float64(took.Microseconds())/1e3).
			Int("bytes", c.Writer.Size()).
			Msg("request")
	}
}

func requestID() string {
	const digits = "0123456789abcdef"
	var text [32]byte
	for half := range 2 {
		random := rand.Uint64()
		for i := range 16 {
			text[16*half+i] = digits[random&15]
			random >>= 4
		}
	}
	return string(text[:])
}
