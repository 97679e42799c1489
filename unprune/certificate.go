package unprune

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// A Certificate is the evidence of a deletion: which network became which, by
// what method, without which samples, and what was measured. Digests are
// SHA-256 in hexadecimal. Signed, it is an in-toto statement about the output
// model in a DSSE envelope.
type Certificate struct {
	Input   Artifact  `json:"input"`             // the model in production
	Output  Artifact  `json:"-"`                 // the model without the samples: the statement's subject
	Initial *Artifact `json:"initial,omitempty"` // theta_0, if it was used

	Forget ForgetSet `json:"forget"`

	Method   map[string]string  `json:"method"`             // unlearner, rescoring and their settings
	Metrics  map[string]float64 `json:"metrics,omitempty"`  // as they were measured
	Versions map[string]string  `json:"versions,omitempty"` // of the program and what it ran on
	Seed     uint64             `json:"seed"`

	// Predecessor is the digest of the envelope of the deletion before this
	// one, whose output is this one's input; empty for the first.
	Predecessor string `json:"predecessor,omitempty"`
}

// An Artifact is a file.
type Artifact struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// NewArtifact digests a file's content.
func NewArtifact(name string, r io.Reader) (Artifact, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return Artifact{}, fmt.Errorf("unprune: %s: %w", name, err)
	}
	return Artifact{name, hex.EncodeToString(h.Sum(nil))}, nil
}

// A ForgetSet commits to the samples that were deleted without showing them;
// see SampleTree.
type ForgetSet struct {
	Root  string `json:"root"`
	Count int    `json:"count"`
}

// Types of the statement and the envelope.
const (
	statementType   = "https://in-toto.io/Statement/v1"
	predicateType   = "https://github.com/unprune/unprune/deletion/v1"
	envelopePayload = "application/vnd.in-toto+json"
)

type statement struct {
	Type          string      `json:"_type"`
	Subject       []subject   `json:"subject"`
	PredicateType string      `json:"predicateType"`
	Predicate     Certificate `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Sign returns the certificate as a signed envelope, in JSON.
func (c Certificate) Sign(ctx context.Context, key ed25519.PrivateKey) ([]byte, error) {
	payload, err := json.Marshal(statement{
		Type: statementType, PredicateType: predicateType, Predicate: c,
		Subject: []subject{{c.Output.Name, map[string]string{"sha256": c.Output.SHA256}}},
	})
	if err != nil {
		return nil, fmt.Errorf("unprune: certificate: %w", err)
	}
	signer, err := dsse.NewEnvelopeSigner(signingKey{verifyingKey(key.Public().(ed25519.PublicKey)), key})
	if err != nil {
		return nil, fmt.Errorf("unprune: certificate: %w", err)
	}
	e, err := signer.SignPayload(ctx, envelopePayload, payload)
	if err != nil {
		return nil, fmt.Errorf("unprune: certificate: %w", err)
	}
	text, err := json.MarshalIndent(e, "", "  ")
	return append(text, '\n'), err
}

// VerifyCertificate checks an envelope's signature by the key and returns what
// it says.
func VerifyCertificate(ctx context.Context, envelope []byte, key ed25519.PublicKey) (*Certificate, error) {
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, fmt.Errorf("unprune: this is not a certificate (a DSSE envelope in JSON): %w", err)
	}
	if e.PayloadType != envelopePayload {
		return nil, fmt.Errorf("unprune: the envelope holds %q, want an in-toto statement (%s)", e.PayloadType, envelopePayload)
	}
	verifier, err := dsse.NewEnvelopeVerifier(verifyingKey(key))
	if err != nil {
		return nil, fmt.Errorf("unprune: certificate: %w", err)
	}
	if _, err := verifier.Verify(ctx, &e); err != nil {
		return nil, fmt.Errorf("unprune: the certificate's signature is not by this key, or its content was changed")
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		return nil, fmt.Errorf("unprune: certificate: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	var s statement
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("unprune: the signed statement cannot be read: %w", err)
	}
	if s.Type != statementType || s.PredicateType != predicateType || len(s.Subject) != 1 {
		return nil, fmt.Errorf("unprune: the signed statement is of type %q, %q about %d subjects; want a deletion of one model", s.Type, s.PredicateType, len(s.Subject))
	}
	c := s.Predicate
	c.Output = Artifact{s.Subject[0].Name, s.Subject[0].Digest["sha256"]}
	return &c, nil
}

// Digest is what a successor names as its predecessor.
func Digest(envelope []byte) string {
	sum := sha256.Sum256(envelope)
	return hex.EncodeToString(sum[:])
}

// Follows checks that the certificate is the next after the one in envelope,
// which must have been verified: it names it, and begins with the model that
// the other ended with.
func (c *Certificate) Follows(envelope []byte, predecessor *Certificate) error {
	if c.Predecessor != Digest(envelope) {
		return fmt.Errorf("unprune: the certificate names the predecessor %.12s…, this one is %.12s…", c.Predecessor, Digest(envelope))
	}
	if c.Input.SHA256 != predecessor.Output.SHA256 {
		return fmt.Errorf("unprune: the certificate begins with model %.12s…, its predecessor ended with %.12s…", c.Input.SHA256, predecessor.Output.SHA256)
	}
	return nil
}

// verifyingKey and signingKey are Ed25519 keys as DSSE wants them. The key's
// name is the digest of the public key.
type verifyingKey ed25519.PublicKey

var errSignature = errors.New("the Ed25519 signature does not match")

func (k verifyingKey) Verify(_ context.Context, data, sig []byte) error {
	if len(k) != ed25519.PublicKeySize || !ed25519.Verify(ed25519.PublicKey(k), data, sig) {
		return errSignature
	}
	return nil
}

func (k verifyingKey) KeyID() (string, error)   { return Digest(k), nil }
func (k verifyingKey) Public() crypto.PublicKey { return ed25519.PublicKey(k) }

type signingKey struct {
	verifyingKey
	private ed25519.PrivateKey
}

func (k signingKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.private, data), nil
}
