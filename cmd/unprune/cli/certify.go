package cli

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// certifyOptions are the flags of commands that issue certificates.
type certifyOptions struct {
	path        string
	key         string
	predecessor string
}

func (o *certifyOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.path, "certificate", "", "write a signed certificate of the deletion to this `file`")
	f.StringVar(&o.key, "sign-key", "", "private Ed25519 key that signs it, a PEM `file` (see \"unprune certificate key\")")
	f.StringVar(&o.predecessor, "predecessor", "", "certificate `file` of the deletion before this one, which produced MODEL")
}

// check refuses what could not be certified, before anything is computed.
func (o *certifyOptions) check() error {
	if o.path == "" {
		if o.key != "" || o.predecessor != "" {
			return usagef("--sign-key and --predecessor are for --certificate")
		}
		return nil
	}
	if o.key == "" {
		return usagef("--certificate needs --sign-key; make a key with \"unprune certificate key\"")
	}
	if _, err := readPrivateKey(o.key); err != nil {
		return err
	}
	return checkWritable(o.path)
}

// notLearnedAgain refuses training data that still holds the samples that the
// predecessor deleted: what is kept would teach them again.
func (o *certifyOptions) notLearnedAgain(ctx context.Context, d *data.Dataset) error {
	if o.predecessor == "" {
		return nil
	}
	key, err := readPrivateKey(o.key)
	if err != nil {
		return err
	}
	before, err := readNamed(o.predecessor, "certificate")
	if err != nil {
		return err
	}
	c, err := unprune.VerifyCertificate(ctx, before, key.Public().(ed25519.PublicKey))
	if err != nil {
		return fmt.Errorf("--predecessor %s: %w", o.predecessor, err)
	}
	what := c.Method["forget"]
	f, err := data.ParseForget(what)
	if err != nil {
		return nil // a file, say, that only its owner can resolve
	}
	rows, err := f.Select(d, c.Seed)
	if err != nil || len(rows) == 0 {
		return nil // they are not there any more
	}
	tree, err := unprune.NewSampleTree(d, rows, saltSecret(key))
	if err != nil || tree.Commitment() != c.Forget {
		return err
	}
	return fmt.Errorf("--train still holds the %d samples that the predecessor deleted (%s), and what is kept would teach them again: add --without %s, or take them out of the data", c.Forget.Count, what, what)
}

// An issued certificate, for the report.
type issued struct {
	path     string
	envelope []byte
	key      ed25519.PublicKey
	unprune.Certificate
}

// write issues the certificate of a deletion whose output was written; nil if
// none was asked for.
func (o *certifyOptions) write(ctx context.Context, a *app, r *request, method map[string]string, metrics map[string]float64) (*issued, error) {
	if o.path == "" {
		return nil, nil
	}
	key, err := readPrivateKey(o.key)
	if err != nil {
		return nil, err
	}
	c, err := o.certificate(ctx, a, r, method, metrics, key)
	if err != nil {
		return nil, err
	}
	envelope, err := c.Sign(ctx, key)
	if err != nil {
		return nil, err
	}
	err = writeFile(o.path, func(w io.Writer) error { _, err := w.Write(envelope); return err })
	return &issued{o.path, envelope, key.Public().(ed25519.PublicKey), c}, err
}

// certificate is the statement to be signed.
func (o *certifyOptions) certificate(ctx context.Context, a *app, r *request, method map[string]string, metrics map[string]float64, key ed25519.PrivateKey) (unprune.Certificate, error) {
	p := r.problem
	tree, err := unprune.NewSampleTree(p.Train, p.Forget, saltSecret(key))
	if err != nil {
		return unprune.Certificate{}, err
	}
	c := unprune.Certificate{
		Forget: tree.Commitment(), Method: method, Metrics: metrics, Seed: a.seed,
		Versions: map[string]string{"unprune": versionLine()},
	}
	if c.Input, err = modelArtifact(r.path); err != nil {
		return c, err
	}
	if c.Output, err = modelArtifact(r.opt.output); err != nil {
		return c, err
	}
	if r.opt.initial != "" {
		initial, err := modelArtifact(r.opt.initial)
		if err != nil {
			return c, err
		}
		c.Initial = &initial
	}
	if o.predecessor != "" {
		if err := o.follow(ctx, &c, key.Public().(ed25519.PublicKey)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// follow makes the certificate the next after the predecessor.
func (o *certifyOptions) follow(ctx context.Context, c *unprune.Certificate, key ed25519.PublicKey) error {
	before, err := readNamed(o.predecessor, "certificate")
	if err != nil {
		return err
	}
	c.Predecessor = unprune.Digest(before)
	previous, err := unprune.VerifyCertificate(ctx, before, key)
	if err != nil {
		return fmt.Errorf("--predecessor %s: %w", o.predecessor, err)
	}
	return c.Follows(before, previous)
}
