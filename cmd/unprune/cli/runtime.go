package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/unprune/unprune/graph/ort"
)

// libraryInfo is what "unprune runtime" tells.
type libraryInfo struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Source  string `json:"source"`
}

func runtimeCommand(a *app) *cobra.Command {
	cmd := a.command(spec{
		use: "runtime", group: groupFiles,
		short: "Say which ONNX Runtime library is used, or install one",
		long: `Runtime says which ONNX Runtime library verification uses. It is looked for in
this order: --ort, the environment variable ` + ort.LibraryEnv + `, unprune's own
cache, the system's library folders, the onnxruntime package of a Python.

"unprune runtime install" fetches ONNX Runtime ` + ort.PinnedVersion + ` with pip or npm into the
cache and checks it against a recorded checksum.`,
		run: func(context.Context, []string) error {
			lib, err := ort.Find(a.ortPath)
			if err != nil {
				return err
			}
			return a.openLibrary(lib)
		},
	})
	cmd.AddCommand(a.command(spec{
		use:   "install",
		short: "Fetch ONNX Runtime with pip or npm into unprune's cache, unless one is there already",
		run: func(ctx context.Context, _ []string) error {
			if lib, err := ort.Find(a.ortPath); err == nil {
				a.log.Info("an ONNX Runtime is there already")
				return a.openLibrary(lib)
			}
			lib, err := ort.Install(ctx, func(s string) { a.log.Info(s) })
			if err != nil {
				return err
			}
			return a.openLibrary(lib)
		},
	}))
	return cmd
}

// openLibrary proves that the library can be loaded and prints where it is.
func (a *app) openLibrary(lib ort.Library) error {
	if err := ort.Open(lib); err != nil {
		return err
	}
	if opened, ok := ort.Opened(); ok {
		lib.Version = opened.Version
	}
	return a.print(libraryInfo{lib.Path, lib.Version, lib.Source}, func(w io.Writer) {
		fmt.Fprintf(w, "ONNX Runtime %s\n%s\nfound in: %s\n", lib.Version, lib.Path, lib.Source)
	})
}
