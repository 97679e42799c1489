package onnx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/unprune/unprune/onnx/internal/pb"
)

// externalFiles reads the tensors that a model keeps in other files. A model
// may come from anyone, so those files must be plain ones below its folder.
type externalFiles struct {
	root  *os.Root
	files map[string]*externalFile

	// Tensors may share bytes of a file; taken/size is bounded, lest a small
	// file fill the memory.
	taken, size int64
}

// maxSharing bounds how many times over the bytes of external files are read.
const maxSharing = 8

type externalFile struct {
	*os.File
	size int64
}

func newExternalFiles(root *os.Root) *externalFiles {
	return &externalFiles{root: root, files: map[string]*externalFile{}}
}

func (x *externalFiles) close() {
	for _, f := range x.files {
		f.Close()
	}
}

// externalRange is what the external_data entries of a tensor say.
type externalRange struct {
	location       string
	offset, length int64 // length is -1 when it is not given: the rest of the file
}

func parseExternal(entries []*pb.StringStringEntryProto) (externalRange, error) {
	r := externalRange{length: -1}
	for _, e := range entries {
		var err error
		switch e.GetKey() {
		case "location":
			r.location = e.GetValue()
		case "offset":
			r.offset, err = parseSize(e)
		case "length":
			r.length, err = parseSize(e)
		}
		if err != nil {
			return r, err
		}
	}
	return r, checkLocation(r.location)
}

func parseSize(e *pb.StringStringEntryProto) (int64, error) {
	n, err := strconv.ParseInt(e.GetValue(), 10, 64)
	if err != nil || n < 0 {
		return 0, formatErrorf("%s %q is not a number of bytes", e.GetKey(), shorten(e.GetValue()))
	}
	return n, nil
}

// checkLocation refuses names that lead out of the model's folder, or would on
// another system.
func checkLocation(location string) error {
	if location == "" {
		return formatErrorf("has no location")
	}
	slashed := strings.ReplaceAll(location, `\`, "/")
	hasDrive := len(location) > 1 && location[1] == ':'
	outside := hasDrive || path.IsAbs(slashed) || strings.Contains(location, "\x00") ||
		!filepath.IsLocal(filepath.FromSlash(location))
	for _, part := range strings.Split(slashed, "/") {
		outside = outside || part == ".."
	}
	if outside {
		return formatErrorf("location %q is not a file below the model's folder", shorten(location))
	}
	return nil
}

// read returns the n elements of t from the file that entries name.
func (x *externalFiles) read(entries []*pb.StringStringEntryProto, t *Tensor, n int) (any, error) {
	r, err := parseExternal(entries)
	if err != nil {
		return nil, err
	}
	f, err := x.open(r.location)
	if err != nil {
		return nil, err
	}
	if r.offset > f.size {
		return nil, formatErrorf("offset %d is past the end of %q, which has %d bytes", r.offset, r.location, f.size)
	}
	if r.length < 0 {
		r.length = f.size - r.offset
	}
	if r.length > f.size-r.offset {
		return nil, formatErrorf("%q has %d bytes, too few for %d bytes at offset %d", r.location, f.size, r.length, r.offset)
	}
	if x.taken += r.length; x.taken > maxSharing*x.size {
		return nil, unsupportedf("tensors share the bytes of external files more than %d times over", maxSharing)
	}
	if err := checkRawSize(r.length, t, n); err != nil {
		return nil, err
	}
	raw := make([]byte, r.length)
	if err := readAt(f, raw, r.offset); err != nil {
		return nil, formatErrorf("%q cannot be read: %v", r.location, withoutPath(err))
	}
	t.External = r.location
	return rawElements(raw, t.DType), nil
}

// open opens a file once per model.
func (x *externalFiles) open(location string) (*externalFile, error) {
	if f, ok := x.files[location]; ok {
		return f, nil
	}
	if x.root == nil {
		return nil, unsupportedf("the data are in %q, but the model was not read from a folder", shorten(location))
	}
	file, info, err := openBelow(x.root, path.Clean(filepath.ToSlash(location)))
	if err != nil {
		var formatErr *FormatError
		if errors.As(err, &formatErr) {
			return nil, err
		}
		return nil, formatErrorf("%q cannot be opened: %v", shorten(location), withoutPath(err))
	}
	f := &externalFile{file, info.Size()}
	x.files[location] = f
	x.size += f.size
	return f, nil
}

// withoutPath strips what the error message says already.
func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// openBelow opens the regular file name (with slashes) below root. No part of
// the name may be a symbolic link, and the file may have no other name. What is
// opened is compared with what was looked at, so that exchanging one for the
// other in between is noticed.
func openBelow(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	folder, name, isNested := strings.Cut(name, "/")
	if !isNested {
		return openRegular(root, folder)
	}
	seen, err := root.Lstat(folder)
	if err != nil {
		return nil, nil, err
	}
	if !seen.IsDir() {
		return nil, nil, formatErrorf("%q is not a folder but %v; links are not followed", folder, kindOf(seen))
	}
	sub, err := root.OpenRoot(folder)
	if err != nil {
		return nil, nil, err
	}
	defer sub.Close()
	opened, err := sub.Stat(".")
	if err != nil {
		return nil, nil, err
	}
	if !os.SameFile(seen, opened) {
		return nil, nil, formatErrorf("%q was exchanged while it was opened", folder)
	}
	return openBelow(sub, name)
}

func openRegular(folder *os.Root, name string) (*os.File, fs.FileInfo, error) {
	seen, err := folder.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, formatErrorf("%q is not a plain file but %v", name, kindOf(seen))
	}
	file, err := folder.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !os.SameFile(seen, info):
		err = formatErrorf("%q was exchanged while it was opened", name)
	case hasOtherNames(info):
		err = formatErrorf("%q is a hard link: the file has other names too", name)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// kindOf says what info is, for a message about what it is not.
func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&(fs.ModeDevice|fs.ModeCharDevice) != 0:
		return "a device"
	case mode.IsRegular():
		return "a file"
	default:
		return fmt.Sprintf("something else (%v)", mode.Type())
	}
}
