package data

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/unprune/unprune/onnx/npz"
)

// Forget is a parsed specification of what to forget. Exactly one of Classes,
// Random and File is set.
type Forget struct {
	Classes  []int64 // whole classes, or Fraction of each
	Fraction float64 // of each class, 0 < Fraction <= 1
	Random   float64 // share of all samples, 0 < Random < 1
	File     string  // sample indices or names
	text     string
}

// ParseForget reads a specification:
//
//	class:3       all samples of class 3
//	class:0+1     all samples of classes 0 and 1
//	class:3@0.5   half of class 3, chosen at random
//	random:0.1    a tenth of all samples, chosen at random
//	FILE          sample indices (from 0) or names, one a line, or a .npy array of indices
func ParseForget(text string) (Forget, error) {
	f := Forget{text: text}
	kind, rest, found := strings.Cut(text, ":")
	switch {
	case found && kind == "class":
		err := f.parseClasses(rest)
		return f, err
	case found && kind == "random":
		share, err := strconv.ParseFloat(rest, 64)
		if err != nil || !(share > 0 && share < 1) {
			return f, fmt.Errorf("data: forget %q: %q is not a share between 0 and 1", text, rest)
		}
		f.Random = share
	case text == "":
		return f, fmt.Errorf("data: nothing to forget: want class:3, class:0+1, class:3@0.5, random:0.1 or a file of sample indices")
	default:
		f.File = text
	}
	return f, nil
}

func (f *Forget) parseClasses(text string) error {
	list, share, partly := strings.Cut(text, "@")
	f.Fraction = 1
	if partly {
		v, err := strconv.ParseFloat(share, 64)
		if err != nil || !(v > 0 && v <= 1) {
			return fmt.Errorf("data: forget %q: %q is not a share between 0 and 1", f.text, share)
		}
		f.Fraction = v
	}
	for field := range strings.SplitSeq(list, "+") {
		c, err := strconv.ParseInt(field, 10, 32)
		if err != nil || c < 0 {
			return fmt.Errorf("data: forget %q: %q is not a class number", f.text, field)
		}
		if slices.Contains(f.Classes, c) {
			return fmt.Errorf("data: forget %q: class %d is named twice", f.text, c)
		}
		f.Classes = append(f.Classes, c)
	}
	return nil
}

// String is the specification as it was given.
func (f Forget) String() string { return f.text }

// Select returns the rising indices of the samples to forget. It is an error
// when there are none or when nothing would be left.
func (f Forget) Select(d *Dataset, seed uint64) ([]int, error) {
	indices, err := f.choose(d, seed)
	if err != nil {
		return nil, err
	}
	switch len(indices) {
	case 0:
		return nil, fmt.Errorf("data: forget %q selects no sample", f.text)
	case d.Len():
		return nil, fmt.Errorf("data: forget %q selects all %d samples: nothing would be left to keep", f.text, d.Len())
	}
	slices.Sort(indices)
	return indices, nil
}

func (f Forget) choose(d *Dataset, seed uint64) ([]int, error) {
	switch {
	case f.Classes != nil:
		return f.chooseClasses(d, seed)
	case f.Random > 0:
		all := make([]int, d.Len())
		for i := range all {
			all[i] = i
		}
		return draw(Stream(seed, "forget", "random"), all, f.Random), nil
	}
	b, err := os.ReadFile(f.File)
	if err != nil {
		return nil, fmt.Errorf("data: forget: %w (want class:3, class:0+1, class:3@0.5, random:0.1 or a file of sample indices)", err)
	}
	indices, err := ReadIndices(bytes.NewReader(b), int64(len(b)), d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.File, err)
	}
	return indices, nil
}

func (f Forget) chooseClasses(d *Dataset, seed uint64) ([]int, error) {
	var chosen []int
	for _, c := range f.Classes {
		var members []int
		for i, y := range d.Y {
			if y == c {
				members = append(members, i)
			}
		}
		if len(members) == 0 {
			return nil, fmt.Errorf("data: forget %q: there is no sample of class %d (the data has classes 0 to %d)", f.text, c, d.Classes-1)
		}
		if f.Fraction < 1 {
			members = draw(Stream(seed, "forget", fmt.Sprintf("class %d", c)), members, f.Fraction)
		}
		chosen = append(chosen, members...)
	}
	return chosen, nil
}

// draw chooses the share, to the nearest count, of the indices.
func draw(rng *rand.Rand, indices []int, share float64) []int {
	n := int(math.Round(share * float64(len(indices))))
	rng.Shuffle(len(indices), func(i, j int) { indices[i], indices[j] = indices[j], indices[i] })
	return indices[:n]
}

// ReadIndices reads sample indices (from 0) or, for data with names, names: a
// .npy array of integers, or text with one a line; empty lines and lines that
// begin with # are skipped.
func ReadIndices(r io.ReaderAt, size int64, d *Dataset) ([]int, error) {
	var magic [6]byte
	if n, _ := r.ReadAt(magic[:], 0); n == len(magic) && string(magic[:]) == "\x93NUMPY" {
		return arrayIndices(io.NewSectionReader(r, 0, size), size, d)
	}
	names := map[string]int{}
	for i, name := range d.Names {
		names[name] = i
	}
	var indices []int
	seen := map[int]bool{}
	lines := bufio.NewScanner(io.NewSectionReader(r, 0, size))
	for line := 1; lines.Scan(); line++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		i, known := names[text]
		if !known {
			v, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("data: line %d: %.40q is neither a sample index nor a sample's name", line, text)
			}
			i = v
		}
		if err := addIndex(i, d.Len(), seen); err != nil {
			return nil, fmt.Errorf("data: line %d: %w", line, err)
		}
		indices = append(indices, i)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("data: file of sample indices: %w", err)
	}
	return indices, nil
}

func arrayIndices(r io.Reader, size int64, d *Dataset) ([]int, error) {
	t, err := npz.ReadNPY(r, size)
	if err != nil {
		return nil, err
	}
	values, err := toLabels(t)
	if err != nil {
		return nil, fmt.Errorf("data: sample indices must be a vector of integers, not %v of shape %v", t.DType, t.Shape)
	}
	indices := make([]int, len(values))
	seen := map[int]bool{}
	for k, v := range values {
		indices[k] = int(v)
		if err := addIndex(indices[k], d.Len(), seen); err != nil {
			return nil, fmt.Errorf("data: element %d: %w", k, err)
		}
	}
	return indices, nil
}

// addIndex records an index that must be in range and new.
func addIndex(i, n int, seen map[int]bool) error {
	if i < 0 || i >= n {
		return fmt.Errorf("sample %d does not exist: the data has samples 0 to %d", i, n-1)
	}
	if seen[i] {
		return fmt.Errorf("sample %d is named twice", i)
	}
	seen[i] = true
	return nil
}
