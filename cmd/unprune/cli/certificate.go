package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// modelArtifact digests a model's file, or an embedded network.
func modelArtifact(path string) (unprune.Artifact, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if e, ok := embedded(path); ok {
			return unprune.NewArtifact(path, bytes.NewReader(e))
		}
	}
	if err != nil {
		return unprune.Artifact{}, fmt.Errorf("model %s: %w", path, err)
	}
	return unprune.NewArtifact(filepath.Base(path), bytes.NewReader(b))
}

// saltSecret derives the secret of the salts from the key: who signs can prove.
func saltSecret(key ed25519.PrivateKey) []byte {
	mac := hmac.New(sha256.New, key.Seed())
	mac.Write([]byte("unprune: salts of deleted samples"))
	return mac.Sum(nil)
}

func readNamed(path, what string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %s: there is no such file", what, path)
	}
	return b, err
}

// The PEM blocks of keys.
const (
	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
)

func readPrivateKey(path string) (ed25519.PrivateKey, error) {
	b, err := readNamed(path, "key")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != privateBlock {
		return nil, fmt.Errorf("key %s is not a private key in PEM; make one with \"unprune certificate key\"", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	if k, ok := key.(ed25519.PrivateKey); ok {
		return k, nil
	}
	return nil, fmt.Errorf("key %s is not an Ed25519 key; make one with \"unprune certificate key\"", path)
}

func readPublicKey(path string) (ed25519.PublicKey, error) {
	b, err := readNamed(path, "key")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != publicBlock {
		return nil, fmt.Errorf("key %s is not a public key in PEM", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	if k, ok := key.(ed25519.PublicKey); ok {
		return k, nil
	}
	return nil, fmt.Errorf("key %s is not an Ed25519 key", path)
}

func certificateCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "certificate", GroupID: groupLook, Short: "Issue and check the evidence of deletions: certificate verify FILE",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("certificate: there is no command %q; there are key, verify and prove", args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.certificateKey(), a.certificateVerify(), a.certificateProve())
	return cmd
}

func (a *app) certificateKey() *cobra.Command {
	var out string
	return a.command(spec{
		use:   "key",
		short: "Make a key pair that signs certificates",
		long: `Key writes a new Ed25519 private key to FILE and its public key to FILE.pub, in
PEM. The private key also makes the salts of the deleted samples' digests: keep
it, or membership of a sample can no longer be proven.`,
		example: `  unprune certificate key -o deletion.pem`,
		flags:   func(f *pflag.FlagSet) { f.StringVarP(&out, "output", "o", "", "`file` for the private key") },
		run: func(context.Context, []string) error {
			if out == "" {
				return usagef("certificate key: -o is missing: name the file for the private key")
			}
			if _, err := os.Stat(out); err == nil {
				return fmt.Errorf("key %s is there already, and is not overwritten", out)
			}
			return writeKeys(out)
		},
	})
}

func writeKeys(path string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	known, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: secret}), 0o600); err != nil {
		return unwritable(path, err)
	}
	return writeFile(path+".pub", func(w io.Writer) error { return pem.Encode(w, &pem.Block{Type: publicBlock, Bytes: known}) })
}

// verifyCertificateOptions say what a certificate is compared with.
type verifyCertificateOptions struct {
	key                    string
	input, output, initial string
	predecessor            string
	proof                  string
	data                   dataOptions
	sample                 int
}

func (a *app) certificateVerify() *cobra.Command {
	var o verifyCertificateOptions
	return a.command(spec{
		use: "verify FILE", min: 1, max: 1,
		short: "Check the evidence of a deletion",
		long: `Verify checks a certificate's signature and, as far as files are given, that
it is about these models, that it follows its predecessor, and that a sample is
among those deleted. It exits with 3 if any check fails.`,
		example: `  unprune certificate verify deletion.json --key deletion.pem.pub --input pruned.onnx --output forgotten.onnx
  unprune certificate verify deletion.json --key deletion.pem.pub --proof proof.json --train train.npz --sample 17`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.key, "key", "", "public key of whoever signed, a PEM `file`")
			f.StringVar(&o.input, "input", "", "the `model` before the deletion")
			f.StringVar(&o.output, "output", "", "the `model` after it")
			f.StringVar(&o.initial, "initial", "", "the `model` with the initial weights")
			f.StringVar(&o.predecessor, "predecessor", "", "the certificate `file` before this one")
			f.StringVar(&o.proof, "proof", "", "`file` with the proof that a sample was deleted (see \"unprune certificate prove\")")
			o.data.addTrain(f)
			o.data.addNormalize(f)
			f.IntVar(&o.sample, "sample", 0, "its number in --train, from 0")
		},
		run: func(ctx context.Context, args []string) error {
			if o.key == "" {
				return usagef("certificate verify: --key is missing: give the signer's public key")
			}
			return a.verifyCertificate(ctx, args[0], o)
		},
	})
}

func (a *app) verifyCertificate(ctx context.Context, path string, o verifyCertificateOptions) error {
	envelope, err := readNamed(path, "certificate")
	if err != nil {
		return err
	}
	key, err := readPublicKey(o.key)
	if err != nil {
		return err
	}
	c, err := unprune.VerifyCertificate(ctx, envelope, key)
	if err != nil {
		return brokenError{err}
	}
	if err := o.compareModels(c); err != nil {
		return err
	}
	if o.predecessor != "" {
		before, err := readNamed(o.predecessor, "certificate")
		if err != nil {
			return err
		}
		previous, err := unprune.VerifyCertificate(ctx, before, key)
		if err != nil {
			return brokenf("--predecessor %s: %w", o.predecessor, err)
		}
		if err := c.Follows(before, previous); err != nil {
			return brokenError{err}
		}
	}
	if o.proof != "" {
		if err := o.checkProof(c); err != nil {
			return err
		}
	}
	whole := struct {
		*unprune.Certificate
		Output unprune.Artifact `json:"output"` // the statement's subject
	}{c, c.Output}
	return a.print(whole, func(w io.Writer) { writeCertificate(w, c) })
}

