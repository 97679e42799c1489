package cli

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/unprune/unprune/graph/ort"
)

// TestDialects writes a pruned version of every exporter's file; the command
// itself verifies what it wrote with ONNX Runtime.
func TestDialects(t *testing.T) {
	lib, err := ort.Find("")
	if err != nil {
		t.Skip("SKIPPED, it needs ONNX Runtime: ", err)
	}
	files, err := filepath.Glob("../../../models/testdata/dialects/*.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.onnx")
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{"prune", file, "--sparsity", "0.95", "--ort", lib.Path, "--threads", "1", "-o", out}, &stdout, &stderr)
			if code != exitDone || !bytes.Contains(stderr.Bytes(), []byte("agrees within")) {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
		})
	}
}
