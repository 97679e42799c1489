package ort

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const testEntry = "package/lib/libtest.so"

// zipOf and tarOf make an archive with one entry, a symbolic link if content
// begins with "->".
func zipOf(t *testing.T, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name}
	h.SetMode(0o644)
	if strings.HasPrefix(content, "->") {
		h.SetMode(os.ModeSymlink | 0o777)
	}
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return archiveFile(t, b.Bytes())
}

func tarOf(t *testing.T, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}
	if target, ok := strings.CutPrefix(content, "->"); ok {
		h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, target, 0, ""
	}
	err := w.WriteHeader(h)
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = g.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return archiveFile(t, b.Bytes())
}

func archiveFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestClientInstall lets a copy command stand for the package client: the
// cache must end up with the right library or as it was.
func TestClientInstall(t *testing.T) {
	cp, err := exec.LookPath("cp")
	if err != nil {
		t.Skip("SKIPPED: no cp command to stand for a package client")
	}
	const content = "the library"
	sum := sha256.Sum256([]byte(content))
	archives := []struct {
		kind string
		make func(t *testing.T, name, content string) string
	}{{kind: "zip", make: zipOf}, {kind: "tar", make: tarOf}}
	tests := []struct {
		name, entry, content string
		want                 string // error; empty: none
	}{
		{"right", testEntry, content, ""},
		{"other content", testEntry, "another library", "not installed"},
		{"no such entry", "package/lib/other.so", content, "no file " + testEntry},
		{"climbing name", "../" + testEntry, content, "no file " + testEntry},
		{"link", testEntry, "->/etc/passwd", "no file " + testEntry},
	}
	for _, a := range archives {
		for _, tt := range tests {
			t.Run(a.kind+"/"+tt.name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "cache")
				c := client{
					command: []string{cp, a.make(t, tt.entry, tt.content), "fetched"},
					archive: "fetch*",
					library: packaged{entry: testEntry, sha256: hex.EncodeToString(sum[:])},
					extract: extractZip,
				}
				if a.kind == "tar" {
					c.extract = extractTar
				}
				err := c.install(context.Background(), dir, "libtest.so")
				left, _ := filepath.Glob(filepath.Join(dir, "*"))
				hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
				if len(hidden) > 0 {
					t.Errorf("left behind: %v", hidden)
				}
				if tt.want != "" {
					if err == nil || !strings.Contains(err.Error(), tt.want) || len(left) > 0 {
						t.Errorf("error %v, want %q; in the cache %v", err, tt.want, left)
					}
					return
				}
				have, readErr := os.ReadFile(filepath.Join(dir, "libtest.so"))
				if err != nil || readErr != nil || string(have) != content {
					t.Errorf("installed %q, errors %v, %v", have, err, readErr)
				}
			})
		}
	}
	t.Run("not an archive", func(t *testing.T) {
		for _, extract := range []func() error{
			func() error { return extractZip(archiveFile(t, []byte("junk")), testEntry, &bytes.Buffer{}) },
			func() error { return extractTar(archiveFile(t, []byte("junk")), testEntry, &bytes.Buffer{}) },
		} {
			if extract() == nil {
				t.Error("want an error")
			}
		}
	})
	t.Run("failing client", func(t *testing.T) {
		c := client{command: []string{cp, "there-is-no-such-file", "fetched"}, archive: "fetch*"}
		err := c.install(context.Background(), t.TempDir(), "libtest.so")
		if err == nil || !strings.Contains(err.Error(), "there-is-no-such-file") {
			t.Errorf("error %v", err)
		}
	})
}

func TestInstallWithoutClients(t *testing.T) {
	isolate(t)
	_, err := Install(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "neither pip nor npm found") {
		t.Errorf("error %v", err)
	}
}

func TestInstallCancelled(t *testing.T) {
	cache := isolate(t)
	t.Setenv("VIRTUAL_ENV", fakePython(t, ""))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Install(ctx, nil); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReleases(t *testing.T) {
	for platform, rel := range releases {
		for _, p := range []packaged{rel.pip, rel.npm} {
			if sum, err := hex.DecodeString(p.sha256); err != nil || len(sum) != sha256.Size {
				t.Errorf("%s: %s: %q is no SHA-256", platform, p.entry, p.sha256)
			}
		}
		if rel.pip.tag == "" {
			t.Errorf("%s: no wheel platform", platform)
		}
	}
}

// TestInstallFromRegistry fetches the real packages with every client that
// this machine has. It needs a network, so it has to be asked for.
func TestInstallFromRegistry(t *testing.T) {
	if os.Getenv("UNPRUNE_TEST_INSTALL") == "" {
		t.Skip("SKIPPED: downloads 200 MB; set UNPRUNE_TEST_INSTALL=1 to run it")
	}
	rel, ok := releases[platform()]
	if !ok {
		t.Skipf("SKIPPED: no packages for %s", platform())
	}
	for _, c := range clients(rel) {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.install(context.Background(), dir, rel.file); err != nil {
				t.Fatal(err)
			}
			lib, err := Find(dir)
			if err != nil || lib.Version == "" && platform() != "windows/amd64" {
				t.Errorf("found %+v, error %v", lib, err)
			}
		})
	}
}
