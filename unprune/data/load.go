package data

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Role says which half of a folder that holds both is meant.
type Role int

// The roles.
const (
	Train Role = iota
	Test
)

// String names the role for messages.
func (r Role) String() string {
	if r == Test {
		return "test"
	}
	return "training"
}

// Load reads the dataset at path: a .npz file, "file.npz:images,labels" to name its
// arrays, or a folder (see LoadFS).
func Load(path string, role Role) (*Dataset, error) {
	file, arrays := splitArrays(path)
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if info.IsDir() {
		d, err := LoadFS(os.DirFS(file), role)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return d, nil
	}
	d, err := loadNPZ(file, arrays)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

// LoadFS reads a folder of IDX files, of CIFAR binaries, or of class folders with images.
func LoadFS(folder fs.FS, role Role) (*Dataset, error) {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var files, folders []string
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		} else {
			files = append(files, e.Name())
		}
	}
	switch {
	case hasIDX(files):
		return loadIDX(folder, files, role)
	case cifarOf(files) != nil:
		return loadCIFAR(folder, *cifarOf(files), role)
	case len(folders) > 0:
		return loadClassFolders(folder, folders, role)
	}
	return nil, fmt.Errorf("data: the folder holds no data set: want IDX files (train-images-idx3-ubyte[.gz] ...), CIFAR binaries (data_batch_1.bin or train.bin ...), or a folder of images per class")
}

// splitArrays splits "file.npz:images,labels".
func splitArrays(path string) (file string, arrays []string) {
	i := strings.LastIndex(path, ".npz:")
	if i < 0 {
		return path, nil
	}
	return path[:i+4], strings.Split(path[i+5:], ",")
}

// bytesToUnit maps pixels to 0..1 as v/255 in float32.
func bytesToUnit(pixels []uint8) []float32 {
	x := make([]float32, len(pixels))
	for i, v := range pixels {
		x[i] = float32(v) / 255
	}
	return x
}
