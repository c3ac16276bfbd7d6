// The routes: who may, what is asked, what is answered.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const bodyMax = 64 << 10

// Header values that every answer shares; nobody writes to them.
var (
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
	private     = []string{"private, no-cache"}
)

type routes struct {
	verifier *verifier
	reader   reader
	store    *store
}

func newRouter(v *verifier, record *recorder, reader reader, store *store) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := routes{v, reader, store}
	router := gin.New()
	router.Use(gin.Recovery())
	const user, users = "/v1/users/:id", "/v1/users"
	router.GET(user, record.of("GET", user), r.authenticated(r.user))
	router.POST(users, record.of("POST", users), r.authenticated(r.register))
	router.GET("/readyz", func(c *gin.Context) { c.Status(http.StatusOK) })
	router.GET("/metrics", gin.WrapH(promhttp.Handler()))
	return router
}

// authenticated hands the principal on as an argument: gin would keep it in a map.
func (r *routes) authenticated(next func(*gin.Context, *principal)) gin.HandlerFunc {
	return func(c *gin.Context) {
		who, err := r.verifier.verify(c.Request.Header.Get("Authorization"))
		if err != nil {
			problem(c, http.StatusUnauthorized, "token_invalid")
			return
		}
		next(c, who)
	}
}

func (r *routes) user(c *gin.Context, who *principal) {
	text := c.Param("id")
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		problem(c, http.StatusBadRequest, "invalid_parameter")
		return
	}
	// Without a context that can end, nothing has to watch the query.
	body, err := r.reader.read(context.WithoutCancel(c.Request.Context()), userKey{who.tenant, id})
	switch {
	case err == nil:
		answer(c, http.StatusOK, body)
	case errors.Is(err, errNotFound):
		problem(c, http.StatusNotFound, "user_not_found")
	default:
		problem(c, http.StatusServiceUnavailable, "unavailable")
	}
}

func (r *routes) register(c *gin.Context, who *principal) {
	if who.role != "admin" {
		problem(c, http.StatusForbidden, "forbidden")
		return
	}
	payload, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, bodyMax))
	if err != nil {
		problem(c, http.StatusBadRequest, "invalid_body")
		return
	}
	var asked registration
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&asked) != nil || !asked.valid() {
		problem(c, http.StatusBadRequest, "invalid_body")
		return
	}
	id := uuid.Must(uuid.NewV7())
	if asked.ID != nil {
		id = *asked.ID
	}
	ctx := context.WithoutCancel(c.Request.Context())
	switch err := r.store.register(ctx, userKey{who.tenant, id}, &asked, payload); {
	case err == nil:
		c.Writer.Header()["Location"] = []string{"/v1/users/" + id.String()}
		answer(c, http.StatusCreated, []byte(`{"id":"`+id.String()+`","version":1}`))
	case errors.Is(err, errTaken):
		problem(c, http.StatusConflict, "taken")
	default:
		problem(c, http.StatusServiceUnavailable, "unavailable")
	}
}

func answer(c *gin.Context, status int, body []byte) {
	header := c.Writer.Header()
	header["Content-Type"] = jsonType
	header["Cache-Control"] = private
	c.Writer.WriteHeader(status)
	c.Writer.Write(body)
}

func problem(c *gin.Context, status int, code string) {
	header := c.Writer.Header()
	header["Content-Type"] = problemType
	c.Writer.WriteHeader(status)
	c.Writer.Write([]byte(`{"title":"` + http.StatusText(status) + `","code":"` + code + `"}`))
	c.Abort()
}