// compareModels checks the digests of the models that were given.
func (o *verifyCertificateOptions) compareModels(c *unprune.Certificate) error {
	initial := unprune.Artifact{}
	if c.Initial != nil {
		initial = *c.Initial
	}
	for _, m := range []struct {
		flag, path string
		want       unprune.Artifact
	}{{"input", o.input, c.Input}, {"output", o.output, c.Output}, {"initial", o.initial, initial}} {
		if m.path == "" {
			continue
		}
		have, err := modelArtifact(m.path)
		if err != nil {
			return err
		}
		if have.SHA256 != m.want.SHA256 {
			return brokenf("--%s %s is not the model that the certificate names (%s, SHA-256 %.16s…): its SHA-256 is %.16s…", m.flag, m.path, m.want.Name, m.want.SHA256, have.SHA256)
		}
	}
	return nil
}

// checkProof checks that a sample is among those deleted.
func (o *verifyCertificateOptions) checkProof(c *unprune.Certificate) error {
	b, err := readNamed(o.proof, "proof")
	if err != nil {
		return err
	}
	var m unprune.Membership
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("proof %s cannot be read: %w", o.proof, err)
	}
	d, err := o.data.samples(o.sample)
	if err != nil {
		return err
	}
	if err := c.Forget.Verify(m, unprune.SampleDigest(d, o.sample)); err != nil {
		return brokenError{err}
	}
	return nil
}

// samples reads --train as it is, normalised, and checks that it has a sample.
func (o *dataOptions) samples(row int) (*data.Dataset, error) {
	if o.train == "" {
		return nil, usagef("--train is missing: a sample is needed to check its proof")
	}
	d, err := o.read(o.train, data.Train)
	if err != nil {
		return nil, fmt.Errorf("--train: %w", err)
	}
	n, err := o.normalization()
	if err != nil {
		return nil, err
	}
	if o.normalize == "" && o.train == embeddedData {
		n = embeddedNormalization()
	}
	if row < 0 || row >= d.Len() {
		return nil, fmt.Errorf("--sample %d: --train has samples 0 to %d", row, d.Len()-1)
	}
	return d, n.Apply(d)
}

func writeCertificate(w io.Writer, c *unprune.Certificate) {
	table(w, func(w io.Writer) {
		fmt.Fprintf(w, "input\t%s\t%s\n", c.Input.Name, c.Input.SHA256)
		fmt.Fprintf(w, "output\t%s\t%s\n", c.Output.Name, c.Output.SHA256)
		if c.Initial != nil {
			fmt.Fprintf(w, "initial weights\t%s\t%s\n", c.Initial.Name, c.Initial.SHA256)
		}
		fmt.Fprintf(w, "deleted\t%d samples\t%s\n", c.Forget.Count, c.Forget.Root)
		if c.Predecessor != "" {
			fmt.Fprintf(w, "follows\t\t%s\n", c.Predecessor)
		}
		for _, name := range slices.Sorted(maps.Keys(c.Method)) {
			fmt.Fprintf(w, "%s\t%s\n", name, c.Method[name])
		}
		for _, name := range slices.Sorted(maps.Keys(c.Metrics)) {
			fmt.Fprintf(w, "%s\t%.4g\n", name, c.Metrics[name])
		}
	})
	fmt.Fprintln(w, "The signature holds, and all that was given to compare with agrees.")
}

func (a *app) certificateProve() *cobra.Command {
	var o requestOptions
	var key, out string
	var sample int
	return a.command(spec{
		use:   "prove",
		short: "Prove that one sample was deleted, without showing the others",
		long: `Prove writes the proof that a sample is among the deleted ones that a
certificate commits to. It needs the key that signed, and the same --train,
--forget, --normalize and --seed as the deletion.`,
		example: `  unprune certificate prove --sign-key deletion.pem --train train.npz --forget class:3 --sample 17 -o proof.json`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&key, "sign-key", "", "private key that signed, a PEM `file`")
			o.data.addTrain(f)
			o.data.addForget(f)
			o.data.addNormalize(f)
			f.IntVar(&sample, "sample", 0, "the sample's number in --train, from 0")
			f.StringVarP(&out, "output", "o", "", "output `file`")
		},
		run: func(context.Context, []string) error {
			if key == "" || out == "" || o.data.forget == "" {
				return usagef("certificate prove: --sign-key, --forget and -o are needed")
			}
			return a.prove(key, out, o.data, sample)
		},
	})
}

func (a *app) prove(keyFile, out string, o dataOptions, sample int) error {
	key, err := readPrivateKey(keyFile)
	if err != nil {
		return err
	}
	d, err := o.samples(sample)
	if err != nil {
		return err
	}
	_, forget, err := o.selectForget(d, a.seed)
	if err != nil {
		return err
	}
	at, ok := slices.BinarySearch(forget, sample)
	if !ok {
		return fmt.Errorf("sample %d is not among the %d that --forget %s selects", sample, len(forget), o.forget)
	}
	tree, err := unprune.NewSampleTree(d, forget, saltSecret(key))
	if err != nil {
		return err
	}
	m, err := tree.Prove(at)
	if err != nil {
		return err
	}
	return writeJSON(out, m)
}
