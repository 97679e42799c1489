package ops_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/unprune/unprune/graph/ops"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestRegistryGolden shows the whole registry in one sorted list, so that what
// a change adds or takes away is seen in its diff.
func TestRegistryGolden(t *testing.T) {
	const path = "testdata/ops.golden"
	var b bytes.Buffer
	fmt.Fprintln(&b, "# operator: versions; gradient (rule, body, none); kernel; body; axes rule. Written by go test -update.")
	for _, op := range ops.All() {
		name := op.Name
		if op.Domain != "" {
			name = op.Domain + "." + name
		}
		gradient := "none"
		switch {
		case op.Grad != nil:
			gradient = "rule"
		case op.Body != nil && op.NoGrad == "":
			gradient = "body"
		}
		fmt.Fprintf(&b, "%s: %v; gradient %s; kernel %s; body %s; axes %s\n", name, op.Since, gradient, yes(op.Forward != nil), yes(op.Body != nil), yes(op.Axes != nil))
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the registry differs from %s; run go test -update and look at the diff. Have:\n%s", path, b.Bytes())
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
