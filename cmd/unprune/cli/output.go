package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// writeFile writes a file so that it is never seen half written: under
// another name beside its place, synced, then renamed.
func writeFile(path string, write func(w io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return unwritable(path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	err = errors.Join(write(w), w.Flush(), f.Chmod(0o644), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// checkWritable reports early that an output could not be written. An empty
// path is fine.
func checkWritable(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return fmt.Errorf("output %s is a folder; name a file", path)
		}
		f, err := os.CreateTemp(filepath.Dir(path), ".unprune-*")
		if err != nil {
			return unwritable(path, err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return unwritable(path, err)
		}
	}
	return nil
}

// unwritable explains why path cannot be written.
func unwritable(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("output %s: there is no folder %s; make it first", path, dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("output %s: no permission to write into %s", path, dir)
	}
	return fmt.Errorf("output %s cannot be written: %w", path, err)
}

// makeFolder makes the folder for several outputs.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("output folder %s cannot be made: %w", path, err)
	}
	return checkWritable(filepath.Join(path, "run.yaml"))
}

// table writes rows in aligned columns; cells are separated by tabs and a row
// ends in a newline.
func table(w io.Writer, write func(w io.Writer)) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	write(tw)
	_ = tw.Flush() // as with fmt.Println, a closed standard output is nobody's business
}
