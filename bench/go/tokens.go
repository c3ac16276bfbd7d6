// Who asks: bearer tokens, verified against a JWKS file and then remembered for a while, as ours
// remembers them.

package main

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"
)

const tokensRemembered = 100_000

// A principal is what a verified token says.
type principal struct {
	tenant, sub, role string
	expires           time.Time
}

type claims struct {
	Tenant string `json:"tenant"`
	Role   string `json:"role"`
	jwt.RegisteredClaims
}

// A verifier knows the keys; each has one algorithm, whatever a token's header says.
type verifier struct {
	keys       map[string]verificationKey
	parser     *jwt.Parser
	remembered *otter.Cache[string, *principal]
}

type verificationKey struct {
	algorithm string
	key       any
}

type jwk struct {
	Kty, Crv, Kid, X, N, E string
}

var errUntrusted = errors.New("the token is not one that this service accepts")

func newVerifier(s settings) (*verifier, error) {
	text, err := os.ReadFile(s.jwks)
	if err != nil {
		return nil, fmt.Errorf("-jwks: %w", err)
	}
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("-jwks: %w", err)
	}
	keys := make(map[string]verificationKey)
	for _, entry := range set.Keys {
		key, err := entry.public()
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", entry.Kid, err)
		}
		keys[entry.Kid] = key
	}
	return &verifier{
		keys: keys,
		parser: jwt.NewParser(
			jwt.WithIssuer(s.issuer),
			jwt.WithAudience(s.audience),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(30*time.Second),
			jwt.WithValidMethods([]string{"EdDSA", "RS256"}),
		),
		remembered: otter.Must(&otter.Options[string, *principal]{
			MaximumSize:      tokensRemembered,
			ExpiryCalculator: otter.ExpiryWriting[string, *principal](s.tokenCache),
		}),
	}, nil
}

func (k jwk) public() (verificationKey, error) {
	switch {
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return verificationKey{}, errors.New("no Ed25519 key")
		}
		return verificationKey{"EdDSA", ed25519.PublicKey(x)}, nil
	case k.Kty == "RSA":
		n, errN := base64.RawURLEncoding.DecodeString(k.N)
		e, errE := base64.RawURLEncoding.DecodeString(k.E)
		if errN != nil || errE != nil {
			return verificationKey{}, errors.New("no RSA key")
		}
		key := rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		return verificationKey{"RS256", &key}, nil
	default:
		return verificationKey{}, fmt.Errorf("%s %s is not known here", k.Kty, k.Crv)
	}
}

// verify looks at an Authorization header.
func (v *verifier) verify(header string) (*principal, error) {
	token, found := strings.CutPrefix(header, "Bearer ")
	if !found {
		return nil, errUntrusted
	}
	if known, found := v.remembered.GetIfPresent(token); found && time.Now().Before(known.expires) {
		return known, nil
	}
	var said claims
	if _, err := v.parser.ParseWithClaims(token, &said, v.keyOf); err != nil {
		return nil, errUntrusted
	}
	if said.Tenant == "" || said.Subject == "" {
		return nil, errUntrusted
	}
	role := said.Role
	if role == "" {
		role = "user"
	}
	verified := &principal{said.Tenant, said.Subject, role, said.ExpiresAt.Time}
	v.remembered.Set(strings.Clone(token), verified)
	return verified, nil
}

func (v *verifier) keyOf(token *jwt.Token) (any, error) {
	id, _ := token.Header["kid"].(string)
	key, known := v.keys[id]
	if !known || key.algorithm != token.Method.Alg() {
		return nil, errUntrusted
	}
	return key.key, nil
}
