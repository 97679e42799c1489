package models

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

// TestChecksums compares every file under testdata with its folder's
// SHA256SUMS, in both directions: nothing differs, nothing is unlisted.
func TestChecksums(t *testing.T) {
	lists, err := filepath.Glob("testdata/*/SHA256SUMS")
	if err != nil || len(lists) == 0 {
		t.Fatalf("found %d lists, error %v", len(lists), err)
	}
	for _, list := range lists {
		folder := filepath.Dir(list)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			want := readSums(t, list)
			got := sumFolder(t, folder)
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got[name] != want[name] {
					t.Errorf("%s: sum %q, listed %q", name, got[name], want[name])
				}
			}
			for _, name := range slices.Sorted(maps.Keys(got)) {
				if want[name] == "" {
					t.Errorf("%s is not listed", name)
				}
			}
		})
	}
}

// readSums reads lines of "<hexadecimal sum>  <name>".
func readSums(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sums := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		digest, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			t.Fatalf("%s: bad line %q", path, lines.Text())
		}
		sums[name] = digest
	}
	return sums
}

func sumFolder(t *testing.T, folder string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	tree := os.DirFS(folder)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == "SHA256SUMS" {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		sums[name] = sum(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestNets(t *testing.T) {
	for _, c := range []struct {
		net     Net
		name    string
		weights int
		floor   float64 // test accuracy that the pruned network must have reached
	}{
		{LeNet300(), "lenet-300-100", 3, 0.84},
		{LeNet5(), "lenet-5", 5, 0.82},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.net.Recipe
			if r.Name != c.name || r.TrainImages != 10000 || r.TestImages != 10000 || r.Batch != 128 {
				t.Errorf("recipe %q, %d and %d images, batch %d", r.Name, r.TrainImages, r.TestImages, r.Batch)
			}
			if r.TestAccuracy.Pruned < c.floor || r.TestAccuracy.Dense < r.TestAccuracy.Pruned {
				t.Errorf("test accuracy %+v, want pruned >= %v", r.TestAccuracy, c.floor)
			}
			if len(r.LayerSparsity) != c.weights || len(r.DistanceToTheta0) != 2*c.weights {
				t.Errorf("%d sparsities, %d distances", len(r.LayerSparsity), len(r.DistanceToTheta0))
			}
			for name, got := range r.LayerSparsity {
				if got != r.Sparsity {
					t.Errorf("%s: sparsity %v, want %v", name, got, r.Sparsity)
				}
			}
			for name, data := range map[string][]byte{
				"theta0.onnx": c.net.Theta0, "dense.onnx": c.net.Dense, "pruned.onnx": c.net.Pruned,
			} {
				if got := sum(data); got != r.SHA256[name] {
					t.Errorf("%s: sum %s, recipe says %s", name, got, r.SHA256[name])
				}
			}
		})
	}
}

func TestFashionMNIST(t *testing.T) {
	for name, shape := range map[string][]uint32{
		"train-images-idx3-ubyte.gz": {10000, 28, 28},
		"train-labels-idx1-ubyte.gz": {10000},
		"t10k-images-idx3-ubyte.gz":  {10000, 28, 28},
		"t10k-labels-idx1-ubyte.gz":  {10000},
	} {
		t.Run(name, func(t *testing.T) {
			data := gunzip(t, FashionMNIST(), name)
			header := []uint32{0x800 | uint32(len(shape))}
			size := uint32(1)
			for _, extent := range shape {
				header = append(header, extent)
				size *= extent
			}
			values := data[4*len(header):]
			for i, want := range header {
				if got := binary.BigEndian.Uint32(data[4*i:]); got != want {
					t.Errorf("header word %d: %d, want %d", i, got, want)
				}
			}
			if len(values) != int(size) {
				t.Errorf("%d values, want %d", len(values), size)
			}
			if len(shape) == 1 && slices.Max(values) != 9 {
				t.Errorf("largest label %d, want 9", slices.Max(values))
			}
		})
	}
}

func gunzip(t *testing.T, folder fs.FS, name string) []byte {
	t.Helper()
	packed, err := fs.ReadFile(folder, name)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
