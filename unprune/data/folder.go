package data

import (
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // the formats that are recognised
	_ "image/png"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/unprune/unprune/onnx"
)

// maxImage is the largest extent of an image, in pixels.
const maxImage = 4096

// loadClassFolders reads one folder of PNG or JPEG images per class. Classes
// are numbered in the order of their folders' names. If there are folders
// named train and test (or val), they hold the class folders and the role
// chooses between them.
func loadClassFolders(folder fs.FS, classes []string, role Role) (*Dataset, error) {
	for _, half := range [][]string{{"train"}, {"test", "val"}}[role] {
		if slices.Contains(classes, half) {
			sub, err := fs.Sub(folder, half)
			if err != nil {
				return nil, fmt.Errorf("data: %w", err)
			}
			return loadClasses(sub)
		}
	}
	return loadClasses(folder)
}

func loadClasses(folder fs.FS) (*Dataset, error) {
	names, err := fs.Glob(folder, "*/*")
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	slices.Sort(names)
	var classes, images []string
	var x []float32
	var y []int64
	var shape []int
	for _, name := range names {
		if !isImage(name) {
			continue
		}
		pixels, s, err := readImage(folder, name)
		if err != nil {
			return nil, err
		}
		if shape == nil {
			shape = s
		}
		if !slices.Equal(shape, s) {
			return nil, fmt.Errorf("data: image %s has shape %v, earlier ones have %v: bring all images to one size", name, s, shape)
		}
		if class := path.Dir(name); len(classes) == 0 || classes[len(classes)-1] != class {
			classes = append(classes, class)
		}
		images = append(images, name)
		x = append(x, bytesToUnit(pixels)...)
		y = append(y, int64(len(classes)-1))
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("data: the class folders hold no .png or .jpg images")
	}
	d, err := newDataset(onnx.FromSlice(x, append([]int{len(y)}, shape...)...), y, len(classes))
	if err != nil {
		return nil, err
	}
	d.Names = images
	return d, nil
}

func isImage(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".png", ".jpg", ".jpeg":
		return true
	}
	return false
}

// readImage returns the pixels plane by plane: one plane of grey or three of
// red, green and blue.
func readImage(folder fs.FS, name string) (pixels []uint8, shape []int, err error) {
	size, err := imageSize(folder, name)
	if err != nil {
		return nil, nil, fmt.Errorf("data: image %s: %w", name, err)
	}
	if size.Width > maxImage || size.Height > maxImage {
		return nil, nil, fmt.Errorf("data: image %s has %d x %d pixels, more than %d x %d", name, size.Width, size.Height, maxImage, maxImage)
	}
	f, err := folder.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return nil, nil, fmt.Errorf("data: image %s: %w", name, err)
	}
	pixels, planes := planesOf(img)
	return pixels, []int{planes, img.Bounds().Dy(), img.Bounds().Dx()}, nil
}

// imageSize reads no more than the image's header.
func imageSize(folder fs.FS, name string) (image.Config, error) {
	f, err := folder.Open(name)
	if err != nil {
		return image.Config{}, err
	}
	defer f.Close()
	c, _, err := image.DecodeConfig(f)
	return c, err
}

func planesOf(img image.Image) (pixels []uint8, planes int) {
	b := img.Bounds()
	n := b.Dx() * b.Dy()
	planes = 3
	if m := img.ColorModel(); m == color.GrayModel || m == color.Gray16Model {
		planes = 1
	}
	pixels = make([]uint8, planes*n)
	for i := range n {
		c := color.NRGBAModel.Convert(img.At(b.Min.X+i%b.Dx(), b.Min.Y+i/b.Dx())).(color.NRGBA)
		for p, v := range []uint8{c.R, c.G, c.B}[:planes] {
			pixels[p*n+i] = v
		}
	}
	return pixels, planes
}
