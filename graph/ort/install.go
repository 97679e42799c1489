package ort

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// maxLibrary bounds the size of the file taken from a package, in bytes.
const maxLibrary = 512 << 20

// pythonTag is the Python version whose wheel is asked for, whichever Python
// runs pip: the library is the same in all of them.
const pythonTag = "3.12"

// Install fetches PinnedVersion with the package client that is at hand, pip
// first, then npm, and puts its library into the project's cache, where
// [Find] looks. The file's SHA-256 must be the one recorded in this package.
// An interrupted or failed installation leaves nothing in the cache. progress,
// which may be nil, is told what is being done.
func Install(ctx context.Context, progress func(string)) (Library, error) {
	if progress == nil {
		progress = func(string) {}
	}
	rel, ok := releases[platform()]
	if !ok {
		return Library{}, fmt.Errorf("ort: the packages of ONNX Runtime %s have no library for %s; build one and name it in %s",
			PinnedVersion, platform(), LibraryEnv)
	}
	dir, err := cacheDir()
	if err != nil {
		return Library{}, fmt.Errorf("ort: install: no cache folder: %w", err)
	}
	all := clients(rel)
	if len(all) == 0 {
		return Library{}, errors.New("ort: install: neither pip nor npm found; install one of them, or get ONNX Runtime " +
			MinVersion + " or newer otherwise and name its library in " + LibraryEnv)
	}
	var failed []string
	for _, c := range all {
		progress("fetching ONNX Runtime " + PinnedVersion + " with " + c.name)
		err := c.install(ctx, dir, rel.file)
		if err == nil {
			lib := Library{Path: filepath.Join(dir, rel.file), Version: PinnedVersion, Source: "cache, installed with " + c.name}
			progress("installed " + lib.Path)
			return lib, nil
		}
		if ctx.Err() != nil {
			return Library{}, fmt.Errorf("ort: install: %w", ctx.Err())
		}
		failed = append(failed, fmt.Sprintf("%s: %v", c.name, err))
	}
	return Library{}, fmt.Errorf("ort: install: no package client could do it: %s", strings.Join(failed, "; "))
}

// cacheDir is the folder of PinnedVersion in the user's cache.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "unprune", "onnxruntime", PinnedVersion), nil
}

// client is a package client that can fetch an archive with the library.
type client struct {
	name    string
	command []string // run in the folder where the archive shall be
	archive string   // pattern of the archive's name
	library packaged
	extract func(archive, entry string, w io.Writer) error
}

// clients returns those that this machine has, in order of preference.
func clients(rel release) []client {
	var all []client
	download := []string{"download", "onnxruntime==" + PinnedVersion, "--no-deps", "--only-binary=:all:",
		"--python-version", pythonTag, "--platform", rel.pip.tag,
		"--disable-pip-version-check", "--no-input", "--quiet"}
	pip := func(command ...string) {
		all = append(all, client{
			name:    strings.Join(command, " "),
			command: append(command, download...),
			archive: "onnxruntime-*.whl", library: rel.pip, extract: extractZip,
		})
	}
	for _, python := range pythons() {
		pip(python, "-m", "pip")
	}
	if path, err := exec.LookPath("pip3"); err == nil {
		pip(path)
	}
	if path, err := exec.LookPath("npm"); err == nil {
		all = append(all, client{
			name:    path,
			command: []string{path, "pack", "onnxruntime-node@" + PinnedVersion, "--silent"},
			archive: "onnxruntime-node-*.tgz", library: rel.npm, extract: extractTar,
		})
	}
	return all
}

// install fetches the archive and moves its library to dir/file.
func (c client) install(ctx context.Context, dir, file string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".install-*") // on one file system with its goal
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	if err := c.fetch(ctx, tmp); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(escapeGlob(tmp), c.archive))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("want one archive %s, have %d", c.archive, len(archives))
	}
	unpacked := filepath.Join(tmp, "library")
	if err := c.unpack(archives[0], unpacked); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archives[0]), err)
	}
	return os.Rename(unpacked, filepath.Join(dir, file))
}

func (c client) fetch(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if text := lastLine(stderr.String()); text != "" {
			return fmt.Errorf("%w: %s", err, text)
		}
		return err
	}
	return nil
}

// unpack writes the archive's library to path, synced, if it is the right one.
func (c client) unpack(archive, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if err := c.extract(archive, c.library.entry, io.MultiWriter(f, sum)); err != nil {
		return err
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != c.library.sha256 {
		return fmt.Errorf("%s has SHA-256 %s, recorded is %s: not installed", c.library.entry, have, c.library.sha256)
	}
	return errors.Join(f.Sync(), f.Close())
}

// extractZip writes the regular file entry of a zip archive to w.
func extractZip(archive, entry string, w io.Writer) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == entry })
	if i < 0 || !z.File[i].Mode().IsRegular() {
		return fmt.Errorf("no file %s in it", entry)
	}
	r, err := z.File[i].Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return copyBounded(w, r)
}

// extractTar writes the regular file entry of a gzipped tar archive to w.
func extractTar(archive, entry string, w io.Writer) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return fmt.Errorf("no file %s in it", entry)
		}
		if err != nil {
			return err
		}
		if h.Name == entry && h.Typeflag == tar.TypeReg {
			return copyBounded(w, r)
		}
	}
}

func copyBounded(w io.Writer, r io.Reader) error {
	n, err := io.Copy(w, io.LimitReader(r, maxLibrary+1))
	if err == nil && n > maxLibrary {
		err = fmt.Errorf("the library is larger than %d MiB", maxLibrary>>20)
	}
	return err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
