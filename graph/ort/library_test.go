package ort

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// write makes an empty file, and its folders, below dir.
func write(t *testing.T, dir string, name ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{dir}, name...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// isolate hides everything that this machine has from Find.
func isolate(t *testing.T) (cache string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: written for the folders and names of Linux")
	}
	if dirs := systemDirs(); len(dirs) > 0 {
		var s search
		for _, dir := range dirs {
			if lib, ok := s.dir(dir, "system"); ok {
				t.Skipf("SKIPPED: this system has %s, which Find would find", lib.Path)
			}
		}
	}
	cache = t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PATH", t.TempDir())
	t.Setenv("VIRTUAL_ENV", "")
	t.Setenv(LibraryEnv, "")
	return filepath.Join(cache, "unprune", "onnxruntime", PinnedVersion)
}

// fakePython makes a virtual environment whose Python answers every question
// with the given line.
func fakePython(t *testing.T, answer string) (venv string) {
	t.Helper()
	venv = t.TempDir()
	python := write(t, venv, "bin", "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return venv
}

func TestFindOrder(t *testing.T) {
	cache := isolate(t)
	site := t.TempDir()
	wheel := write(t, site, "onnxruntime", "capi", "libonnxruntime.so.1.31.0")
	write(t, site, "onnxruntime", "capi", "libonnxruntime_providers_shared.so")
	t.Setenv("VIRTUAL_ENV", fakePython(t, filepath.Join(site, "onnxruntime")))

	check := func(explicit, path, version, source string) {
		t.Helper()
		lib, err := Find(explicit)
		if err != nil {
			t.Fatal(err)
		}
		if lib.Path != path || lib.Version != version || !strings.Contains(lib.Source, source) {
			t.Errorf("found %+v, want %s, version %q, from %s", lib, path, version, source)
		}
	}
	check("", wheel, "1.31.0", "package onnxruntime of ")

	cached := write(t, cache, "libonnxruntime.so."+PinnedVersion)
	check("", cached, PinnedVersion, "cache")

	named := write(t, t.TempDir(), "my[lib]", "libonnxruntime.so")
	t.Setenv(LibraryEnv, named)
	check("", named, "", LibraryEnv)

	given := write(t, t.TempDir(), "lib", "libonnxruntime.so.1.25.1")
	check(given, given, "1.25.1", "the path given")
	check(filepath.Dir(given), given, "1.25.1", "the path given")
	check(filepath.Dir(named), named, "", "the path given")
}

func TestFindErrors(t *testing.T) {
	isolate(t)
	site := t.TempDir()
	old := write(t, site, "onnxruntime", "capi", "libonnxruntime.so.1.20.1")
	t.Setenv("VIRTUAL_ENV", fakePython(t, filepath.Join(site, "onnxruntime")))

	_, err := Find("")
	var missing *NotFoundError
	if !errors.As(err, &missing) {
		t.Fatalf("error %v, want a NotFoundError", err)
	}
	for _, want := range []string{old + " (too old: 1.20.1)", "/usr/lib", PinnedVersion, "unprune runtime install", LibraryEnv} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}

	t.Setenv("VIRTUAL_ENV", fakePython(t, ""))
	if _, err := Find(""); err == nil || !strings.Contains(err.Error(), "no package onnxruntime") {
		t.Errorf("a Python without the package: %v", err)
	}

	nowhere := filepath.Join(t.TempDir(), "nowhere.so")
	if _, err := Find(nowhere); err == nil || errors.As(err, &missing) || !strings.Contains(err.Error(), "the path given") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Find(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no library found (the path given)") {
		t.Errorf("an empty folder: %v", err)
	}
	t.Setenv(LibraryEnv, nowhere)
	if _, err := Find(""); err == nil || !strings.Contains(err.Error(), LibraryEnv) {
		t.Errorf("a wrong name in the environment: %v", err)
	}
}

// TestWheelProbe asks a real Python, in a folder with a package of the name
// asked for: the working directory must not be believed.
func TestWheelProbe(t *testing.T) {
	all := pythons()
	if len(all) == 0 {
		t.Skip("SKIPPED: no Python on this machine")
	}
	for _, python := range all {
		t.Chdir(t.TempDir())
		t.Setenv("PYTHONPATH", "")
		write(t, ".", "onnxruntime", "__init__.py")
		dir, err := wheelDir(python)
		if cwd, _ := os.Getwd(); err == nil && strings.HasPrefix(dir, cwd) {
			t.Errorf("%s believes the working directory: %s", python, dir)
		}
		t.Setenv("PYTHONPATH", ".")
		dir, err = wheelDir(python)
		if err != nil || !strings.HasSuffix(dir, filepath.Join("onnxruntime", "capi")) {
			t.Errorf("%s does not find the package on its path: %q, %v", python, dir, err)
		}
	}
}

func TestVersionOf(t *testing.T) {
	dir := t.TempDir()
	real := write(t, dir, "libonnxruntime.so.1.27.0")
	link := filepath.Join(dir, "libonnxruntime.so")
	if err := os.Symlink(real, link); err != nil {
		t.Skipf("SKIPPED: no symbolic links here: %v", err)
	}
	write(t, dir, "site-packages", "onnxruntime-1.31.1.dist-info", "METADATA")
	tests := []struct{ path, want string }{
		{link, "1.27.0"},
		{filepath.Join("x", "libonnxruntime.1.30.0.dylib"), "1.30.0"},
		{filepath.Join("cache", "1.30.0", "onnxruntime.dll"), "1.30.0"},
		{write(t, dir, "site-packages", "onnxruntime", "capi", "onnxruntime.dll"), "1.31.1"},
		{filepath.Join("x", "libonnxruntime.so.1"), ""},
	}
	for _, tt := range tests {
		if have := versionOf(tt.path); have != tt.want {
			t.Errorf("versionOf(%s) = %q, want %q", tt.path, have, tt.want)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"1.9.0", "1.24.0", true}, {"1.24.0", "1.24.0", false}, {"1.24.1", "1.24.0", false}, {"2.0.0", "1.24.0", false}, {"1.23.9", "1.24.0", true},
	} {
		if have := older(tt.a, tt.b); have != tt.want {
			t.Errorf("older(%s, %s) = %v", tt.a, tt.b, have)
		}
	}
}
