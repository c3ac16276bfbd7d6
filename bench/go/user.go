// A user: as it is served, and as it is asked for.

package main

import (
	"database/sql"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// A userKey names a user of a tenant.
type userKey struct {
	tenant string
	id     uuid.UUID
}

// A user is a row of the table.
type user struct {
	id                          uuid.UUID
	email, name                 sql.Null[string]
	region                      string
	bio, displayName, avatarURL sql.Null[string]
	status                      string
	version                     int64
	createdAt, lastActive       time.Time
}

// json is the body of an answer, field for field what ours sends to an admin.
func (u *user) json() []byte {
	b := make([]byte, 0, 512)
	b = append(b, `{"id":"`...)
	b = append(b, u.id.String()...)
	b = append(b, `","email":`...)
	b = appendText(b, u.email)
	b = append(b, `,"name":`...)
	b = appendText(b, u.name)
	b = append(b, `,"region":`...)
	b = appendString(b, u.region)
	b = append(b, `,"bio":`...)
	b = appendText(b, u.bio)
	b = append(b, `,"display_name":`...)
	b = appendText(b, u.displayName)
	b = append(b, `,"avatar_url":`...)
	b = appendText(b, u.avatarURL)
	b = append(b, `,"status":`...)
	b = appendString(b, u.status)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, u.version, 10)
	b = append(b, `,"created_at":"`...)
	b = appendInstant(b, u.createdAt)
	b = append(b, `","last_active":"`...)
	b = appendInstant(b, u.lastActive)
	return append(b, `"}`...)
}

func appendText(b []byte, text sql.Null[string]) []byte {
	if !text.Valid {
		return append(b, "null"...)
	}
	return appendString(b, text.V)
}

// appendString quotes plain ASCII by itself; what needs escapes goes through encoding/json.
func appendString(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a string cannot fail
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// appendInstant writes RFC 3339 in UTC with no, three or six digits, as ours does.
func appendInstant(b []byte, at time.Time) []byte {
	layout := "2006-01-02T15:04:05.000000Z"
	switch micros := at.Nanosecond() / 1000; {
	case micros == 0:
		layout = "2006-01-02T15:04:05Z"
	case micros%1000 == 0:
		layout = "2006-01-02T15:04:05.000Z"
	}
	return at.UTC().AppendFormat(b, layout)
}

// A registration is the body of POST /v1/users.
type registration struct {
	ID        *uuid.UUID `json:"id"`
	Email     string     `json:"email"`
	Name      string     `json:"name"`
	Region    string     `json:"region"`
	Bio       *string    `json:"bio"`
	AvatarURL *string    `json:"avatar_url"`
}

func (r *registration) valid() bool {
	email := len(r.Email) >= 3 && len(r.Email) <= 254
	at := 0
	for i := range len(r.Email) {
		if r.Email[i] == '@' {
			at++
		}
	}
	region := len(r.Region) >= 1 && len(r.Region) <= 32
	for i := range len(r.Region) {
		c := r.Region[i]
		region = region && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	name := len(r.Name) >= 1 && len(r.Name) <= 400
	return email && at == 1 && region && name && (r.Bio == nil || len(*r.Bio) <= 2000)
}
