package data

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/unprune/unprune/onnx"
)

const cifarPixels = 3 * 32 * 32 // red, green and blue planes, row by row

// cifar is one of the binary versions (Krizhevsky 2009): records of label
// bytes, of which the last is the class, and pixels.
type cifar struct {
	train, test []string
	labels      int // label bytes per record
	classes     int
}

var (
	cifar10 = cifar{
		train:  []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
		test:   []string{"test_batch.bin"},
		labels: 1, classes: 10,
	}
	cifar100 = cifar{train: []string{"train.bin"}, test: []string{"test.bin"}, labels: 2, classes: 100}
)

// cifarOf recognises the version by file names, nil if it is neither.
func cifarOf(files []string) *cifar {
	for _, c := range []*cifar{&cifar10, &cifar100} {
		for _, name := range append(c.train, c.test...) {
			if slices.Contains(files, name) {
				return c
			}
		}
	}
	return nil
}

// loadCIFAR reads images as [n, 3, 32, 32].
func loadCIFAR(folder fs.FS, c cifar, role Role) (*Dataset, error) {
	names := c.train
	if role == Test {
		names = c.test
	}
	var x []float32
	var y []int64
	record := c.labels + cifarPixels
	for _, name := range names {
		b, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		if cut := len(b) % record; cut != 0 {
			return nil, fmt.Errorf("data: %s: the image at byte %d is cut short", name, len(b)-cut)
		}
		for r := range slices.Chunk(b, record) {
			y = append(y, int64(r[c.labels-1]))
			x = append(x, bytesToUnit(r[c.labels:])...)
		}
	}
	return newDataset(onnx.FromSlice(x, len(y), 3, 32, 32), y, c.classes)
}
