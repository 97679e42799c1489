// Command unprune makes a pruned network forget training data, its pruning
// mask included: an ONNX file goes in, an ONNX file comes out, and ONNX
// Runtime confirms what was made. Its commands are in package cli.
package main

import (
	"os"

	"github.com/unprune/unprune/cmd/unprune/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
