package cli

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/onnx/npz"
)

// torchScript rebuilds a graph in PyTorch and times it on demand.
//
//go:embed torch_bench.py
var torchScript string

// torchGraph is a graph as the script reads it. Tensors are in an .npz file
// beside it, by number.
type torchGraph struct {
	What    string         `json:"what"`
	Threads int            `json:"threads"`
	Input   string         `json:"input"`
	Output  string         `json:"output"`
	Train   []string       `json:"train"`   // trainable parameters
	Tensors map[string]int `json:"tensors"` // name to number in the archive
	Nodes   []torchNode    `json:"nodes"`
}

type torchNode struct {
	Op      string         `json:"op"`
	Inputs  []string       `json:"inputs"`
	Outputs []string       `json:"outputs"`
	Attrs   map[string]any `json:"attrs"`
}

// findPython returns a Python that can import torch and numpy.
func findPython(ctx context.Context, explicit string) (string, error) {
	candidates := []string{"python3", "python"}
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		candidates = append([]string{filepath.Join(env, "bin", "python")}, candidates...)
	}
	if explicit != "" {
		candidates = []string{explicit}
	}
	for _, c := range candidates {
		path, err := exec.LookPath(c)
		if err != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		err = exec.CommandContext(limited, path, "-c", "import torch, numpy").Run()
		cancel()
		if err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Python with torch and numpy among %s", strings.Join(candidates, ", "))
}

// addTorch lets PyTorch take part, if there is one.
func (b *bench) addTorch(ctx context.Context) error {
	if b.o.python == "none" {
		return nil
	}
	python, err := findPython(ctx, b.o.python)
	if err != nil {
		if b.o.python != "" {
			return fmt.Errorf("--python %s: %w", b.o.python, err)
		}
		b.a.log.Info("PyTorch does not take part: " + err.Error())
		return nil
	}
	t, err := startTorch(ctx, python, b)
	if err != nil {
		return fmt.Errorf("PyTorch cannot take part: %w; --python none leaves it out", err)
	}
	b.closers = append(b.closers, t.close)
	for i, layout := range t.hello.Layouts {
		c := &contender{name: "pytorch " + t.hello.Version, layout: layout, run: func(count int) (float64, error) { return t.time(layout, count) }}
		if err := b.add(c); err != nil {
			return err
		}
		if i == 0 { // a second layout comes on top in the same process
			memory, err := t.time("memory", 0)
			if err != nil {
				return err
			}
			c.memory = int64(memory)
		}
	}
	return nil
}

// torchProcess is the script, waiting for orders.
type torchProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors *strings.Builder
	folder string
	hello  struct {
		Version string   `json:"version"`
		Layouts []string `json:"layouts"`
	}
}

func startTorch(ctx context.Context, python string, b *bench) (*torchProcess, error) {
	folder, err := os.MkdirTemp("", "unprune-bench-")
	if err != nil {
		return nil, err
	}
	t := &torchProcess{folder: folder, errors: &strings.Builder{}}
	if err := b.writeTorchGraph(folder); err != nil {
		t.close()
		return nil, err
	}
	t.cmd = exec.CommandContext(ctx, python, "-c", torchScript, folder)
	t.cmd.Stderr = t.errors
	if t.in, err = t.cmd.StdinPipe(); err != nil {
		t.close()
		return nil, err
	}
	out, err := t.cmd.StdoutPipe()
	if err == nil {
		err = t.cmd.Start()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	t.out = bufio.NewReader(out)
	line, err := t.line()
	if err == nil {
		err = json.Unmarshal([]byte(line), &t.hello)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// line reads an answer; a script that ended explains itself.
func (t *torchProcess) line() (string, error) {
	line, err := t.out.ReadString('\n')
	if err != nil {
		_ = t.cmd.Wait()
		last := strings.TrimSpace(t.errors.String())
		return "", fmt.Errorf("its script ended: %s", last[strings.LastIndexByte(last, '\n')+1:])
	}
	return strings.TrimSpace(line), nil
}

func (t *torchProcess) time(layout string, count int) (float64, error) {
	if _, err := fmt.Fprintf(t.in, "%s %d\n", layout, count); err != nil {
		return 0, fmt.Errorf("PyTorch: %w", err)
	}
	line, err := t.line()
	if err != nil {
		return 0, fmt.Errorf("PyTorch: %w", err)
	}
	return strconv.ParseFloat(line, 64)
}

func (t *torchProcess) close() {
	if t.in != nil {
		_ = t.in.Close() // the script ends with its input
	}
	if t.cmd != nil && t.cmd.Process != nil && t.cmd.ProcessState == nil {
		_ = t.cmd.Wait()
	}
	_ = os.RemoveAll(t.folder)
}

// writeTorchGraph writes what the script reads: the graph with its shape
// arithmetic folded, and the tensors.
func (b *bench) writeTorchGraph(folder string) error {
	trunk := b.im.Trunk()
	keep := map[string]bool{}
	for _, p := range b.im.Params {
		keep[p.Name()] = true
	}
	batch := b.o.batch
	if b.o.what == "fisher" {
		batch = 1
	}
	g, err := pass.Specialise(trunk, pass.Target{Batch: batch, Keep: keep})
	if err != nil {
		return err
	}
	tg := torchGraph{
		What: b.o.what, Threads: b.a.threads, Input: g.Inputs[0].Name, Output: g.Outputs[0].Name,
		Train: b.im.TrainableNames(), Tensors: map[string]int{},
	}
	var list []*onnx.Tensor
	for _, v := range g.Inits {
		t := *v.Const
		t.Name = strconv.Itoa(len(list))
		tg.Tensors[v.Name] = len(list)
		list = append(list, &t)
	}
	x := *b.x.X
	x.Name = "x"
	list = append(list, &x)
	for _, n := range g.Nodes {
		tn, err := newTorchNode(n)
		if err != nil {
			return err
		}
		tg.Nodes = append(tg.Nodes, tn)
	}
	return errors.Join(
		writeJSON(filepath.Join(folder, "graph.json"), tg),
		writeFile(filepath.Join(folder, "tensors.npz"), func(w io.Writer) error { return npz.Write(w, list...) }),
	)
}

func newTorchNode(n *graph.Node) (torchNode, error) {
	tn := torchNode{Op: n.Op, Attrs: map[string]any{}}
	for _, v := range n.Inputs {
		name := ""
		if v != nil {
			name = v.Name
		}
		tn.Inputs = append(tn.Inputs, name)
	}
	for _, v := range n.Outputs {
		tn.Outputs = append(tn.Outputs, v.Name)
	}
	for _, at := range n.Attrs {
		switch at.Type {
		case onnx.AttrTypeInt:
			tn.Attrs[at.Name] = at.I
		case onnx.AttrTypeInts:
			tn.Attrs[at.Name] = at.Ints
		case onnx.AttrTypeFloat:
			tn.Attrs[at.Name] = at.F
		case onnx.AttrTypeString:
			tn.Attrs[at.Name] = string(at.S)
		default:
			return tn, fmt.Errorf("node %q: attribute %q of type %v has no counterpart", n.Name, at.Name, at.Type)
		}
	}
	return tn, nil
}
