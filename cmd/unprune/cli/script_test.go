package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"unprune": func() { os.Exit(Main(os.Args[1:])) }})
}

// TestScripts runs the command in the scripts under testdata/script. Besides
// testscript's own commands they have those of scriptCommands; condition [ort]
// holds where ONNX Runtime is.
func TestScripts(t *testing.T) {
	lib, err := ort.Find("")
	if err != nil {
		t.Log("SKIPPING what needs ONNX Runtime: ", err)
	}
	fixtures, err := filepath.Abs("../../../models/testdata/dialects")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                scriptCommands,
		Condition: func(cond string) (bool, error) {
			if cond != "ort" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return lib.Path != "", nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("FIXTURES", fixtures)
			e.Setenv("PRUNED", filepath.Join(filepath.Dir(fixtures), "pruned"))
			e.Setenv("DUTIES", filepath.Join(filepath.Dir(fixtures), "duties"))
			e.Setenv(ort.LibraryEnv, lib.Path)
			return nil
		},
	})
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"samples":  samplesCommand,
	"truncate": truncateCommand,
	"strange":  strangeCommand,
	"status":   statusCommand,
	"nothing":  nothingCommand,
}

// samples FILE N CLASSES [nan] [shape...] writes random samples [N 1 28 28]
// with labels 0 to CLASSES-1 in turn.
func samplesCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	classes, err := strconv.Atoi(args[2])
	ts.Check(err)
	shape, nan := []int{n}, false
	for _, arg := range args[3:] {
		if arg == "nan" {
			nan = true
			continue
		}
		d, err := strconv.Atoi(arg)
		ts.Check(err)
		shape = append(shape, d)
	}
	if len(shape) == 1 {
		shape = append(shape, 1, 28, 28)
	}
	x, y := onnx.NewTensor(onnx.Float32, shape...), onnx.NewTensor(onnx.Int64, n)
	x.Name, y.Name = "x", "y"
	r := rand.New(rand.NewPCG(7, 7))
	values := onnx.Of[float32](x)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	for i := range n {
		onnx.Of[int64](y)[i] = int64(i % classes)
	}
	if nan {
		values[5] = float32(math.NaN())
	}
	ts.Check(writeFile(ts.MkAbs(args[0]), func(w io.Writer) error { return npz.Write(w, x, y) }))
}

// truncate FROM TO BYTES writes the first bytes of a file.
func truncateCommand(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:n], 0o644))
}

// strange FILE writes a model with two operators that nobody implements.
func strangeCommand(ts *testscript.TestScript, _ bool, args []string) {
	m := &onnx.Model{
		IRVersion: 8, Opsets: []onnx.OpsetID{{Version: 17}, {Domain: "acme", Version: 1}},
		Graph: &onnx.Graph{
			Name: "strange",
			Nodes: []*onnx.Node{
				{OpType: "Fancy", Inputs: []string{"x"}, Outputs: []string{"a"}},
				{OpType: "Odd", Domain: "acme", Inputs: []string{"a"}, Outputs: []string{"y"}},
			},
			Inputs:  []*onnx.ValueInfo{onnx.NewValueInfo("x", onnx.Float32, onnx.ParamDim("batch"), onnx.FixedDim(4))},
			Outputs: []*onnx.ValueInfo{onnx.NewValueInfo("y", onnx.Float32, onnx.ParamDim("batch"), onnx.FixedDim(4))},
		},
	}
	ts.Check(onnx.Write(ts.MkAbs(args[0]), m, onnx.WriteOptions{}))
}

// status CODE ARGS... runs unprune and wants the exit code.
func statusCommand(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("unprune", args[1:]...)
	have := 0
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		have = exit.ExitCode()
	}
	if have != want {
		ts.Fatalf("exit code %d, want %d", have, want)
	}
}

// nothing GLOB... wants that no file matches.
func nothingCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, glob := range args {
		found, err := filepath.Glob(ts.MkAbs(glob))
		ts.Check(err)
		if len(found) > 0 {
			ts.Fatalf("%s: there are %v", glob, found)
		}
	}
}
