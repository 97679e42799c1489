package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
	"github.com/unprune/unprune/unprune"
)

// TestOwnUnlearner builds testdata/own as a module of its own, as somebody else
// would, and runs its unlearner with the mask held, in the un-pruning loop and
// before the finish of rescoring.
func TestOwnUnlearner(t *testing.T) {
	own := buildOwn(t)
	samples := filepath.Join(t.TempDir(), "x.npz")
	writeSamples(t, samples, 200)
	run := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), own, args...)
		cmd.Dir = t.TempDir()
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return out, err
	}
	list, err := run("unlearn", "--unlearner", "list")
	if err != nil || !strings.Contains(string(list), "uniform") || !strings.Contains(string(list), "option rate") {
		t.Errorf("--unlearner list: %v\n%s", err, list)
	}
	job := []string{"lenet-300-100", "--train", samples, "--forget", "class:3", "--unlearner", "uniform", "--option", "rate=0.1", "-o", "out.onnx", "--json", "--quiet"}
	for _, how := range [][]string{
		{"unlearn"},
		{"run", "--rescore", "magnitude", "--rounds", "2"},
		{"run", "--initial", "lenet-300-100/theta0", "--dense", "lenet-300-100/dense", "--short-epochs", "2"},
	} {
		out, err := run(slices.Concat(how, job)...)
		var rows struct {
			Rows []struct{ Passes float64 }
		}
		if err == nil {
			err = json.Unmarshal(out, &rows)
		}
		if err != nil || len(rows.Rows) != 2 || rows.Rows[1].Passes == 0 {
			t.Errorf("%v: %v\n%s", how, err, out)
		}
	}
	if _, err := run(slices.Concat([]string{"unlearn"}, job, []string{"--option", "rate=much"})...); err == nil || !strings.Contains(err.Error(), "uniform: option rate=much: want a number") {
		t.Errorf("a wrong option gives %v", err)
	}
}

// buildOwn builds the program in a module that requires this one.
func buildOwn(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	const name = "github.com/unprune/unprune"
	text := strings.Replace(string(mod), "module "+name, "module example.org/own", 1) +
		"\nrequire " + name + " v0.0.0\n\nreplace " + name + " => " + filepath.ToSlash(root) + "\n"
	write := func(file string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", []byte(text))
	for file, from := range map[string]string{"go.sum": filepath.Join(root, "go.sum"), "main.go": "testdata/own/main.go"} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(file, content)
	}
	program := filepath.Join(dir, "own")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// TestOwnNames refuses an unlearner that could not be chosen.
func TestOwnNames(t *testing.T) {
	for _, name := range []string{"", "list", "ft"} {
		var errs strings.Builder
		if code := run(t.Context(), []string{"version"}, &errs, &errs, named(name)); code != exitFailed || !strings.Contains(errs.String(), "not taken") {
			t.Errorf("name %q: exit code %d, %s", name, code, &errs)
		}
	}
}

type named string

func (n named) Name() string                               { return string(n) }
func (named) Needs() unprune.Needs                         { return 0 }
func (named) Unlearn(context.Context, *unprune.Task) error { return nil }

// writeSamples writes n images of noise with labels 0 to 9 in turn.
func writeSamples(t *testing.T, file string, n int) {
	t.Helper()
	x, y := onnx.NewTensor(onnx.Float32, n, 1, 28, 28), onnx.NewTensor(onnx.Int64, n)
	x.Name, y.Name = "x", "y"
	r := rand.New(rand.NewPCG(7, 7))
	for i := range x.Len() {
		onnx.Of[float32](x)[i] = float32(r.NormFloat64())
	}
	for i := range n {
		onnx.Of[int64](y)[i] = int64(i % 10)
	}
	if err := writeFile(file, func(w io.Writer) error { return npz.Write(w, x, y) }); err != nil {
		t.Fatal(err)
	}
}
