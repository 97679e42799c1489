package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinVersion is the oldest ONNX Runtime that offers the C interface that the
// binding is compiled against (its version 24).
const MinVersion = "1.24.0"

// LibraryEnv names the environment variable that says where the library is.
const LibraryEnv = "UNPRUNE_ORT_LIB"

// pythonTimeout bounds how long a Python may take to say where its packages are.
const pythonTimeout = 10 * time.Second

// Library is an ONNX Runtime shared library on disk.
type Library struct {
	Path    string // absolute
	Version string // as in "1.30.0"; empty when nothing but loading it tells
	Source  string // how it was found, for people
}

// NotFoundError says that no usable library was found, and where it was
// looked for.
type NotFoundError struct {
	Searched []string
}

func (e *NotFoundError) Error() string {
	return "ort: no ONNX Runtime " + MinVersion + " or newer found (looked in " + strings.Join(e.Searched, "; ") +
		"); install it with \"unprune runtime install\", or name the library in " + LibraryEnv
}

// Find looks for the library, and takes the first of: explicit, if not empty;
// the environment variable UNPRUNE_ORT_LIB; the project's own cache; the
// system's library folders; the onnxruntime package of a Python. A name given
// by the first two must be right: a library or a folder that has one. Find
// does not load anything.
func Find(explicit string) (Library, error) {
	for _, named := range []struct{ path, source string }{
		{explicit, "the path given"},
		{os.Getenv(LibraryEnv), LibraryEnv},
	} {
		if named.path != "" {
			return findNamed(named.path, named.source)
		}
	}
	var s search
	if dir, err := cacheDir(); err != nil {
		s.note("no cache folder: " + err.Error())
	} else if lib, ok := s.dir(dir, "cache"); ok {
		return lib, nil
	}
	for _, dir := range systemDirs() {
		if lib, ok := s.dir(dir, "system"); ok {
			return lib, nil
		}
	}
	for _, python := range pythons() {
		dir, err := wheelDir(python)
		if err != nil {
			s.note(fmt.Sprintf("%s: %v", python, err))
			continue
		}
		if lib, ok := s.dir(dir, "package onnxruntime of "+python); ok {
			return lib, nil
		}
	}
	return Library{}, &NotFoundError{Searched: s.searched}
}

// findNamed finds the library where a person says it is.
func findNamed(path, source string) (Library, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Library{}, fmt.Errorf("ort: library %q (%s): %w", path, source, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return Library{}, fmt.Errorf("ort: library (%s): %w", source, err)
	}
	if !info.IsDir() {
		return Library{Path: abs, Version: versionOf(abs), Source: source}, nil
	}
	var s search
	if lib, ok := s.dir(abs, source); ok {
		return lib, nil
	}
	return Library{}, fmt.Errorf("ort: no library found (%s) in %s", source, strings.Join(s.searched, "; "))
}

// search remembers where it looked, and why what was there was no good.
type search struct {
	searched []string
}

func (s *search) note(text string) {
	if !slices.Contains(s.searched, text) {
		s.searched = append(s.searched, text)
	}
}

// dir looks for a usable library in one folder.
func (s *search) dir(dir, source string) (Library, bool) {
	note := dir
	for _, pattern := range libraryPatterns(runtime.GOOS) {
		paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			continue
		}
		slices.Sort(paths)
		slices.Reverse(paths) // of several versions, rather the newest
		for _, path := range paths {
			lib := Library{Path: path, Version: versionOf(path), Source: source}
			if lib.Version == "" || !older(lib.Version, MinVersion) {
				return lib, true
			}
			note = fmt.Sprintf("%s (too old: %s)", path, lib.Version)
		}
	}
	s.note(note)
	return Library{}, false
}

// libraryPatterns returns what the library's file is called. The providers'
// libraries beside it ("libonnxruntime_providers_...") do not match.
func libraryPatterns(goos string) []string {
	switch goos {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin", "ios":
		return []string{"libonnxruntime.dylib", "libonnxruntime.[0-9]*.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.[0-9]*"}
}

// systemDirs returns the folders of the system's linker and package managers.
// Windows is left out on purpose: the onnxruntime.dll in its system folder
// belongs to Windows and is years old.
func systemDirs() []string {
	switch runtime.GOOS {
	case "windows":
		return nil
	case "darwin":
		return []string{"/opt/homebrew/lib", "/usr/local/lib"}
	}
	dirs := []string{"/usr/local/lib", "/usr/local/lib64", "/usr/lib", "/usr/lib64"}
	multiarch, _ := filepath.Glob("/usr/lib/*-linux-*")
	return append(append(dirs, multiarch...), linkerDirs()...)
}

// linkerDirs returns the folders where the linker's cache has the library.
func linkerDirs() []string {
	ctx, cancel := context.WithTimeout(context.Background(), pythonTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/sbin/ldconfig", "-p").Output()
	if err != nil {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(out)) {
		_, path, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if ok && strings.HasPrefix(filepath.Base(path), "libonnxruntime.so") {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

// pythons returns the Python interpreters to ask, the active virtual
// environment's first.
func pythons() []string {
	var found []string
	if venv := os.Getenv("VIRTUAL_ENV"); venv != "" {
		for _, python := range []string{filepath.Join("bin", "python"), filepath.Join("Scripts", "python.exe")} {
			if _, err := os.Stat(filepath.Join(venv, python)); err == nil {
				found = append(found, filepath.Join(venv, python))
			}
		}
	}
	for _, name := range []string{"python3", "python"} {
		path, err := exec.LookPath(name)
		if err == nil && !slices.Contains(found, path) {
			found = append(found, path)
		}
	}
	return found
}

// wheelProbe prints where the onnxruntime package is, without importing it.
// The working directory is taken off the path first: what lies there must
// not be run or loaded.
const wheelProbe = `import sys
sys.path = [p for p in sys.path if p]
import importlib.util
spec = importlib.util.find_spec("onnxruntime")
print(list(spec.submodule_search_locations)[0] if spec else "")`

// wheelDir asks a Python where the library of its onnxruntime package is.
func wheelDir(python string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pythonTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", wheelProbe).Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("no answer in %v", pythonTimeout)
	}
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", errors.New("no package onnxruntime")
	}
	return filepath.Join(dir, "capi"), nil
}

var versionPattern = regexp.MustCompile(`(?:^|[.-])(\d+\.\d+\.\d+)(?:\.|$)`)

// versionOf tells a library's version from its name, that of the file it
// links to, its folder in the cache, or its wheel's metadata; "" if none does.
func versionOf(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if m := versionPattern.FindStringSubmatch(filepath.Base(path)); m != nil {
		return m[1]
	}
	dir := filepath.Dir(path)
	if m := versionPattern.FindStringSubmatch(filepath.Base(dir)); m != nil {
		return m[1]
	}
	infos, _ := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(filepath.Dir(dir))), "onnxruntime*.dist-info"))
	for _, info := range infos {
		if m := versionPattern.FindStringSubmatch(filepath.Base(info)); m != nil {
			return m[1]
		}
	}
	return ""
}

// older reports whether version a precedes b.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, _ := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if x != y {
			return x < y
		}
	}
	return false
}

// escapeGlob makes filepath.Glob take dir literally. Windows, where a
// backslash separates, knows no escape; names with brackets find nothing there.
func escapeGlob(dir string) string {
	if runtime.GOOS == "windows" {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
