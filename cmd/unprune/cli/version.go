package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/ort"
)

// versionInfo is what "unprune version" tells.
type versionInfo struct {
	Version     string `json:"version"`
	Go          string `json:"go"`
	Platform    string `json:"platform"`
	Kernels     string `json:"kernels"`
	ONNXRuntime string `json:"onnxruntime"`
}

func versionCommand(a *app) *cobra.Command {
	return a.command(spec{
		use: "version", group: groupFiles,
		short: "Print the version, the kernels in use and the ONNX Runtime found",
		run: func(context.Context, []string) error {
			v := versionInfo{moduleVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, kernels(), "none"}
			if lib, err := ort.Find(a.ortPath); err == nil {
				v.ONNXRuntime = lib.Version + " " + lib.Path
			}
			return a.print(v, func(w io.Writer) {
				table(w, func(w io.Writer) {
					fmt.Fprintf(w, "unprune\t%s\ngo\t%s %s\nkernels\t%s\nONNX Runtime\t%s\n", v.Version, v.Go, v.Platform, v.Kernels, v.ONNXRuntime)
				})
			})
		},
	})
}

// versionLine identifies the program that made a file. Results depend on the
// kernels, which round differently.
func versionLine() string {
	return fmt.Sprintf("unprune %s, %s, %s/%s, kernels %s", moduleVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernels())
}

func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func kernels() string {
	switch {
	case kernel.HasAVX512:
		return "avx512"
	case kernel.HasAVX2:
		return "avx2"
	}
	return "go"
}
